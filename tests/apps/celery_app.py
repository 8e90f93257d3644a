"""A Celery worker's task: takes SECONDS, then writes a line into the file DONE."""

import os
import time

from celery import Celery

app = Celery("celery_app", broker=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True
app.conf.worker_prefetch_multiplier = 1


@app.task
def work(seconds, done):
    os.write(1, b"task begins\n")
    time.sleep(seconds)
    with open(done, "a") as file:
        file.write("done\n")
