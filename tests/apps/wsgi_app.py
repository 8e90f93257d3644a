"""WSGI app for gunicorn's sync workers, with the same paths as the FastAPI app (but /stats)."""

import os
import time
from urllib.parse import parse_qs


def say(text):
    os.write(1, f"{text}\n".encode())


def app(environ, start_response):
    path = environ["PATH_INFO"]
    status = "200 OK"
    if path == "/slow":
        say("slow begins")
        time.sleep(float(parse_qs(environ["QUERY_STRING"]).get("seconds", ["1.5"])[0]))
    elif path not in ("/", "/healthz"):
        status = "404 Not Found"
    body = b"hello world\n"
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


# Each worker loads the module for itself, as nothing is preloaded.
say("worker ready")
