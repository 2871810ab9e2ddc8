"""
A plain script that serves HTTP with the standard library, one thread a connection.

With PREVIOUS=1 it has a handler of SIGTERM of its own, which ends it with status 7.
"""

from __future__ import annotations

import os
import signal
import socketserver
import sys
import threading
import time
from types import FrameType
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import evidence
from evidence import START_S, WITH_MEMGUARD, note
from wsgi_service import application


class Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def stop(server: Server) -> None:
    server.shutdown()
    server.server_close()


def main() -> None:
    serving = threading.Event()

    def terminate(number: int, frame: FrameType | None) -> None:
        note("previous")
        # `shutdown` waits for the loop that this very thread runs.
        threading.Thread(target=server.shutdown, daemon=True).start()

    if os.environ.get("PREVIOUS"):
        signal.signal(signal.SIGTERM, terminate)
    if WITH_MEMGUARD:
        import memguard

        memguard.install()
    evidence.own()
    server = Server(("127.0.0.1", int(os.environ["PORT"])), Quiet)
    server.set_app(application)
    if WITH_MEMGUARD:
        memguard.register(server, close=stop, phase="stop_intake")
    note("starting")
    time.sleep(START_S)
    serving.set()
    server.serve_forever(poll_interval=0.05)
    sys.exit(7)


if __name__ == "__main__":
    main()
