import asyncio

from fastapi import FastAPI

app = FastAPI()


@app.get("/")
async def index():
    return {"hello": "world"}


@app.get("/ready")
async def ready():
    return {"ready": True}


@app.get("/slow")
async def slow():
    await asyncio.sleep(1)
    return {"slow": True}
