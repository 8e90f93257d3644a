"""The tasks. As a program it is what the drill asks: `tasks.py submit N`, `tasks.py done`, `tasks.py queued`."""

import json
import os
import sys
import time

from celery import Celery
from redis import Redis

BROKER = os.environ.get("BROKER", "redis://localhost:6379/0")
app = Celery("tasks", broker=BROKER)
app.conf.broker_connection_retry_on_startup = True
# A task that was taken and not finished goes back to the queue, whatever happens to the worker.
app.conf.task_acks_late = True
app.conf.worker_prefetch_multiplier = 1


@app.task(bind=True)
def work(self):
    time.sleep(0.3)
    Redis.from_url(BROKER).rpush("done", self.request.id)


def main(what, count="0"):
    redis = Redis.from_url(BROKER)
    if what == "submit":
        for _ in range(int(count)):
            print(work.delay().id)
    elif what == "done":
        for task in redis.lrange("done", 0, -1):
            print(task.decode())
    elif what == "queued":
        waiting = redis.lrange("celery", 0, -1)
        taken = [json.dumps(json.loads(message)[0]).encode() for message in redis.hvals("unacked")]
        for message in waiting + taken:
            print(json.loads(message)["headers"]["id"])


if __name__ == "__main__":
    main(*sys.argv[1:])
