"""
Checks at the door that an order of closing exists: phases, `uses`, no cycles.
"""

from __future__ import annotations

from typing import Any

from memguard._phases import Phase
from memguard._tree import Node, effective_phase
from memguard.errors import OrderError

__all__ = ("phase_before", "refuse_cycle", "to_phase")


def to_phase(phase: Phase | str) -> Phase:
    """
    The phase of that name; the error lists them all.
    """
    try:
        return Phase(phase)
    except ValueError:
        names = ", ".join(Phase)
        msg = f"phase must be one of {names}, not {phase!r}"
        raise ValueError(msg) from None


def phase_before(node: Node, *, explicit: bool) -> Phase:
    """
    The phase of *node*, moved down to at most the phase of what it uses.

    Raises OrderError when the caller asked for a later one.
    """
    phase = node.phase
    wanted = effective_phase(node)
    for used in node.uses:
        limit = effective_phase(used)
        if wanted.rank <= limit.rank:
            continue
        if explicit:
            msg = (
                f"{node.kind} {node.label!r} is to close in phase {wanted}, but it uses"
                f" {used.kind} {used.label!r}, which closes in {limit} already; leave"
                f" out `phase`, or give {limit} or an earlier one"
            )
            raise OrderError(msg)
        phase = wanted = limit
    return phase


def refuse_cycle(obj: Any, used: tuple[Node, ...], label: str) -> None:
    """
    Raise OrderError if *obj* is among what *used* use, at any distance.
    """
    seen: set[int] = set()
    ahead = list(used)
    while ahead:
        node = ahead.pop()
        if getattr(node, "target", _nothing)() is obj:
            msg = (
                f"{label!r} would use itself through its own `uses`; an order to close"
                " them in does not exist. Drop one of the `uses`"
            )
            raise OrderError(msg)
        if id(node) not in seen:
            seen.add(id(node))
            ahead.extend(node.uses)


def _nothing() -> None:
    return None
