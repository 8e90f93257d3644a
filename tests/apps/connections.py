#!/usr/bin/env python3
"""Real connections in a known state, for `cargo run --example record-connections`.

  list                     the scenarios: name, protocol, server, what the server does about SIGTERM
  network                  a network namespace for clients, 0.1 ms away by veth and 10 ms by a tun device; prints its pid
  play NAME HOST [NETNS]   one scenario: starts its server here and its client in NETNS (/proc/PID/ns/net)
  serve KIND PORT ...      the servers of Python

`play` prints `port N` when the server listens, then `idle` or `pending` whenever that begins to be true of the one
connection, and goes on until its standard input is closed.
"""

import asyncio
import ctypes
import fcntl
import heapq
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.abspath(__file__)
PYTHON = sys.executable
LONG = 30
CLONE_NEWNET = 0x40000000


def say(text):
    if text == "pending":
        # The request may be on its way for a while.
        time.sleep(0.025)
    os.write(1, (text + "\n").encode())


def tun(name):
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001))
    return fd


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def network():
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo up; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    there = ["nsenter", "--net=/proc/%d/ns/net" % holder.pid]
    ip("link", "set", "lo", "up")
    ip("link", "add", "near0", "type", "veth", "peer", "name", "near1", "netns", str(holder.pid))
    ends = [tun("far0"), tun("far1")]
    ip("link", "set", "far1", "netns", str(holder.pid))
    for name, address, peer in [("near", "10.98.0.%d/30", None), ("far", "10.99.0.%d/30", None)]:
        ip("address", "add", address % 1, "dev", name + "0")
        ip("link", "set", name + "0", "up")
        subprocess.run(there + ["ip", "address", "add", address % 2, "dev", name + "1"], check=True)
        subprocess.run(there + ["ip", "link", "set", name + "1", "up"], check=True)
    say("netns %d" % holder.pid)
    late = []
    number = 0
    while True:
        wait = max(0, late[0][0] - time.monotonic()) if late else None
        ready, _, _ = select.select(ends + [0], [], [], wait)
        now = time.monotonic()
        for fd in ready:
            if fd == 0:
                holder.kill()
                return
            number += 1
            heapq.heappush(late, (now + 0.005, number, ends[1 - ends.index(fd)], os.read(fd, 65536)))
        while late and late[0][0] <= time.monotonic():
            _, _, fd, packet = heapq.heappop(late)
            try:
                os.write(fd, packet)
            except OSError:
                pass


NODE = """
const fs = require('fs'), args = process.argv.slice(1);
const answer = (req, res) => {
  const url = new URL(req.url, 'http://x');
  const end = () => { res.setHeader('Content-Length', 2); res.end('ok'); };
  if (url.pathname === '/slow') setTimeout(end, 1000 * url.searchParams.get('s'));
  else if (url.pathname === '/stream') {
    const gaps = url.searchParams.get('gaps').split(',').map(Number);
    res.write(': hello\\n');
    const next = () => { if (gaps.length) setTimeout(() => { res.write('token\\n'); next(); }, gaps.shift()); };
    next();
  } else if (url.pathname === '/big') { res.end(Buffer.alloc(64 << 20)); } else end();
};
const options = args[1] ? { key: fs.readFileSync(args[1]), cert: fs.readFileSync(args[2]), minVersion: args[3], maxVersion: args[3] } : {};
const server = require(args[1] ? 'https' : 'http').createServer(options, answer);
server.keepAliveTimeout = 600000; server.requestTimeout = 0;
server.listen(args[0], '0.0.0.0');
"""

ASGI = """
import asyncio
from urllib.parse import parse_qs
async def app(scope, receive, send):
    if scope['type'] == 'lifespan':
        while True:
            await send({'type': (await receive())['type'] + '.complete'})
    if scope['type'] == 'websocket':
        await receive()
        await send({'type': 'websocket.accept'})
        while True:
            event = await receive()
            if event['type'] == 'websocket.disconnect':
                return
            text = event.get('text') or ''
            await asyncio.sleep(30 if text.startswith('slow') else 0)
            await send({'type': 'websocket.send', 'text': text})
    query = parse_qs(scope['query_string'].decode())
    start = {'type': 'http.response.start', 'status': 200}
    if scope['path'] == '/events':
        await send(start)
        while True:
            await send({'type': 'http.response.body', 'body': b'data: x\\n\\n', 'more_body': True})
            await asyncio.sleep(float(query['every'][0]))
    if scope['path'] == '/upload':
        while (await receive()).get('more_body'):
            pass
    if scope['path'] == '/slow':
        await asyncio.sleep(30)
    body = b'x' * 100000 if scope['path'] == '/big' else b'ok'
    await send({**start, 'headers': [(b'content-length', str(len(body)).encode())]})
    await send({'type': 'http.response.body', 'body': body})
"""


