"""
Hooks for gunicorn: `from memguard.integrations.gunicorn import *` in the conf file.

With hooks of your own, write them and end the file with `hooks(globals())`: each is
chained, yours first when starting and last when ending. The master only declares;
each worker starts its guard after gunicorn has put up its signal handlers and loaded
the application, and shuts it down when it leaves. Under an asynchronous worker class
the ASGI lifespan does both, and the hooks stand aside.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final

from memguard._default import (
    default_guard,
    ensure_started,
    prefork_ahead,
    prefork_master,
)

__all__ = (
    "hooks",
    "on_starting",
    "post_fork",
    "post_worker_init",
    "worker_abort",
    "worker_exit",
)

# gunicorn kills a worker that it has aborted for its silence after about a second.
_ABORTED: Final = "1s"


def on_starting(_server: Any) -> None:
    """
    In the master, before it forks: declare, never arm.
    """
    prefork_master(True)


def post_fork(_server: Any, _worker: Any) -> None:
    """
    In the worker, before its signal handlers and its application.
    """
    prefork_master(False)


def post_worker_init(worker: Any) -> None:
    """
    In the worker, when the application is loaded.
    """
    prefork_master(False)  # also where a conf file's own post_fork replaced ours
    if not _has_lifespan(worker):
        ensure_started(default_guard())


def worker_abort(worker: Any) -> None:
    """
    In a worker that the master takes for hung: little time is left.
    """
    worker.memguard_aborted = True


def worker_exit(_server: Any, worker: Any) -> None:
    """
    In the worker, when it leaves: the shutdown, unless the lifespan has done it.
    """
    guard = default_guard()
    if guard.is_running:
        aborted = getattr(worker, "memguard_aborted", False)
        guard.shutdown(_ABORTED if aborted else None, reason="gunicorn worker_exit")


def hooks(namespace: dict[str, Any]) -> None:
    """
    Chain memguard's hooks with those of a conf file: `hooks(globals())` at its end.
    """
    for name, ours, ours_last in (
        ("on_starting", on_starting, False),
        ("post_fork", post_fork, False),
        ("post_worker_init", post_worker_init, True),
        ("worker_abort", worker_abort, False),
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

    chained: Any = two if ours in (post_fork, worker_exit) else one
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


def _is_conf_of_gunicorn() -> bool:
    """
    True while gunicorn reads the conf file that imports this module.
    """
    frame = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module == "gunicorn.app.base" and frame.f_code.co_name == "load_config":
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


# With `preload_app` the application is loaded before any hook is called, and may call
# `memguard.install()`: the master has to be known by then.
if _is_conf_of_gunicorn():
    prefork_ahead()
