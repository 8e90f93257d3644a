#!/usr/bin/env python3
"""A server that can be told how to stop, well or badly.

  PORT [--stop HOW] [--status N] [--serve-on S] [--limit S] [--helper S] [--halves] [--until-eof]

HOW, on SIGTERM:
  drain     stop listening, finish what is in flight, exit (the default)
  die       exit at once, whatever is in flight
  reraise   drain, and then die of the signal
  cut       reset the connections of what is in flight, serve on for --serve-on, then drain
  kept      close a kept connection once its next request has come, serve new ones for --serve-on, then drain
  truncate  send half of each answer that is in flight, close its connection, exit
  503       answer 503 to whatever comes for as long as --serve-on says, then drain
  hole      keep the listener open and accept nothing more, finish what is in flight, exit after --serve-on
  ignore    ignore the signal
  none      leave the signal's default: it ends the process
--status N     the exit status, 0
--serve-on S   before the drain, serve on for so many seconds (0)
--limit S      drain for so many seconds at most
--helper S     leave a process behind that ends after S seconds; it holds no socket
--halves       the first half of a slow answer is sent at once
--until-eof    answers have no length, they end with their connection; a slow one sends its first half at once

GET anything: 200 with 1000 bytes; GET /slow?seconds=S: the same after S seconds.
It prints "worker ready" once it listens.
"""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import urllib.parse

BODY = b"o" * 1000

options = argparse.ArgumentParser()
options.add_argument("port", type=int)
options.add_argument("--stop", default="drain")
options.add_argument("--status", type=int, default=0)
options.add_argument("--serve-on", type=float, default=0)
options.add_argument("--limit", type=float, default=float("inf"))
options.add_argument("--helper", type=float)
options.add_argument("--halves", action="store_true")
options.add_argument("--until-eof", action="store_true")
options = options.parse_args()

stopping = False
in_flight = set()
idle = set()


async def request(reader):
    """The target of the next request; none at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return head.split(b" ", 2)[1].decode()


async def answer(writer, target):
    """Answers one request; whether the connection may be used again."""
    url = urllib.parse.urlsplit(target)
    seconds = float(urllib.parse.parse_qs(url.query).get("seconds", ["0"])[0]) if url.path == "/slow" else 0
    if options.until_eof:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + BODY[:500])
        await asyncio.sleep(seconds)
        writer.write(BODY[500:])
        return False
    if options.halves and seconds:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + BODY[:500])
        await asyncio.sleep(seconds)
        writer.write(BODY[500:])
        return not stopping
    await asyncio.sleep(seconds)
    status = b"503 Service Unavailable" if stopping and options.stop == "503" else b"200 OK"
    close = b"Connection: close\r\n" if stopping else b""
    writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 1000\r\n" + close + b"\r\n" + BODY)
    return not stopping


async def connection(reader, writer):
    more, count = True, 0
    while more:
        idle.add(writer)
        target = await request(reader)
        idle.discard(writer)
        count += 1
        if target is None or (stopping and options.stop == "kept" and count > 1):
            break
        in_flight.add(writer)
        try:
            more = await answer(writer, target)
            await writer.drain()
        except ConnectionError:
            more = False
        in_flight.discard(writer)
    writer.close()


async def stop(server):
    if options.stop == "hole":
        asyncio.get_running_loop().remove_reader(server.sockets[0].fileno())
    if options.stop == "cut":
        for writer in list(in_flight):
            writer.transport.abort()
    await asyncio.sleep(options.serve_on)
    if options.stop == "truncate":
        for writer in list(in_flight):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + BODY[:500])
            writer.transport.close()
        await asyncio.sleep(0.1)
        os._exit(options.status)
    # What has come before the stop is in flight: it is accepted and read first.
    for _ in range(4):
        await asyncio.sleep(0)
    if options.stop != "hole":
        server.close()
    for writer in list(idle):
        writer.close()
    end = asyncio.get_running_loop().time() + options.limit
    while in_flight and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.005)
    if options.helper is not None:
        devnull = {name: subprocess.DEVNULL for name in ("stdin", "stdout", "stderr")}
        subprocess.Popen(["sleep", str(options.helper)], **devnull)
    if options.stop == "reraise":
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    os._exit(options.status)


async def main():
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", options.port), backlog=512)
    server = await asyncio.start_server(connection, sock=listener, backlog=512)

    def told():
        global stopping
        if not stopping:
            stopping = True
            loop.create_task(stop(server))

    if options.stop == "die":
        # At once: not when the loop has its turn.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(options.status))
    elif options.stop == "ignore":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif options.stop != "none":
        loop.add_signal_handler(signal.SIGTERM, told)
    print("worker ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
