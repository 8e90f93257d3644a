#!/usr/bin/env python3
"""A queue loop that does nothing about SIGTERM: takes a job of SECONDS as long as there is no file DRAIN.

  SECONDS DRAIN
"job N begins" and "job N done" on stdout; "idle" once when it sees the file.
"""

import os
import sys
import time


def say(text):
    os.write(1, (text + "\n").encode())


seconds, drain = float(sys.argv[1]), sys.argv[2]
say("worker ready")
number, told = 0, False
while True:
    if os.path.exists(drain):
        if not told:
            say("idle")
            told = True
        time.sleep(0.02)
        continue
    number += 1
    say(f"job {number} begins")
    time.sleep(seconds)
    say(f"job {number} done")
