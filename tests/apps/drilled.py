"""Jobs for the drill of a worker, in the queue that QUEUE names, on the Redis at BROKER. A job takes SECONDS, then writes its id
into the list "done".

    celery -A drilled worker     rq worker --url $BROKER     dramatiq drilled     sidekiq -r sidekiq_jobs.rb

    drilled.py submit N SECONDS     prints the ids
    drilled.py done | queued        print ids; queued are those that wait, and those that are taken and not acknowledged

ACKS_LATE=1: Celery acknowledges a task when it is done.
"""

import json
import os
import sys
import time
import uuid

QUEUE = os.environ["QUEUE"]
BROKER = os.environ["BROKER"]


def redis():
    from redis import Redis

    return Redis.from_url(BROKER)


def work(seconds, name):
    time.sleep(seconds)
    redis().rpush("done", name)


# Whoever only looks need not wait for the framework.
IS_LOOK = sys.argv[1:] in (["done"], ["queued"])
if QUEUE == "celery" and not IS_LOOK:
    from celery import Celery

    app = Celery("drilled", broker=BROKER)
    app.conf.broker_connection_retry_on_startup = True
    app.conf.worker_prefetch_multiplier = 1
    app.conf.task_acks_late = app.conf.task_reject_on_worker_lost = os.environ.get("ACKS_LATE") == "1"
    work_task = app.task(name="work")(work)
elif QUEUE == "dramatiq" and not IS_LOOK:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    dramatiq.set_broker(RedisBroker(url=BROKER))
    work_actor = dramatiq.actor(max_retries=0, actor_name="work")(work)


def submit(count, seconds):
    names = [uuid.uuid4().hex for _ in range(count)]
    if QUEUE == "sidekiq":
        jobs = [
            {"class": "Job", "args": [seconds], "jid": name, "queue": "default", "retry": True, "created_at": time.time()}
            for name in names
        ]
        redis().sadd("queues", "default")
        redis().lpush("queue:default", *map(json.dumps, jobs))
    elif QUEUE == "rq":
        from rq import Queue

        for name in names:
            Queue(connection=redis()).enqueue("drilled.work", seconds, name, job_id=name)
    else:
        for name in names:
            if QUEUE == "celery":
                work_task.apply_async((seconds, name), task_id=name)
            else:
                work_actor.send(seconds, name)
    print("\n".join(names))


def queued():
    client = redis()
    if QUEUE == "celery":
        waiting = [json.loads(text) for text in client.lrange("celery", 0, -1)]
        taken = [json.loads(text)[0] for text in client.hvals("unacked")]
        return [message["headers"]["id"] for message in waiting + taken]
    if QUEUE == "rq":
        return [name.decode() for name in client.lrange("rq:queue:default", 0, -1)]
    if QUEUE == "sidekiq":
        return [json.loads(text)["jid"] for text in client.lrange("queue:default", 0, -1)]
    # Until it is acknowledged, Dramatiq's broker keeps a message here.
    return [json.loads(text)["args"][1] for text in client.hvals("dramatiq:default.msgs")]


if __name__ == "__main__":
    if sys.argv[1] == "submit":
        # The worker knows the job by the name of its module.
        import drilled

        drilled.submit(int(sys.argv[2]), float(sys.argv[3]))
    elif sys.argv[1] == "queued":
        print("\n".join(queued()))
    else:
        print("\n".join(name.decode() for name in redis().lrange("done", 0, -1)))
