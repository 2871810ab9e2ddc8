"""
The rules for logging: handlers that were added twice, loggers that are made for ever.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import grown
from memguard._risks.reading import (
    attribute,
    first_items,
    full_name,
    is_any,
    mro_of,
    namespace_of,
    qualname_of,
)

if TYPE_CHECKING:
    from memguard._risks.scene import Scene

__all__ = ("judge_logging",)

_LOGGERS: Final = 10_000
_HANDLERS: Final = 20
_SAMPLED: Final = 5_000
# Where a handler writes to, by what it calls it.
_TARGETS: Final = (
    "baseFilename",
    "stream",
    "target",
    "queue",
    "address",
    "mailhost",
    "host",
    "port",
    "url",
)
_HARMLESS: Final = frozenset(("logging.NullHandler",))


def judge_logging(scene: Scene) -> None:
    """
    Put loggers on the list that have a handler twice, and the number of loggers.
    """
    logging = sys.modules.get("logging")
    names = None if logging is None else logging.__dict__
    root = None if names is None else names.get("root")
    if names is None or root is None:
        return
    manager = attribute(root, "manager")
    if manager is None:
        manager = _class_attribute(root, "manager")
    known = None if manager is None else attribute(manager, "loggerDict")
    if type(known) is not dict:
        return
    _judge_number(scene, len(known))
    base = names.get("Logger")
    own = _handlers(root)
    _judge_handlers(scene, "root", own, [])
    for name, logger in first_items(known, _SAMPLED):
        scene.pace.step()
        if not any(one is base for one in mro_of(type(logger))):
            continue  # a place holder
        handlers = _handlers(logger)
        if handlers:
            _judge_handlers(scene, name, handlers, _above(logger))


def _judge_number(scene: Scene, count: int) -> None:
    trend = scene.trend("logging: loggers", count)
    if scene.only_counts:
        return
    grew = trend.growing and count - trend.first >= 1_000
    if grew or (count >= _LOGGERS and not trend.steady):
        scene.add(
            "many-loggers",
            "loggers",
            "logging.getLogger",
            grade=2 + (grew and count >= _LOGGERS),
            reason="loggers are never freed"
            + (f"; {grown(trend).replace('entries', 'loggers')}" if grew else ""),
            fix="use one logger a module, and put ids into the message or into `extra`",
            entries=count,
            unit="loggers",
        )


def _judge_handlers(
    scene: Scene, name: str, handlers: list[Any], above: list[Any]
) -> None:
    trend = scene.trend(f"logging: handlers of {name}", len(handlers))
    if scene.only_counts:
        return
    shown = f"logger {name}"
    twins = _twins(handlers)
    if twins:
        kind, count = twins
        scene.add(
            "duplicate-log-handler",
            "log handler",
            shown,
            grade=2 + (trend.growing or count >= _HANDLERS),
            reason=f"{count} handlers of type {kind} write to the same place: each line"
            " is written so often, and each handler stays"
            + (
                f"; {grown(trend).replace('entries', 'handlers')}"
                if trend.growing
                else ""
            ),
            fix="add handlers once at start-up (logging.config.dictConfig), or look"
            " whether the logger has one before addHandler()",
            entries=len(handlers),
            unit="handlers",
        )
    elif len(handlers) >= _HANDLERS or (trend.growing and trend.rises > 1):
        scene.add(
            "many-log-handlers",
            "log handler",
            shown,
            grade=2,
            reason=f"{len(handlers)} handlers"
            + (
                f"; {grown(trend).replace('entries', 'handlers')}"
                if trend.growing
                else ""
            ),
            fix="remove a handler with removeHandler() when its owner ends",
            entries=len(handlers),
            unit="handlers",
        )
    elif _twins([*handlers, *above]):
        scene.add(
            "log-handler-above",
            "log handler",
            shown,
            grade=1,
            reason="a logger above it has a handler of the same type for the same"
            " place, and records go to both: each line is written twice",
            fix="set propagate to False on it, or leave the handler to the upper one",
            entries=len(handlers),
            unit="handlers",
        )


def _twins(handlers: list[Any]) -> tuple[str, int] | None:
    """
    Type and number of those that write to one place, where there are several.
    """
    counted: dict[tuple[Any, ...], int] = {}
    kinds: dict[tuple[Any, ...], str] = {}
    for handler in handlers:
        kind = type(handler)
        if full_name(kind) in _HARMLESS:
            continue
        key = (id(kind), *(_target(attribute(handler, one)) for one in _TARGETS))
        counted[key] = counted.get(key, 0) + 1
        kinds[key] = qualname_of(kind)
    if not counted:
        return None
    key, count = max(counted.items(), key=lambda one: one[1])
    return (kinds[key], count) if count > 1 else None


def _target(value: Any) -> Any:
    """
    Something to compare targets by without asking them: text, numbers, identity.
    """
    if value is None or is_any(value, str, int):
        return value
    if type(value) is tuple and all(is_any(one, str, int) for one in value):
        return value
    return ("is", id(value))


def _handlers(logger: Any) -> list[Any]:
    found = attribute(logger, "handlers")
    return list(found) if type(found) is list else []


def _above(logger: Any) -> list[Any]:
    """
    Handlers of the loggers above that its records reach.
    """
    found: list[Any] = []
    for _ in range(50):
        propagates = attribute(logger, "propagate", True)
        if is_any(propagates, bool, int) and not propagates:
            break
        logger = attribute(logger, "parent")
        if logger is None:
            break
        found.extend(_handlers(logger))
    return found


def _class_attribute(obj: Any, name: str) -> Any:
    for base in mro_of(type(obj)):
        if name in namespace_of(base):
            return namespace_of(base)[name]
    return None
