"""
Hooks for gunicorn: `from memguard.integrations.gunicorn import *` in the conf file.

With hooks of your own, write them and end the file with `hooks(globals())`: each is
chained, yours first when starting and last when ending. The master only declares;
each worker starts its guard after gunicorn has put up its signal handlers and loaded
the application, and shuts it down when it leaves. Under an asynchronous worker class
the ASGI lifespan does both, and the hooks stand aside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from memguard._default import default_guard, ensure_started, prefork_master

__all__ = ("hooks", "on_starting", "post_fork", "post_worker_init", "worker_exit")


def on_starting(server: Any) -> None:
    """
    In the master, before anything is loaded: declare, never arm.
    """
    prefork_master(True)


def post_fork(server: Any, worker: Any) -> None:
    """
    In the worker, before its signal handlers and its application.
    """
    prefork_master(False)


def post_worker_init(worker: Any) -> None:
    """
    In the worker, when the application is loaded.
    """
    if not _has_lifespan(worker):
        ensure_started(default_guard())


def worker_exit(server: Any, worker: Any) -> None:
    """
    In the worker, when it leaves: the shutdown, unless the lifespan has done it.
    """
    guard = default_guard()
    if guard.is_running:
        guard.shutdown(reason="gunicorn worker_exit")


def hooks(namespace: dict[str, Any]) -> None:
    """
    Chain memguard's hooks with those of a conf file: `hooks(globals())` at its end.
    """
    for name, ours, ours_last in (
        ("on_starting", on_starting, False),
        ("post_fork", post_fork, False),
        ("post_worker_init", post_worker_init, True),
        ("worker_exit", worker_exit, True),
    ):
        theirs = namespace.get(name)
        if theirs is None or theirs is ours:
            namespace[name] = ours
        elif not getattr(theirs, "_memguard_chained", False):
            namespace[name] = _chain(theirs, ours, ours_last=ours_last)


def _chain(
    theirs: Callable[..., Any], ours: Callable[..., Any], *, ours_last: bool
) -> Callable[..., Any]:
    # gunicorn checks how many arguments a hook takes, so the two shapes are explicit.
    first, second = (theirs, ours) if ours_last else (ours, theirs)

    def one(a: Any) -> None:
        first(a)
        second(a)

    def two(a: Any, b: Any) -> None:
        first(a, b)
        second(a, b)

    chained: Any = one if ours in (on_starting, post_worker_init) else two
    chained._memguard_chained = True
    result: Callable[..., Any] = chained
    return result


def _has_lifespan(worker: Any) -> bool:
    """
    True for worker classes that run an ASGI server, and with it the lifespan.
    """
    return any(
        "uvicorn" in base.__module__ or base.__name__ in ("ASGIWorker", "UvicornWorker")
        for base in type(worker).__mro__
    )
