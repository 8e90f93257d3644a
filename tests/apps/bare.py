#!/usr/bin/env python3
"""Python's http.server as it is: nothing is done about SIGTERM, which ends it in the middle of whatever it does.

  PORT [ADDRESS]
GET or POST anything: 200 "ok"; /slow?seconds=S: the same after S seconds, and "slow begins" on stdout when it begins.
It prints "worker ready" once it listens.
"""

import http.server
import os
import sys
import time
import urllib.parse


def say(text):
    os.write(1, (text + "\n").encode())


class Handler(http.server.BaseHTTPRequestHandler):
    # Keep-alive.
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/slow":
            say("slow begins")
            time.sleep(float(urllib.parse.parse_qs(url.query)["seconds"][0]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


server = Server((sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1", int(sys.argv[1])), Handler)
say("worker ready")
server.serve_forever()
