#!/usr/bin/env python3
"""A small HTTP server of the standard library alone, for images without packages.

GET anything: 200 "ok"; GET /slow?seconds=S: the same after S seconds, and "slow begins" on stdout when it begins.
On SIGTERM it stops listening, finishes what is in flight, and exits with --exit (default 0).
It prints "ready" once it listens.
"""

import argparse
import http.server
import os
import signal
import ssl
import sys
import threading
import time
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/slow":
            os.write(1, b"slow begins\n")
            time.sleep(float(urllib.parse.parse_qs(url.query)["seconds"][0]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_):
        pass

    def address_string(self):
        return self.client_address[0]


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128

    def server_bind(self):
        # Not HTTPServer's, which asks a name server for the host's name.
        self.socket.setsockopt(1, 2, 1)
        self.socket.bind(self.server_address)

    def handle_error(self, *_):
        # A TLS client that does not like the certificate: nothing to tell.
        pass


parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, default=8080)
parser.add_argument("--exit", type=int, default=0)
parser.add_argument("--tls", metavar="PEM", help="certificate and key")
options = parser.parse_args()
server = Server(("0.0.0.0", options.port), Handler)
if options.tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.tls)
    server.socket = context.wrap_socket(server.socket, server_side=True)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
os.write(1, b"ready\n")
server.serve_forever(poll_interval=0.02)
server.server_close()
sys.exit(options.exit)
