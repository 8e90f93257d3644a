"""Sanic app, with the paths of the WSGI app."""

import asyncio
import os

from sanic import Sanic, text

app = Sanic("app")


def say(line):
    os.write(1, f"{line}\n".encode())


@app.get("/")
async def root(request):
    return text("hello")


@app.get("/slow")
async def slow(request):
    say("slow begins")
    await asyncio.sleep(float(request.args.get("seconds", "1.5")))
    return text("slow, but done")


@app.after_server_start
async def ready(app):
    say("worker ready")
