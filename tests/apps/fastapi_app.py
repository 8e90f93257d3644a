"""FastAPI app for the server tests: says on stdout when it is ready and when it begins a slow request."""

import asyncio
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, Header
from pydantic import BaseModel

in_flight = 0


def say(text):
    os.write(1, f"{text}\n".encode())


@asynccontextmanager
async def lifespan(app):
    say("worker ready")
    yield
    say("worker stopped")


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def root():
    return {"hello": "world"}


@app.get("/healthz")
async def healthz():
    return {"status": "ok"}


class Order(BaseModel):
    id: int


# 422 without the header, without JSON's type or with another body.
@app.post("/orders")
async def orders(order: Order, authorization: str = Header()):
    return {"id": order.id, "by": authorization}


@app.get("/slow")
async def slow(seconds: float = 1.5):
    global in_flight
    in_flight += 1
    say("slow begins")
    try:
        await asyncio.sleep(seconds)
    finally:
        in_flight -= 1
    return {"slept": seconds}


@app.get("/stats")
async def stats():
    return {"in_flight": in_flight}
