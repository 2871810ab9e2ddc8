"""
The rules for lists of the whole process that only grow: exit functions and the like.
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import grown
from memguard._risks.reading import attribute, is_any, namespace_of

if TYPE_CHECKING:
    from memguard._risks.scene import Scene

__all__ = ("judge_hooks",)

#: What it is called; how many are many; how many more since the first look are; what
#: can be done.
_RULES: Final = {
    "atexit.register": (
        100,
        5,
        "exit functions",
        (
            "register once at import, atexit.unregister() what has ended, or give it"
            " to a scope: memguard.register(obj)"
        ),
    ),
    "weakref.finalize": (
        10_000,
        1_000,
        "finalizers",
        "detach() a finalizer when its object was closed",
    ),
    "gc.callbacks": (20, 2, "callbacks", "remove a callback when its owner ends"),
    "sys.modules": (
        20_000,
        500,
        "modules",
        "do not make modules at run time, or take them out of sys.modules again",
    ),
    "sys.path": (200, 20, "paths", "add to sys.path once, at start-up"),
    "warnings.filters": (200, 20, "filters", "use warnings.catch_warnings()"),
    "linecache.cache": (20_000, 5_000, "files", "call linecache.clearcache()"),
    "asyncio tasks": (
        10_000,
        1_000,
        "tasks",
        (
            "await or cancel tasks when their owner ends (scope.spawn does), and bound"
            " how many are made: memguard.limiter(...).map(...)"
        ),
    ),
    "threads": (
        500,
        50,
        "threads",
        "use a pool of threads, and end a thread with its owner (scope.register)",
    ),
}


def judge_hooks(scene: Scene) -> None:
    """
    Put on the list what has many, or more and more.
    """
    for name, count in _counts():
        scene.pace.step()
        trend = scene.trend(f"hooks: {name}", count)
        if scene.only_counts:
            continue
        many, more, unit, fix = _RULES[name]
        grew = trend.growing and count - trend.first >= more
        if not grew and (count < many or trend.steady):
            continue
        scene.add(
            "growing-hooks",
            unit,
            name,
            grade=1 + grew + (count >= many),
            reason=grown(trend).replace("entries", unit)
            if grew
            else f"there are {count:,}",
            fix=fix,
            entries=count,
            unit=unit,
        )
    _judge_twice(scene)


def _judge_twice(scene: Scene) -> None:
    if scene.only_counts:
        return
    times: dict[int, int] = {}
    for one in list(gc.callbacks):
        times[id(one)] = times.get(id(one), 0) + 1
    most = max(times.values(), default=0)
    if most > 1:
        scene.add(
            "duplicate-hook",
            "callbacks",
            "gc.callbacks",
            grade=2,
            reason=f"one function is in it {most} times, and is called as often",
            fix="add it once, at start-up",
            entries=len(gc.callbacks),
            unit="callbacks",
        )


def _counts() -> list[tuple[str, int]]:
    found = [
        ("gc.callbacks", len(gc.callbacks)),
        ("sys.modules", len(sys.modules)),
        ("sys.path", len(sys.path)),
    ]
    import atexit

    if hasattr(atexit, "_ncallbacks"):
        found.append(("atexit.register", int(atexit._ncallbacks())))
    for name, module, attr in (
        ("warnings.filters", "warnings", "filters"),
        ("linecache.cache", "linecache", "cache"),
        ("threads", "threading", "_active"),
    ):
        value = _global(module, attr)
        if is_any(value, dict, list):
            found.append((name, len(value)))
    finalize = _global("weakref", "finalize")
    if type(finalize) is type:
        registry = namespace_of(finalize).get("_registry")
        if type(registry) is dict:
            found.append(("weakref.finalize", len(registry)))
    tasks = _tasks()
    if tasks is not None:
        found.append(("asyncio tasks", tasks))
    return found


def _tasks() -> int | None:
    for name in ("_scheduled_tasks", "_all_tasks"):
        known = _global("asyncio.tasks", name)
        data = None if known is None else attribute(known, "data")
        if type(data) is set:
            return len(data)
    return None


def _global(module: str, name: str) -> Any:
    found = sys.modules.get(module)
    return None if found is None else found.__dict__.get(name)
