"""One job for each queue: it takes SECONDS, then writes a line into the file DONE. Redis is at BROKER.

    huey_consumer queue_app.huey     rq worker --url $BROKER     dramatiq queue_app     arq queue_app.Arq

QUEUE names the one in use. Started with the arguments SECONDS and DONE it puts a job into it.
"""

import asyncio
import os
import sys
import time

QUEUE = os.environ["QUEUE"]
BROKER = os.environ["BROKER"]


def say(text):
    os.write(1, f"{text}\n".encode())


def job(seconds, done):
    say("job begins")
    time.sleep(seconds)
    with open(done, "a") as file:
        file.write("done\n")


async def async_job(context, seconds, done):
    say("job begins")
    await asyncio.sleep(seconds)
    with open(done, "a") as file:
        file.write("done\n")


if QUEUE == "huey":
    from huey import RedisHuey

    huey = RedisHuey("queue", url=BROKER)
    work = huey.task()(job)
elif QUEUE == "dramatiq":
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url=BROKER))
    work = dramatiq.actor(max_retries=0)(job)
elif QUEUE == "arq":
    from arq.connections import RedisSettings

    class Arq:
        functions = [async_job]
        redis_settings = RedisSettings.from_dsn(BROKER)


def enqueue(seconds, done):
    if QUEUE == "rq":
        from redis import Redis
        from rq import Queue

        Queue(connection=Redis.from_url(BROKER)).enqueue("queue_app.job", seconds, done)
    elif QUEUE == "huey":
        work(seconds, done)
    elif QUEUE == "dramatiq":
        work.send(seconds, done)
    else:
        from arq import create_pool

        async def put():
            pool = await create_pool(Arq.redis_settings)
            await pool.enqueue_job("async_job", seconds, done)
            await pool.aclose()

        asyncio.run(put())


if __name__ == "__main__":
    # The worker knows the job by the name of its module.
    from queue_app import enqueue

    enqueue(float(sys.argv[1]), sys.argv[2])
