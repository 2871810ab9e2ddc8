"""
gunicorn's configuration in the tests: memguard's hooks chained with those of the test.
"""

import os
import time
from typing import Any

import evidence

bind = f"127.0.0.1:{os.environ['PORT']}"
workers = 2
graceful_timeout = 10
control_socket_disable = True


def post_fork(server: Any, worker: Any) -> None:
    if "uvicorn" in type(worker).__module__:
        # The handler is that of uvicorn's server then.
        import uvicorn_main  # noqa: F401 - makes it countable

        return
    handle_exit = worker.handle_exit

    def counted(number: int, frame: Any) -> None:
        evidence.note("previous")
        handle_exit(number, frame)

    worker.handle_exit = counted


def post_worker_init(worker: Any) -> None:
    # Under an ASGI server the application's lifespan does both.
    if "uvicorn" not in type(worker).__module__:
        evidence.own()
        evidence.note("starting")
        time.sleep(evidence.START_S)


def on_exit(server: Any) -> None:
    # What memguard must not have in a master: threads, and a handler of a signal.
    import signal
    import threading

    found = [thread.name for thread in threading.enumerate()]
    found.append(type(signal.getsignal(signal.SIGTERM)).__module__)
    evidence.note("master", " ".join(one for one in found if "memguard" in one))


if evidence.WITH_MEMGUARD:
    if os.environ.get("HOOKS") == "star":
        from memguard.integrations.gunicorn import *  # noqa: F403
    else:
        from memguard.integrations.gunicorn import hooks

        hooks(globals())
