"""
What is here and was not at the baseline, one finding each, with its verdict.

Descriptors are judged by `handles`. Threads, tasks and timers are judged by the code
they run, children by who keeps them, listeners by the guard that they belong to.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from memguard._kinds.listener import Listener
from memguard._lifecycle.attribution import (
    HOST,
    LEAKED,
    UNATTRIBUTED,
    code_of,
    frames_in_memguard,
    is_stdlib,
    loaded,
    made_by,
    origin_of_code,
    origin_of_type,
)
from memguard._lifecycle.inventory import Inventory, tasks_of, timers_of
from memguard._lifecycle.origins import origins
from memguard._lifecycle.report import Finding
from memguard._phases import CLOSED
from memguard._probes.threads import native_threads
from memguard._registry import Registry, live_registries
from memguard._sites import call_site, place_of

if TYPE_CHECKING:
    from types import CodeType

    from memguard._lifecycle.ownership import Owned

__all__ = ("children", "listeners", "tasks", "threads", "timers")

# Of the loops' own executors, which end with the loop.
_LOOP_POOLS: Final = ("asyncio_", "AnyIO worker thread")


# -- threads ---------------------------------------------------------------------------


def threads(now: Inventory, baseline: Inventory, owned: Owned) -> Iterator[Finding]:
    """
    Threads of Python and of C libraries; memguard's own are not told.
    """
    natives: set[int | None] = set()
    idents: set[int | None] = set()
    for thread in threading.enumerate():
        if isinstance(thread, threading._DummyThread):
            continue  # C code's, or started without `threading`: see below
        natives.add(thread.native_id)
        idents.add(thread.ident)
        if (
            thread not in baseline.threads
            # Who asks for the shutdown cannot be over.
            and thread is not threading.current_thread()
            and id(thread) not in owned.identities
            and thread.is_alive()
        ):
            yield from _thread(thread)
    foreign = list(_foreign(baseline, idents))
    yield from foreign
    yield from _native(now, baseline, natives, told=len(foreign))


def _thread(thread: threading.Thread) -> Iterator[Finding]:
    kind = "timer" if isinstance(thread, threading.Timer) else "thread"
    target = getattr(thread, "function" if kind == "timer" else "_target", None)
    runs = type(thread).run if target is None else target
    code = code_of(runs)
    if origin_of_code(code) == "memguard":
        return
    name = getattr(runs, "__qualname__", type(runs).__qualname__)
    detail = f"runs {name}"
    packages = [origin_of_type(type(thread))]
    if is_stdlib(code):
        packages.append(origin_of_type(type(getattr(runs, "__self__", None))))
        executor = _executor_of(thread)
        if executor is not None:
            packages += _packages_of_holders(executor)
            detail = f"of a {type(executor).__qualname__}"
    verdict = made_by(code, *packages)
    if thread.name.startswith(_LOOP_POOLS):
        verdict = HOST
    site = call_site(origins.made_at("thread", id(thread)))
    if site == "unknown" and code is not None and not is_stdlib(code):
        site = place_of(code)
    yield Finding(kind, thread.name, verdict, detail, site)


def _executor_of(thread: threading.Thread) -> Any:
    """
    The executor behind a worker thread of concurrent.futures.
    """
    arguments = getattr(thread, "_args", ())
    if not arguments or type(arguments[0]).__name__ not in ("ReferenceType", "ref"):
        return None
    return arguments[0]()


def _packages_of_holders(obj: Any) -> list[str]:
    """
    The packages of the objects and classes that refer to *obj*.

    Walks the whole heap: only for what cannot be attributed otherwise.
    """
    holders: list[Any] = []
    for referrer in gc.get_referrers(obj):
        if type(referrer) is dict:
            # Before 3.11 an instance refers to its attributes through its dict.
            holders += gc.get_referrers(referrer)
        else:
            holders.append(referrer)
    return [
        origin_of_type(one if isinstance(one, type) else type(one)) for one in holders
    ]


def _foreign(baseline: Inventory, idents: set[int | None]) -> Iterator[Finding]:
    """
    Threads that run Python without a `Thread`: of `_thread`, or of C code.
    """
    for ident, frame in sys._current_frames().items():
        if ident in idents or ident in baseline.idents:
            continue
        while frame.f_back is not None:
            frame = frame.f_back  # noqa: PLW2901 - the outermost one is what it runs
        code = frame.f_code
        if origin_of_code(code) in ("memguard", "threading"):
            continue  # the latter: a thread that is just about to start or to end
        name = getattr(code, "co_qualname", code.co_name)
        yield Finding("thread", name, made_by(code), "not a Thread", place_of(code))


def _native(
    now: Inventory, baseline: Inventory, natives: set[int | None], *, told: int
) -> Iterator[Finding]:
    """
    Threads of the kernel that no Python thread explains; *told* of them are known.
    """
    if "native threads" in baseline.unseen or now.libuv:
        return  # libuv keeps threads of its own, which carry no name
    extra = [tid for tid in now.native if tid not in baseline.native]
    if any(tid not in natives for tid in extra):
        # The two lists were not taken at the same time: look again.
        still = native_threads() or {}
        extra = [tid for tid in extra if tid in still and tid not in natives]
        for tid in extra[told:]:
            name = f"native {now.native[tid]}"
            yield Finding("thread", name, UNATTRIBUTED, "of no Python thread")


# -- children --------------------------------------------------------------------------


def children(now: Inventory, baseline: Inventory, owned: Owned) -> Iterator[Finding]:
    """
    Processes that run, or that nobody has waited for.
    """
    if "children" in baseline.unseen:
        return
    helpers = _helper_pids()
    for pid, child in now.children.items():
        before = baseline.children.get(pid)
        if pid in owned.pids or (before and before.start_time == child.start_time):
            continue
        state = "ended, but nobody waited for it" if child.zombie else "running"
        verdict = HOST if pid in helpers else LEAKED
        made = origins.made_at("program", child.comm) or origins.made_at("program", "")
        detail = f"pid {pid}, {state}"
        yield Finding("process", child.comm, verdict, detail, call_site(made))


def _helper_pids() -> set[int]:
    """
    The processes multiprocessing keeps for itself.
    """
    pids: set[int] = set()
    for module, attribute, field in (
        ("multiprocessing.resource_tracker", "_resource_tracker", "_pid"),
        ("multiprocessing.forkserver", "_forkserver", "_forkserver_pid"),
    ):
        keeper = getattr(loaded(module), attribute, None)
        pid = getattr(keeper, field, None)
        if isinstance(pid, int):
            pids.add(pid)
    return pids


# -- tasks and timers of the loop ------------------------------------------------------


def tasks(loop: Any, baseline: Inventory, owned: Owned) -> Iterator[Finding]:
    """
    Tasks that have not ended, but for the one that looks and those that wait for it.
    """
    asyncio = loaded("asyncio")
    for task in tasks_of(loop):
        if (
            task in baseline.tasks
            or id(task) in owned.identities
            or task is asyncio.current_task(loop)
            or frames_in_memguard(task)
        ):
            continue
        coro = task.get_coro()
        code = _code_of_coroutine(coro)
        if origin_of_code(code) == "asyncio" and _is_waited_for(task):
            continue  # a step of the task that waits, which is judged itself
        name = getattr(coro, "__qualname__", type(coro).__qualname__)
        site = "unknown" if code is None else place_of(code)
        yield Finding("task", name, made_by(code), "still pending", site)


def _code_of_coroutine(coro: Any) -> CodeType | None:
    for name in ("cr_code", "gi_code", "ag_code"):
        code = getattr(coro, name, None)
        if code is not None:
            return code  # type: ignore[no-any-return]
    return None


def _is_waited_for(task: Any) -> bool:
    """
    True when a task, or `wait_for`, `gather` and their like, wants to know its end.
    """
    return any(
        origin_of_code(code_of(callback)) == "asyncio"
        or getattr(callback, "__name__", "") == "task_wakeup"
        for callback, _ in getattr(task, "_callbacks", None) or ()
    )


def timers(loop: Any, baseline: Inventory, owned: Owned) -> Iterator[Finding]:
    """
    What is scheduled on asyncio's own loop, but for asyncio's own time-outs.
    """
    for handle in timers_of(loop):
        callback = getattr(handle, "_callback", None)
        if (
            callback is None
            or handle in baseline.timers
            or id(handle) in owned.identities
        ):
            continue
        code = code_of(callback)
        if origin_of_code(code) == "memguard":
            continue
        verdict = made_by(code)
        if verdict is HOST and is_stdlib(code):
            continue
        site = "unknown" if code is None else place_of(code)
        name = getattr(callback, "__qualname__", type(callback).__qualname__)
        yield Finding("timer", name, verdict, "scheduled on the event loop", site)


# -- listeners -------------------------------------------------------------------------


def listeners(own: Registry | None, baseline: Inventory) -> Iterator[Finding]:
    """
    Listeners on emitters of other guards, which this one does not take off.
    """
    grown = {}
    for registry in live_registries():
        seq, live = baseline.listeners.get(registry, (0, 0))
        if registry is not own and registry.live("listener") > live:
            grown[registry] = seq
    if not grown:
        return
    for one in gc.get_objects():
        if type(one) is not Listener or one.registry not in grown:
            continue
        if one.seq > grown[one.registry] and one.state < CLOSED:
            detail = f"of emitter {one.emitter.label!r}, which belongs to another guard"
            yield Finding("listener", one.label, LEAKED, detail, call_site(one.site))
