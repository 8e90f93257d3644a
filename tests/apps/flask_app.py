"""Flask app for its own development server, with the paths of the WSGI app: SIGTERM ends it on the spot."""

import os
import time

from flask import Flask, request

app = Flask(__name__)


def say(text):
    os.write(1, f"{text}\n".encode())


@app.get("/")
def root():
    return "hello"


@app.get("/slow")
def slow():
    say("slow begins")
    time.sleep(float(request.args.get("seconds", "1.5")))
    return "slow, but done"


say("worker ready")
