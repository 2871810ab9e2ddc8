"""
What a shutdown says about a program that does not let go.
"""

import logging
import threading

import memguard

logging.basicConfig(level=logging.INFO, format="%(message)s")


class Uploader:
    def close(self):
        threading.Event().wait()  # a server that does not answer


def poll():
    threading.Event().wait()


with memguard.install(shutdown_timeout="1s"):
    uploader = memguard.register(Uploader(), timeout="200ms")
    threading.Thread(target=poll, daemon=True).start()