def serve(kind, port, *more):
    import http.server
    import urllib.parse

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            query = urllib.parse.parse_qs(url.query)
            if url.path == "/slow":
                time.sleep(float(query["s"][0]))
            self.send_response(200)
            if url.path == "/stream":
                return self.stream(query["gaps"][0].split(","))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def stream(self, gaps):
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b": hello\n")
            for gap in gaps:
                time.sleep(float(gap))
                self.wfile.write(b"token\n")
            self.wfile.write(b"ok")

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_):
            pass

    if kind == "grpc":
        return serve_grpc(port)
    server = http.server.ThreadingHTTPServer(("0.0.0.0", int(port)), Handler)
    if kind == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(more[1], more[0])
        version = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[more[2]]
        context.minimum_version = context.maximum_version = version
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


def serve_grpc(port):
    import concurrent.futures
    import grpc

    def unary(request, _):
        time.sleep(LONG if request == b"slow" else 0)
        return request

    def stream(request, _):
        for _ in range(LONG):
            yield b"token"
            time.sleep(float(request))

    def handlers(name):
        return {
            "Unary": grpc.unary_unary_rpc_method_handler(unary),
            "Stream": grpc.unary_stream_rpc_method_handler(stream),
        }

    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("t.T", handlers("t.T"))])
    server.add_insecure_port("0.0.0.0:" + port)
    server.start()
    server.wait_for_termination()


