#!/usr/bin/env python3
"""A server whose readiness behaves as told. It prints "listening" once it listens, "GET N PATH" for the N-th request,
the name of SIGTERM and SIGUSR1 when they come, and "bye" as its last word.

  PORT
  --not-ready          503 until SIGUSR1 comes
  --answer WHAT        ok (default), hang, garbage, endless (a body without end), redirects (to itself), silence (closes)
  --on-term WHAT       stay (default): goes on as before; fail: 503 from then on; close: stops listening; exit: at once
  --linger SECONDS     from SIGTERM to the exit, default 0.3; 0: no end, SIGKILL is needed
  --exit STATUS        default 0
"/" always answers 200; all else is the readiness endpoint.
"""

import argparse
import os
import signal
import socket
import threading
import time

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--not-ready", action="store_true")
parser.add_argument("--answer", default="ok", choices=["ok", "hang", "garbage", "endless", "redirects", "silence"])
parser.add_argument("--on-term", default="stay", choices=["stay", "fail", "close", "exit"])
parser.add_argument("--linger", type=float, default=0.3)
parser.add_argument("--exit", type=int, default=0)
options = parser.parse_args()
ready = not options.not_ready
requests = 0
lock = threading.Lock()


def say(text):
    os.write(1, (text + "\n").encode())


def reply(status, body=b"ok", head=b""):
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (status, head, len(body), body)


def serve(connection):
    global requests
    try:
        with connection:
            request = b""
            while b"\r\n\r\n" not in request:
                received = connection.recv(4096)
                if not received:
                    return
                request += received
            path = request.split()[1].decode()
            with lock:
                requests += 1
                say(f"GET {requests} {path}")
            if path == "/":
                connection.sendall(reply(b"200 OK"))
            elif not ready:
                connection.sendall(reply(b"503 Service Unavailable"))
            else:
                answer(connection)
    except OSError:
        pass


def answer(connection):
    if options.answer == "ok":
        connection.sendall(reply(b"200 OK"))
    elif options.answer == "hang":
        time.sleep(60)
    elif options.answer == "garbage":
        connection.sendall(os.urandom(512))
    elif options.answer == "endless":
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 512)
            time.sleep(0.005)
    elif options.answer == "redirects":
        connection.sendall(reply(b"302 Found", head=b"Location: /again\r\n"))


def accept():
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve, args=(connection,), daemon=True).start()


listener = socket.create_server(("127.0.0.1", options.port), backlog=64)
# Before the threads are started, so that they have it too: the main thread alone takes signals.
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})
signal.alarm(120)
threading.Thread(target=accept, daemon=True).start()
say("listening")
while True:
    got = signal.sigwait({signal.SIGTERM, signal.SIGUSR1})
    say(got.name)
    if got == signal.SIGUSR1:
        ready = True
    elif options.on_term == "fail":
        ready = False
    elif options.on_term == "close":
        # Not close(2) alone: an accept(2) under way would keep the listener.
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        say("closed")
    if got == signal.SIGTERM and options.on_term != "exit":
        if options.linger == 0:
            while True:
                signal.pause()
        time.sleep(options.linger)
    if got == signal.SIGTERM:
        say("bye")
        os._exit(options.exit)
