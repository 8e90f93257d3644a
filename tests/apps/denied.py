#!/usr/bin/env python3
"""Runs a command under a seccomp filter that denies system calls: denied.py NAME[=ERRNO],... COMMAND ARGS...

Each of them fails with EPERM or the error that is named, as where a container's seccomp profile does not list it.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS = {
    "x86_64": {
        "poll": 7,
        "rt_sigprocmask": 14,
        "clone": 56,
        "wait4": 61,
        "rt_sigtimedwait": 128,
        "epoll_create1": 291,
        "ppoll": 271,
        "signalfd4": 289,
        "eventfd2": 290,
        "pidfd_open": 434,
        "clone3": 435,
    },
    "aarch64": {
        "epoll_create1": 20,
        "eventfd2": 19,
        "ppoll": 73,
        "signalfd4": 74,
        "rt_sigprocmask": 135,
        "rt_sigtimedwait": 137,
        "clone": 220,
        "wait4": 260,
        "pidfd_open": 434,
        "clone3": 435,
    },
}

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def program(denied):
    # seccomp_data begins with the number of the call.
    lines = [(LOAD, 0, 0, 0)]
    for name, error in denied:
        number = NUMBERS[platform.machine()].get(name)
        if number is not None:
            lines += [(EQUAL, 0, 1, number), (RETURN, 0, 0, FAIL | error)]
    return b"".join(struct.pack("HBBI", *line) for line in lines + [(RETURN, 0, 0, ALLOW)])


def main():
    named = (item.partition("=") for item in sys.argv[1].split(","))
    denied = [(name, getattr(errno, error or "EPERM")) for name, _, error in named]
    code = ctypes.create_string_buffer(program(denied), len(program(denied)))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    filters = Program(len(code) // 8, ctypes.addressof(code))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_void_p] * 4
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filters), 0, 0):
        sys.exit(f"no seccomp filter: {os.strerror(ctypes.get_errno())}")
    os.execvp(sys.argv[2], sys.argv[2:])


main()
