"""
Child processes: of `subprocess`, of `multiprocessing`, and its pools.

Looking at a child never reaps it: whoever started it may want to do that.
"""

from __future__ import annotations

import os
from typing import Any, Final

from memguard._adopt.asking import join_all
from memguard._adopt.loaded import loaded_types
from memguard._kinds.closers import info_of
from memguard.typing import Adapter, Measured, Risk

__all__ = ("ADAPTERS",)

# Nobody can end a thread: an abandoned close waits no longer than this for it.
_WAIT_S: Final = 30.0
_CANNOT: Final = (
    "a child process has nothing that could be capped from here; give it a limit when"
    " it starts, with resource.setrlimit or a cgroup"
)


class _Child(Adapter):
    """
    One child process, closed as `register` closes it: terminate, wait, else kill.
    """

    kind = "process"
    phase = "process"
    cannot = _CANNOT
    forces = True
    waits = True

    def close(self, obj: Any) -> None:
        known: Any = info_of(obj)
        try:
            known.close(obj)
        except self.too_late():
            # In a shutdown it would have been killed long before.
            known.force(obj)

    def too_late(self) -> type[Exception]:
        """
        What is raised where the child does not end.
        """
        return ValueError

    def force(self, obj: Any) -> None:
        known: Any = info_of(obj)
        known.force(obj)


class Popen(_Child):
    """
    A `subprocess.Popen`: running, ended, or a zombie, which nobody has waited for.

    A look never reaps it. Closing it asks it to end and waits; forcing it kills it.
    """

    module = "subprocess"

    def types(self) -> tuple[type, ...]:
        return loaded_types("subprocess:Popen")

    def too_late(self) -> type[Exception]:
        import subprocess

        return subprocess.TimeoutExpired

    def measure(self, obj: Any) -> Measured:
        return _measured(obj)

    def is_open(self, obj: Any) -> bool:
        return obj.returncode is None


class Process(_Child):
    """
    A `multiprocessing.Process`, of whatever start method: as a `Popen`.

    One that was not started yet has nothing to end.
    """

    module = "multiprocessing"
    # Until its start it is an object like any other.
    must_close = False

    def types(self) -> tuple[type, ...]:
        return loaded_types("multiprocessing.process:BaseProcess")

    def measure(self, obj: Any) -> Measured:
        child = _popen_of(obj)
        if child is None:
            return Measured(entries=0, details={"state": "new or closed"})
        return _measured(child)

    def close(self, obj: Any) -> None:
        if _popen_of(obj) is not None:
            super().close(obj)

    def is_open(self, obj: Any) -> bool:
        return _popen_of(obj) is not None


class Pool(Adapter):
    """
    A `multiprocessing` pool: processes, and results to come.

    Closing it terminates it, as its `with` block does: what runs is interrupted. Its
    pipes are closed as well, which it leaves open until it is collected.
    """

    kind = "executor"
    phase = "work"
    module = "multiprocessing"
    cannot = (
        "a multiprocessing pool takes every task it is given, and imap reads its whole"
        " source ahead; hand work in through a memguard limiter (limiter.map), which"
        " reads as fast as results are taken"
    )
    waits = True
    forces = True

    def types(self) -> tuple[type, ...]:
        return loaded_types("multiprocessing.pool:Pool")

    def measure(self, obj: Any) -> Measured:
        return Measured(
            entries=len(obj._cache),
            details={
                "workers": len(obj._pool),
                "max_workers": obj._processes,
                "state": str(obj._state).lower(),
            },
        )

    def close(self, obj: Any) -> None:
        obj.terminate()
        obj.join()
        for worker in list(obj._pool):
            worker.close()
        _close_pipes(obj)

    def force(self, obj: Any) -> None:
        for worker in list(obj._pool):
            if worker.is_alive():
                worker.kill()

    def is_open(self, obj: Any) -> bool:
        return str(obj._state) != "TERMINATE"

    def risk(self, obj: Any) -> Risk | None:
        if obj._state != "RUN":
            return None
        return Risk(
            "waiting tasks",
            "a multiprocessing pool keeps every task it is given, and imap reads its"
            " whole source ahead, into a queue without bound",
            "hand work in through a memguard limiter: limiter.map(fn, source)",
        )


class ThreadPool(Pool):
    """
    A `multiprocessing` pool of threads. One that hangs cannot be ended, and is named.
    """

    forces = False

    def types(self) -> tuple[type, ...]:
        return loaded_types("multiprocessing.pool:ThreadPool")

    def close(self, obj: Any) -> None:
        obj.terminate()
        join_all(list(obj._pool), _WAIT_S)
        _close_pipes(obj)

    def threads_of(self, obj: Any) -> list[int]:
        return [one.ident for one in list(obj._pool) if one.is_alive()]


def _close_pipes(pool: Any) -> None:
    """
    The queues of a pool that is terminated; those of threads have no pipes.
    """
    for name in ("_inqueue", "_outqueue", "_change_notifier"):
        close = getattr(getattr(pool, name, None), "close", None)
        if close is not None:
            close()


def _popen_of(process: Any) -> Any:
    """
    What a multiprocessing process keeps of its child: None before start, after close.
    """
    return getattr(process, "_popen", None)


def _measured(child: Any) -> Measured:
    state = "ended" if child.returncode is not None else _state(child)
    return Measured(entries=int(state == "running"), details={"state": state})


def _state(child: Any) -> str:
    """
    What the kernel says of a child that nobody has waited for, leaving it as it is.
    """
    if not hasattr(os, "waitid"):
        return "running"
    try:
        ended = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        # Somebody else has waited for it, or it is a child of the fork server.
        return "ended" if _has_ended(getattr(child, "sentinel", None)) else "running"
    return "running" if ended is None else "zombie"


def _has_ended(sentinel: int | None) -> bool:
    """
    True unless there is a pipe that ends with the process, and has not.
    """
    if sentinel is None:
        return True
    import select

    poll = select.poll()
    poll.register(sentinel, select.POLLIN)
    return bool(poll.poll(0))


ADAPTERS = (Popen(), Process(), Pool(), ThreadPool())
