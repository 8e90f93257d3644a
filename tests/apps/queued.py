#!/usr/bin/env python3
"""Tells the value that came with each real-time signal (sigqueue(3)), in the order of arrival, and exits 0 on SIGTERM.

Python's own sigwaitinfo leaves the value out, so libc's is called.
"""

import ctypes
import os
import signal


class Info(ctypes.Structure):
    # siginfo_t of sigaction(2) on 64-bit Linux, as far as SI_QUEUE fills it.
    _fields_ = [
        ("signo", ctypes.c_int),
        ("errno", ctypes.c_int),
        ("code", ctypes.c_int),
        ("pad", ctypes.c_int),
        ("pid", ctypes.c_int),
        ("uid", ctypes.c_uint),
        ("value", ctypes.c_size_t),
        ("rest", ctypes.c_char * 96),
    ]


libc = ctypes.CDLL(None)
wanted = (ctypes.c_char * 128)()
libc.sigfillset(wanted)
libc.sigprocmask(signal.SIG_SETMASK, wanted, None)
os.write(1, b"ready\n")
while True:
    info = Info()
    number = libc.sigwaitinfo(wanted, ctypes.byref(info))
    if number == signal.SIGTERM:
        break
    if number >= signal.SIGRTMIN:
        os.write(1, f"{number} {info.value}\n".encode())
