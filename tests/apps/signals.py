#!/usr/bin/env python3
"""Tells on stdout, one per line, the name of each signal that it gets.

It prints "ready pid=P ppid=P pgid=P sid=P" once every handler is installed. Signals are taken in with sigwait, so
none is lost and none coalesces that the kernel did not coalesce; the handlers are installed all the same, so that
/proc/PID/status shows the signals as caught.

  --exit-on SIG[@N]=STATUS  exit with STATUS when SIG has come N times (default once); STATUS "signal": die of it.
                            Repeatable. Without it: TERM=0
  --never-exit              no signal ends it
  --delay SECONDS           between the signal that ends it and the end; further signals are told meanwhile
  --ignore SIG              SIG_IGN, not told. Repeatable
  --default SIG             no handler at all. Repeatable
  --children N              fork N children
  --child-on-term WHAT      exit (default): tells "child PID SIGTERM" and exits; ignore; default: no handler
  --detach                  the children are made orphans, each in a session of its own
  --orphans N               before "ready", make N orphans that exit at once (for whoever reaps them)
  --exit-after-ready STATUS exit as soon as it is ready (what remains is children)
Each child prints "child PID ready" before the parent prints "ready".
"""

import argparse
import os
import signal
import sys
import time


def say(text):
    # One write per line: parent and children share the pipe.
    os.write(1, (text + "\n").encode())


def number(name):
    name = name.upper().removeprefix("SIG")
    if name.startswith("RTMIN"):
        return signal.SIGRTMIN + int(name.removeprefix("RTMIN") or 0)
    return int(name) if name.isdigit() else signal.Signals["SIG" + name]


def name(num):
    if num > signal.SIGRTMIN:
        return f"SIGRTMIN+{num - signal.SIGRTMIN}"
    return signal.Signals(num).name


def exit_rule(text):
    when, status = text.split("=")
    sig, _, count = when.partition("@")
    return int(number(sig)), int(count or 1), status


def child(on_term, ready):
    pid = os.getpid()
    action = {"ignore": signal.SIG_IGN, "default": signal.SIG_DFL, "exit": lambda *_: None}[on_term]
    for sig in CAUGHT:
        signal.signal(sig, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, action)
    signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGTERM} if on_term == "exit" else set())
    signal.alarm(120)  # No test that failed leaves it behind for good.
    say(f"child {pid} ready")
    os.write(ready, b".")
    os.close(ready)
    if on_term == "exit":
        signal.sigwait({signal.SIGTERM})
        say(f"child {pid} SIGTERM")
        os._exit(0)
    while True:
        signal.pause()


def start_children(options):
    ready, done = os.pipe()
    for _ in range(options.children):
        if os.fork() == 0:
            os.close(ready)
            if options.detach:
                os.setsid()
                if os.fork():
                    os._exit(0)
            child(options.child_on_term, done)
        if options.detach:
            os.wait()
    os.close(done)
    for _ in range(options.children):
        os.read(ready, 1)


def make_orphans(count):
    # A child makes them and exits, so that none of them is a child of this process.
    if count:
        if os.fork() == 0:
            for _ in range(count):
                if os.fork() == 0:
                    os._exit(0)
            os._exit(0)
        os.wait()


def end(status, sig):
    if status != "signal":
        sys.exit(int(status))
    signal.signal(sig, signal.SIG_DFL)
    os.kill(os.getpid(), sig)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {sig})


parser = argparse.ArgumentParser()
parser.add_argument("--exit-on", type=exit_rule, action="append", default=[])
parser.add_argument("--never-exit", action="store_true")
parser.add_argument("--delay", type=float, default=0)
parser.add_argument("--ignore", type=number, action="append", default=[])
parser.add_argument("--default", type=number, action="append", default=[])
parser.add_argument("--children", type=int, default=0)
parser.add_argument("--child-on-term", choices=["exit", "ignore", "default"], default="exit")
parser.add_argument("--detach", action="store_true")
parser.add_argument("--orphans", type=int, default=0)
parser.add_argument("--exit-after-ready", type=int)
options = parser.parse_args()
rules = [] if options.never_exit else options.exit_on or [(int(signal.SIGTERM), 1, "0")]

UNTOUCHED = {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, *options.ignore, *options.default}
CAUGHT = signal.valid_signals() - UNTOUCHED
for sig in options.default:
    signal.signal(sig, signal.SIG_DFL)
for sig in options.ignore:
    signal.signal(sig, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, CAUGHT)
for sig in CAUGHT:
    signal.signal(sig, lambda *_: None)

start_children(options)
make_orphans(options.orphans)
say(f"ready pid={os.getpid()} ppid={os.getppid()} pgid={os.getpgid(0)} sid={os.getsid(0)}")
if options.exit_after_ready is not None:
    sys.exit(options.exit_after_ready)

seen = {}
ending = None
while True:
    if ending is None:
        info = signal.sigwaitinfo(CAUGHT)
    else:
        info = signal.sigtimedwait(CAUGHT, max(0, ending[0] - time.monotonic()))
        if info is None:
            end(*ending[1:])
    sig = info.si_signo
    say(name(sig))
    seen[sig] = seen.get(sig, 0) + 1
    for wanted, count, status in rules:
        if ending is None and wanted == sig and seen[sig] == count:
            ending = (time.monotonic() + options.delay, status, sig)
