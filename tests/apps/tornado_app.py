"""Tornado app as its tutorial has it, without a handler for SIGTERM: argument PORT; the paths of the WSGI app."""

import asyncio
import os
import sys

import tornado.web


def say(text):
    os.write(1, f"{text}\n".encode())


class Root(tornado.web.RequestHandler):
    def get(self):
        self.write("hello")


class Slow(tornado.web.RequestHandler):
    async def get(self):
        say("slow begins")
        await asyncio.sleep(float(self.get_argument("seconds", "1.5")))
        self.write("slow, but done")


async def main():
    app = tornado.web.Application([("/", Root), ("/healthz", Root), ("/slow", Slow)])
    app.listen(int(sys.argv[1]), "127.0.0.1")
    say("worker ready")
    await asyncio.Event().wait()


asyncio.run(main())
