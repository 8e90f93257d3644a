#!/usr/bin/env python3
"""An app with sockets of some kind, that ends with 0 on SIGTERM.

  KIND
"ready" on stdout when it has them.
"""

import ctypes
import multiprocessing.managers
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

kept = []


def keep(*things):
    kept.extend(things)
    return things[0]


def unix_listener():
    path = os.path.join(keep(tempfile.mkdtemp()), "socket")
    listener = keep(socket.socket(socket.AF_UNIX))
    listener.bind(path)
    listener.listen()
    return path


def tcp():
    keep(socket.create_server(("127.0.0.1", 0)))


def tcp6():
    keep(socket.create_server(("::1", 0), family=socket.AF_INET6))


def mptcp():
    listener = keep(socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
    listener.bind(("127.0.0.1", 0))
    listener.listen()


def udp():
    keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).bind(("127.0.0.1", 0))


def vsock():
    listener = keep(socket.socket(socket.AF_VSOCK))
    listener.bind((socket.VMADDR_CID_ANY, socket.VMADDR_PORT_ANY))
    listener.listen()


def unix_client():
    """Whoever starts it connects."""
    print("connect to", unix_listener(), flush=True)
    keep(kept[1].accept())


def child():
    """Only a child's child listens."""
    text = "import socket,time; s = socket.create_server(('127.0.0.1', 0)); print('up', flush=True); time.sleep(60)"
    script = f"{sys.executable} -c \"{text}\" & wait"
    keep(subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE)).stdout.readline()


def other_namespace():
    """A child listens in a network namespace of its own."""
    text = "import socket,time; s = socket.create_server(('0.0.0.0', 80)); print('up', flush=True); time.sleep(60)"
    keep(subprocess.Popen(["unshare", "--net", sys.executable, "-c", text], stdout=subprocess.PIPE)).stdout.readline()


def main_thread_gone():
    tcp()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    def wait():
        print("ready", flush=True)
        signal.sigwait([signal.SIGTERM])
        os._exit(0)

    threading.Thread(target=wait).start()
    ctypes.CDLL(None).pthread_exit(None)


def nothing():
    pass


def unix_alone():
    unix_listener()


def unix_own():
    """Both ends are the app's."""
    path = unix_listener()
    keep(socket.socket(socket.AF_UNIX)).connect(path)
    keep(kept[1].accept())


def pair():
    keep(*socket.socketpair())


def manager():
    keep(multiprocessing.managers.SyncManager()).start(lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    keep(kept[0].dict())["key"] = "value"


def udp_client():
    """As statsd's clients do, connected and not."""
    keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).connect(("127.0.0.1", 9))
    keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)).sendto(b"metric:1|c", ("127.0.0.1", 9))


def tcp_client():
    """Connected to a server that is none of the app's, and one that is not connected."""
    keep(socket.create_connection(("127.0.0.1", int(sys.argv[2]))), socket.socket())


def not_yet():
    """It will listen, but not before a minute has passed."""
    threading.Thread(target=lambda: (time.sleep(60), tcp()), daemon=True).start()


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
globals()[sys.argv[1]]()
print("ready", flush=True)
while True:
    signal.pause()
