#!/usr/bin/env python3
"""A server that knows nothing of health and nothing of signals: GET / is 200 "ok" after 20 ms, all else is 404.
SIGTERM ends it in the middle of whatever it does. It prints "listening" once it listens.

  PORT
"""

import http.server
import os
import sys
import time


class Handler(http.server.BaseHTTPRequestHandler):
    # Keep-alive: whoever stands in front of it keeps connections.
    protocol_version = "HTTP/1.1"
    # The answer goes out in one piece, so that no half of it waits for the other's acknowledgement.
    wbufsize = -1

    def do_GET(self):
        time.sleep(0.02)
        status, body = (200, b"ok") if self.path == "/" else (404, b"no such page")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def server_bind(self):
        # Not HTTPServer's, which asks a name server for the host's name.
        self.socket.setsockopt(1, 2, 1)
        self.socket.bind(self.server_address)

    def handle_error(self, *_):
        # Whoever closed a connection needs no stack trace.
        pass


server = Server(("127.0.0.1", int(sys.argv[1])), Handler)
os.write(1, b"listening\n")
server.serve_forever()
