"""aiohttp's own server: argument PORT, or none under `python -m aiohttp.web aiohttp_app:make`; the paths of the WSGI app."""

import asyncio
import os
import sys

from aiohttp import web


def say(text):
    os.write(1, f"{text}\n".encode())


async def root(request):
    return web.Response(text="hello")


async def slow(request):
    say("slow begins")
    await asyncio.sleep(float(request.query.get("seconds", "1.5")))
    return web.Response(text="slow, but done")


async def ready(app):
    say("worker ready")


def make(argv=None):
    app = web.Application()
    app.add_routes([web.get("/", root), web.get("/healthz", root), web.get("/slow", slow)])
    app.on_startup.append(ready)
    return app


if __name__ == "__main__":
    web.run_app(make(), host="127.0.0.1", port=int(sys.argv[1]), print=None)
