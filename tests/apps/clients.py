"""Clients that count for themselves: python3 clients.py URL RATE SLOW_PATH SLOW_CLIENTS

It says "ready"; a line on standard input begins it: a request on a new connection every 1/RATE seconds, and SLOW_CLIENTS that
ask for SLOW_PATH one request after the other. Another line ends it. Then one line of JSON for each request: kind, when it was to be sent (wall
clock), when it was over, and what became of it. Nothing is shared with what it is compared to: sockets and counting by hand.
"""

import asyncio
import json
import sys
import time
from urllib.parse import urlsplit

url = urlsplit(sys.argv[1])
rate = int(sys.argv[2])
slow_path = sys.argv[3]
slow_clients = int(sys.argv[4])
records = []


async def answer(reader):
    """ok, or what was wrong with the answer."""
    head = b""
    while b"\r\n\r\n" not in head:
        part = await reader.read(4096)
        if not part:
            return "reset" if not head else "truncated"
        head += part
    head, body = head.split(b"\r\n\r\n", 1)
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    if "content-length" in headers:
        while len(body) < int(headers["content-length"]):
            part = await reader.read(65536)
            if not part:
                return "truncated"
            body += part
    elif headers.get("transfer-encoding") == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            part = await reader.read(65536)
            if not part:
                return "truncated"
            body += part
    else:
        while await reader.read(65536):
            pass
    return "ok" if status.split()[1].startswith("2") else "status"


async def exchange(path, patience):
    begun = False
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            try:
                begun = True
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
                return await answer(reader)
            finally:
                writer.close()
    except ConnectionRefusedError:
        return "refused"
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    except TimeoutError:
        return "black-hole"
    except OSError as error:
        return f"reset {error}" if begun else f"refused {error}"


async def one(kind, path, intended, patience):
    record = {"kind": kind, "intended": intended, "outcome": "unfinished"}
    records.append(record)
    record["outcome"] = await exchange(path, patience)
    record["ended"] = time.time()


async def slow():
    while True:
        begin = time.time()
        await one("slow", slow_path, begin, 30)
        await asyncio.sleep(max(0, begin + 1 - time.time()))


async def main():
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    tasks = [asyncio.create_task(slow()) for _ in range(slow_clients)]
    begin, count = time.time(), 0
    print("begun", flush=True)
    while not ended.done():
        intended = begin + count / rate
        await asyncio.sleep(max(0, intended - time.time()))
        tasks.append(asyncio.create_task(one("new", url.path, intended, 5)))
        count += 1
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for record in records:
        print(json.dumps(record))


# Started before there is anything to ask: the time that a busy machine takes for it is not missing from the comparison.
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
