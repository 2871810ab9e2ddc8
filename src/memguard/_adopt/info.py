"""
What an adopted object says of itself: one frozen record.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from memguard._adopt.caps import cap_text
from memguard._records import field, record

if TYPE_CHECKING:
    from memguard._adopt.adopted import Adopted

__all__ = ("AdoptedInfo", "info_of")


@record
class AdoptedInfo:
    """
    What an adopted object holds now; None for what nobody can tell.

    `type` is the object's type, `alive` False once it is gone. `limit` and
    `byte_limit` are its bounds, `caps` those it was adopted with, `cap` how they are
    kept and `cannot` what cannot be capped, each as a sentence. `details` differ from
    adapter to adapter.
    """

    kind: str
    name: str
    type: str
    alive: bool
    entries: int | None
    bytes: int | None
    limit: int | None
    byte_limit: int | None
    hits: int | None
    misses: int | None
    caps: Mapping[str, Any]
    cap: str
    cannot: str
    details: Mapping[str, Any] = field(default_factory=dict)


def info_of(node: Adopted) -> AdoptedInfo:
    """
    Measured now, with no lock held.
    """
    adapter = node.adapter
    obj = node.target()
    seen = node.measure()
    weight = seen.bytes
    if weight is None:
        weight = node.weigh()
    caps = node.caps
    return AdoptedInfo(
        kind=node.kind,
        name=node.label,
        type="" if obj is None else type(obj).__qualname__,
        alive=obj is not None,
        entries=seen.entries,
        bytes=weight,
        limit=_least(caps.get("max_entries"), seen.limit),
        byte_limit=_least(caps.get("max_bytes"), seen.byte_limit),
        hits=seen.hits,
        misses=seen.misses,
        caps=dict(caps),
        cap=cap_text(adapter, caps),
        cannot="" if obj is None else adapter.cannot_of(obj),
        details=dict(seen.details),
    )


def _least(first: int | None, second: int | None) -> int | None:
    known = [one for one in (first, second) if one is not None]
    return min(known, default=None)
