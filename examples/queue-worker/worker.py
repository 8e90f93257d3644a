import os
import pathlib
import time

JOBS = pathlib.Path(os.environ.get("JOBS", "jobs"))
DRAINING = pathlib.Path(os.environ.get("GRACEFUL_DRAIN_FILE", "draining"))
BUSY = JOBS / "busy"


def work(job):
    time.sleep(0.4)


for name in ("new", "taken", "done"):
    (JOBS / name).mkdir(parents=True, exist_ok=True)
BUSY.unlink(missing_ok=True)
while True:
    # First busy, then the look at the file: between the two graceful would see an idle worker that takes another job.
    BUSY.touch()
    if DRAINING.exists():
        break
    job = min((JOBS / "new").iterdir(), default=None)
    if job:
        # From here on the job is nobody else's: cut off, it would be lost.
        job = job.rename(JOBS / "taken" / job.name)
        work(job)
        job.rename(JOBS / "done" / job.name)
    BUSY.unlink()
    time.sleep(0.05)
BUSY.unlink()
