"""
What a caller of `register` may ask for beyond what the type says; validated here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import ref

from memguard._kinds.closers import running_loop
from memguard._kinds.ordering import phase_before, refuse_cycle, to_phase
from memguard._kinds.references import find_resource, registered_before
from memguard._kinds.resource import Resource
from memguard._phases import Phase
from memguard._settings import parse_duration, parse_size
from memguard._tree import Node

if TYPE_CHECKING:
    from memguard.typing import Duration, Size

__all__ = ("Options", "configure")

_AFFINITIES = ("any", "thread", "loop")


class Options:
    """
    The options of one resource, as its kind and its phase in the end are.

    `thread` and `loop` (weakly) say where it was registered, if it is bound to that.
    """

    __slots__ = (
        "affinity",
        "kind",
        "loop",
        "memory",
        "phase",
        "thread",
        "timeout",
        "uses",
    )

    def __init__(self, resource: Resource) -> None:
        info = resource.info
        self.kind = info.kind
        self.affinity: str = info.affinity
        self.phase = info.phase
        self.timeout: float | None = None
        self.uses: tuple[Node, ...] = ()
        self.memory: int | Callable[[Any], int] | None = None
        self.thread: int | None = None
        self.loop: ref[Any] | None = None

    @property
    def plain(self) -> bool:
        """
        True where a scope may close it like any other.
        """
        return (
            self.affinity == "any"
            and not self.uses
            and self.phase.rank >= Phase.CLIENTS.rank
        )


def configure(
    resource: Resource,
    *,
    kind: str | None,
    uses: Sequence[Any],
    phase: Phase | str | None,
    timeout: Duration | None,
    memory: Size | Callable[[Any], int] | None,
    affinity: str | None,
) -> None:
    """
    Apply the options a caller gave, each validated here and nowhere else.

    Raises ValueError for a bad one, OrderError for an order that cannot be.
    """
    options = resource.options = Options(resource)
    if kind is not None:
        if not isinstance(kind, str) or not kind:
            msg = f"kind must be a non-empty text, not {kind!r}"
            raise ValueError(msg)
        options.kind = kind
    if affinity is not None:
        if affinity not in _AFFINITIES:
            allowed = ", ".join(_AFFINITIES)
            msg = f"affinity must be one of {allowed}, not {affinity!r}"
            raise ValueError(msg)
        options.affinity = affinity
    if options.affinity == "thread":
        options.thread = get_ident()
    elif options.affinity == "loop" or resource.awaits:
        loop = running_loop()
        options.loop = None if loop is None else ref(loop)
    if timeout is not None:
        options.timeout = parse_duration(timeout, what="timeout")
    if memory is not None:
        options.memory = (
            memory if callable(memory) else parse_size(memory, what="memory")
        )
    if phase is not None:
        options.phase = to_phase(phase)
    if uses:
        options.uses = _checked_uses(resource, uses)
        options.phase = phase_before(resource, explicit=phase is not None)


def _checked_uses(resource: Resource, uses: Any) -> tuple[Node, ...]:
    if isinstance(uses, (str, bytes)) or not isinstance(uses, Iterable):
        msg = (
            "uses must be a sequence of registered objects, such as [database], not a"
            f" {type(uses).__qualname__}"
        )
        raise TypeError(msg)
    nodes = tuple(_used(resource, one) for one in uses)
    obj = resource.target()
    if registered_before(resource, obj):
        # Else nothing can use it yet.
        refuse_cycle(obj, nodes, resource.label)
    return nodes


def _used(resource: Resource, used: Any) -> Node:
    if isinstance(used, Node):
        return used
    found = find_resource(resource.registry, used)
    if found is None:
        msg = (
            f"{resource.kind} {resource.label!r} uses a {type(used).__qualname__} that"
            " is not registered (or is closed already); register that first"
        )
        raise ValueError(msg)
    return found
