"""`jobs.py submit N` puts N jobs into the folder and prints their names."""

import os
import pathlib
import sys
import time

new = pathlib.Path(os.environ.get("JOBS", "jobs")) / "new"
for _ in range(int(sys.argv[2])):
    job = new / f"{time.time_ns()}"
    job.touch()
    print(job.name)
