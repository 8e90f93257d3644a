#!/usr/bin/env python3
"""A queue of files below DIR and its worker, with nothing but Python. A job is a file in DIR/queue whose name is its id and
whose content is its time in seconds; the worker moves it to DIR/taken, works, and writes its id into DIR/done.

  DIR worker [none|handler|ignore|exit|late] [LIMIT]   what it does about SIGTERM: nothing; it finishes its job and exits; it
                        ignores it; it exits at once; as with none, but a job leaves the queue only when it is done. With
                        LIMIT its handler gives up after so many seconds
  DIR submit N SECONDS  prints the ids
  DIR done | queued     print ids
"""

import os
import signal
import sys
import time
import uuid

folder, role = sys.argv[1], sys.argv[2]
QUEUE, TAKEN, DONE = (os.path.join(folder, name) for name in ("queue", "taken", "done"))
os.makedirs(QUEUE, exist_ok=True)
os.makedirs(TAKEN, exist_ok=True)
stopped = False


def stop(*_):
    global stopped
    stopped = True
    if len(sys.argv) > 4:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[4]))


def work():
    how = sys.argv[3] if len(sys.argv) > 3 else "none"
    if how == "handler":
        signal.signal(signal.SIGTERM, stop)
    elif how == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif how == "exit":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while not stopped:
        # By age, as a queue has it: names are those of the ids.
        jobs = sorted(os.scandir(QUEUE), key=lambda entry: entry.stat().st_mtime_ns)
        if not jobs:
            time.sleep(0.02)
            continue
        name, path = jobs[0].name, jobs[0].path
        if how != "late":
            path = os.path.join(TAKEN, name)
            os.rename(jobs[0].path, path)
        with open(path) as file:
            end = time.monotonic() + float(file.read())
        while (left := end - time.monotonic()) > 0:
            time.sleep(left)
        with open(DONE, "a") as file:
            file.write(f"{name}\n")
        os.unlink(path)


def submit(count, seconds):
    for _ in range(count):
        name = uuid.uuid4().hex
        path = os.path.join(folder, name)
        with open(path, "w") as file:
            file.write(seconds)
        os.rename(path, os.path.join(QUEUE, name))
        print(name)


if role == "worker":
    work()
elif role == "submit":
    submit(int(sys.argv[3]), sys.argv[4])
elif role == "queued":
    print("\n".join(os.listdir(QUEUE)))
elif os.path.exists(DONE):
    print(open(DONE).read(), end="")
