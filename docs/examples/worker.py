"""
A worker without a framework: everything it starts ends with it, in order.
"""

import logging
import threading

import memguard

logging.basicConfig(level=logging.INFO, format="%(message)s")
stopping = threading.Event()


@memguard.on_shutdown(phase="stop_intake")
def take_no_more_jobs():
    print("no more jobs")
    stopping.set()


@memguard.timer(every="1m")
def look_for_late_jobs(): ...


class Database:
    def close(self):
        print("database closed")


class Queue:
    def close(self):
        print("queue closed")


with memguard.install(shutdown_timeout="5s", grace="6s"):
    queue = memguard.register(Queue(), phase="work")
    database = memguard.register(Database())
    while not stopping.wait(10):
        print("a job")