class Play:
    """One scenario: its server, and what its client needs."""

    def __init__(self, host, netns):
        self.host = host
        self.netns = netns
        self.folder = tempfile.TemporaryDirectory(prefix="graceful-connections-")
        with socket.socket() as probe:
            probe.bind(("0.0.0.0", 0))
            self.port = probe.getsockname()[1]
        self.processes = []
        self.streams = []

    def file(self, name, text=None):
        path = os.path.join(self.folder.name, name)
        if text is not None:
            with open(path, "w") as file:
                file.write(text)
        return path

    def start(self, *command):
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = [str(self.port) if word == "PORT" else word for word in command]
        if os.environ.get("LOUD"):
            quiet = {"stdout": 2}
        self.processes.append(subprocess.Popen(command, cwd=self.folder.name, **quiet))
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "it does not listen: %s" % (command,)
                time.sleep(0.05)
        time.sleep(0.3)
        say("port %d" % self.port)
        if self.netns:
            fd = os.open(self.netns, os.O_RDONLY)
            assert ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET) == 0, "setns"
            os.close(fd)

    def certificate(self):
        key, certificate = self.file("key.pem"), self.file("cert.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
             "/CN=x", "-days", "2", "-keyout", key, "-out", certificate],
            check=True, stderr=subprocess.DEVNULL,
        )
        return [key, certificate]

    def node(self, tls=None):
        self.start("node", "-e", NODE, "PORT", *(self.certificate() + [tls] if tls else []))

    def python(self, tls=None):
        kind = "https" if tls else "http"
        self.start(PYTHON, HERE, "serve", kind, "PORT", *(self.certificate() + [tls] if tls else []))

    def uvicorn(self, *options):
        self.file("asgi.py", ASGI)
        self.start(PYTHON, "-m", "uvicorn", "--host", "0.0.0.0", "--port", "PORT", "--timeout-keep-alive", "600", *options, "asgi:app")

    def hypercorn(self):
        self.file("asgi.py", ASGI)
        self.start(PYTHON, "-m", "hypercorn", "--bind", "0.0.0.0:%d" % self.port, "--keep-alive", "600", "asgi:app")

    def connect(self, tls=False):
        plain = socket.create_connection((self.host, self.port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # It stays open when the scenario has been played.
        self.streams.append(plain)
        if not tls:
            return plain
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        stream = context.wrap_socket(plain)
        self.streams.append(stream)
        return stream


def ask(stream, path, more=b"", method=b"GET"):
    stream.sendall(b"%s %s HTTP/1.1\r\nHost: server.example\r\nUser-Agent: recorder/1\r\nAccept: */*\r\n\r\n" % (method, path) + more)


def get(stream, path=b"/"):
    ask(stream, path)
    answer = b""
    while not answer.endswith(b"ok"):
        part = stream.recv(65536)
        assert part, "an answer"
        answer += part


SCENARIOS = {}


def scenario(name, protocol, server, handler):
    def register(function):
        SCENARIOS[name] = (protocol, server, handler, function)
        return function

    return register


def http_scenarios():
    """Plain and TLS: answered so often, and then nothing or a request that takes long, at once or 20 ms later."""
    for server, handler in [("node", "runtime"), ("python", "none")]:
        for tls in [None, "TLSv1.2", "TLSv1.3"]:
            protocol = "HTTP/1.1" + (" over " + tls.replace("v", " ") if tls else "")
            short = ("https-%s-%s" % (server, tls[-3:].replace(".", "")) if tls else "http-" + server)
            for count in [1, 2, 12]:
                add_http("%s-idle-%d" % (short, count), protocol, server, handler, tls, count, None)
            for count, gap in [(0, 0), (1, 0), (1, 0.02), (12, 0), (12, 0.02)]:
                how = "%d%s" % (count, "" if count == 0 else "-at-once" if gap == 0 else "-20ms")
                add_http("%s-pending-%s" % (short, how), protocol, server, handler, tls, count, gap)


def add_http(name, protocol, server, handler, tls, count, gap):
    def play(self):
        getattr(self, server)(tls)
        stream = self.connect(bool(tls))
        for _ in range(count):
            get(stream)
        if gap is None:
            return say("idle")
        time.sleep(gap)
        ask(stream, b"/slow?s=%d" % LONG)
        say("pending")

    scenario(name, protocol, server, handler)(play)


http_scenarios()


@scenario("http-node-few-idle", "HTTP/1.1", "node", "runtime")
def few(self):
    """As many bytes as a TLS handshake has, in as few segments."""
    self.node()
    stream = self.connect()
    for _ in range(3):
        get(stream, b"/?" + b"x" * 300)
    say("idle")


@scenario("http-node-silent", "HTTP/1.1", "node", "runtime")
def silent(self):
    self.node()
    self.stream = self.connect()
    say("idle")


@scenario("http-node-answered-after-1s", "HTTP/1.1", "node", "runtime")
def answered(self):
    self.node()
    stream = self.connect()
    ask(stream, b"/slow?s=1")
    say("pending")
    stream.recv(1000)
    say("idle")


@scenario("http-node-pool", "HTTP/1.1", "node", "runtime")
def pool(self):
    """A connection of a pool: in use now and then."""
    self.node()
    stream = self.connect()
    for _ in range(12):
        get(stream)
    say("idle")
    while True:
        time.sleep(1.3)
        get(stream)


@scenario("http-node-stream-pauses", "HTTP/1.1, a stream with pauses", "node", "runtime")
def stream_pauses(self):
    self.node()
    ask(self.connect(), b"/stream?gaps=900,900,900,900,900,900,900,900")
    say("pending")
    time.sleep(LONG)


@scenario("http-node-stream-tokens", "HTTP/1.1, a stream of tokens", "node", "runtime")
def stream_tokens(self):
    self.node()
    ask(self.connect(), b"/stream?gaps=" + b",".join([b"100"] * 80))
    say("pending")
    time.sleep(LONG)


@scenario("http-node-stream-first-pause", "HTTP/1.1, a stream that begins with a pause", "node", "runtime")
def stream_first(self):
    self.node()
    ask(self.connect(), b"/stream?gaps=8000,100,100")
    say("pending")
    time.sleep(LONG)


@scenario("http-node-slow-download", "HTTP/1.1, a download", "node", "runtime")
def download(self):
    self.node()
    stream = self.connect()
    ask(stream, b"/big")
    say("pending")
    while True:
        stream.recv(20000)
        time.sleep(0.1)


@scenario("http-python-slow-upload", "HTTP/1.1, an upload", "python", "none")
def upload(self):
    self.python()
    stream = self.connect()
    get(stream)
    stream.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
    say("pending")
    while True:
        stream.sendall(b"x" * 100)
        time.sleep(0.7)


@scenario("sse-uvicorn", "Server-sent events", "uvicorn", "own")
def sse(self):
    self.uvicorn()
    ask(self.connect(), b"/events?every=1")
    say("idle")
    time.sleep(LONG)


@scenario("sse-uvicorn-rest", "Server-sent events", "uvicorn", "own")
def sse_rest(self):
    self.uvicorn()
    ask(self.connect(), b"/events?every=60")
    time.sleep(0.2)
    say("idle")
    time.sleep(LONG)


async def websocket(self, talk):
    import websockets

    url = "ws://%s:%d/" % (self.host, self.port)
    async with websockets.connect(url, ping_interval=None, compression=None) as client:
        await talk(client)
        await asyncio.sleep(LONG)


@scenario("ws-uvicorn-idle", "WebSocket", "uvicorn", "own")
def ws_idle(self):
    self.uvicorn("--ws-ping-interval", "60")

    async def talk(client):
        await client.send("hello")
        await client.recv()
        say("idle")

    asyncio.run(websocket(self, talk))


@scenario("ws-uvicorn-heartbeat", "WebSocket, heartbeats of the server", "uvicorn", "own")
def ws_heartbeat(self):
    self.uvicorn("--ws-ping-interval", "1.5")

    async def talk(client):
        await client.send("hello")
        await client.recv()
        say("idle")

    asyncio.run(websocket(self, talk))


@scenario("ws-uvicorn-heartbeat-last", "WebSocket, heartbeats of the server", "uvicorn", "own")
def ws_heartbeat_last(self):
    """The last that happened was a heartbeat."""
    self.uvicorn("--ws-ping-interval", "1")

    async def talk(client):
        await client.send("hello")
        await client.recv()
        await asyncio.sleep(1.2)
        say("idle")

    asyncio.run(websocket(self, talk))


@scenario("ws-uvicorn-pending", "WebSocket, heartbeats of the server", "uvicorn", "own")
def ws_pending(self):
    self.uvicorn("--ws-ping-interval", "1.5")

    async def talk(client):
        await client.send("hello")
        await client.recv()
        await asyncio.sleep(0.5)
        await client.send("slow")
        say("pending")

    asyncio.run(websocket(self, talk))


def h2(self, talk):
    import h2.connection

    stream = self.connect()
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    stream.sendall(connection.data_to_send())

    def request(path):
        number = connection.get_next_available_stream_id()
        headers = [(":method", "GET"), (":path", path), (":authority", "x"), (":scheme", "http"), ("user-agent", "recorder")]
        connection.send_headers(number, headers, end_stream=True)
        stream.sendall(connection.data_to_send())
        return number

    def until(number):
        while True:
            for event in connection.receive_data(stream.recv(65536)):
                if type(event).__name__ == "StreamEnded" and event.stream_id == number:
                    stream.sendall(connection.data_to_send())
                    return
            stream.sendall(connection.data_to_send())

    talk(stream, connection, request, until)


@scenario("h2-hypercorn-idle-1", "HTTP/2", "hypercorn", "own")
def h2_idle(self):
    self.hypercorn()

    def talk(stream, connection, request, until):
        until(request("/"))
        say("idle")
        time.sleep(LONG)

    h2(self, talk)


@scenario("h2-hypercorn-idle-12", "HTTP/2", "hypercorn", "own")
def h2_idle_12(self):
    self.hypercorn()

    def talk(stream, connection, request, until):
        for _ in range(12):
            until(request("/"))
        say("idle")
        time.sleep(LONG)

    h2(self, talk)


@scenario("h2-hypercorn-window-update-last", "HTTP/2, a window update last", "hypercorn", "own")
def h2_window(self):
    self.hypercorn()

    def talk(stream, connection, request, until):
        for _ in range(3):
            until(request("/"))
        connection.increment_flow_control_window(1000)
        stream.sendall(connection.data_to_send())
        say("idle")
        time.sleep(LONG)

    h2(self, talk)


@scenario("h2-hypercorn-ping-last", "HTTP/2, a ping last", "hypercorn", "own")
def h2_ping(self):
    self.hypercorn()

    def talk(stream, connection, request, until):
        for _ in range(3):
            until(request("/"))
        time.sleep(0.7)
        connection.ping(b"12345678")
        stream.sendall(connection.data_to_send())
        stream.recv(1000)
        say("idle")
        time.sleep(LONG)

    h2(self, talk)


for before in [0, 1, 12]:

    def h2_pending(self, before=before):
        self.hypercorn()

        def talk(stream, connection, request, until):
            for _ in range(before):
                until(request("/"))
            request("/slow")
            say("pending")
            threading.Thread(target=lambda: [connection.receive_data(stream.recv(65536)), stream.sendall(connection.data_to_send())]).start()
            time.sleep(LONG)

        h2(self, talk)

    scenario("h2-hypercorn-pending-%d" % before, "HTTP/2", "hypercorn", "own")(h2_pending)


def grpc_channel(self):
    import grpc

    self.start(PYTHON, HERE, "serve", "grpc", "PORT")
    return grpc.insecure_channel("%s:%d" % (self.host, self.port))


for count in [1, 12]:

    def grpc_idle(self, count=count):
        call = grpc_channel(self).unary_unary("/t.T/Unary")
        for _ in range(count):
            call(b"x")
        say("idle")
        time.sleep(LONG)

    scenario("grpc-unary-idle-%d" % count, "gRPC, unary", "grpcio", "none")(grpc_idle)

for count in [0, 1, 12]:

    def grpc_pending(self, count=count):
        call = grpc_channel(self).unary_unary("/t.T/Unary")
        for _ in range(count):
            call(b"x")
        call.future(b"slow")
        time.sleep(0.001)
        say("pending")
        time.sleep(LONG)

    scenario("grpc-unary-pending-%d" % count, "gRPC, unary", "grpcio", "none")(grpc_pending)


@scenario("grpc-stream", "gRPC, a stream of the server", "grpcio", "none")
def grpc_stream(self):
    tokens = grpc_channel(self).unary_stream("/t.T/Stream")(b"0.9")
    next(tokens)
    say("pending")
    for _ in tokens:
        pass


async def nats(self, talk):
    import nats as client

    connection = await client.connect("nats://%s:%d" % (self.host, self.port), ping_interval=600)
    await talk(connection)
    say("idle")
    await asyncio.sleep(LONG)


def start_nats(self, ping):
    config = self.file("nats.conf", 'listen: "0.0.0.0:%d"\nping_interval: "%s"\n' % (self.port, ping))
    self.start("nats-server", "-c", config)


@scenario("nats-subscriber", "NATS", "nats-server", "runtime")
def nats_subscriber(self):
    start_nats(self, "60s")

    async def talk(connection):
        await connection.subscribe("x")
        await connection.flush()

    asyncio.run(nats(self, talk))


@scenario("nats-ping", "NATS, pings of the server", "nats-server", "runtime")
def nats_ping(self):
    start_nats(self, "1s")

    async def talk(connection):
        await connection.subscribe("x")
        await asyncio.sleep(2.5)

    asyncio.run(nats(self, talk))


def redis(self):
    self.start("redis-server", "--port", "PORT", "--bind", "0.0.0.0", "--protected-mode", "no", "--save", "", "--dir", self.folder.name)
    import redis as client

    return client.Redis(self.host, self.port)


@scenario("redis-get", "Redis", "redis-server", "own")
def redis_get(self):
    client = redis(self)
    for _ in range(12):
        client.get("x")
    say("idle")
    time.sleep(LONG)


@scenario("redis-blpop", "Redis, a client in BLPOP", "redis-server", "own")
def redis_blpop(self):
    client = redis(self)
    client.get("x")
    # It waits for work: nobody loses anything when it is cut off.
    threading.Timer(0.05, lambda: say("idle")).start()
    client.blpop("queue", LONG)


def play(name, host, netns=None):
    self = Play(host, netns)

    def run():
        try:
            SCENARIOS[name][3](self)
        except Exception as problem:
            if not self.done:
                raise

    self.done = False
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    sys.stdin.read()
    self.done = True
    for process in self.processes:
        process.kill()
        process.wait()
    self.folder.cleanup()
    os._exit(0)


def main():
    command, *more = sys.argv[1:]
    if command == "list":
        for name, (protocol, server, handler, _) in SCENARIOS.items():
            print("\t".join([name, protocol, server, handler]))
    else:
        {"network": network, "play": play, "serve": serve}[command](*more)


main()
