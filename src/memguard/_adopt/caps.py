"""
The caps of adopted things: checked at the door, and told in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memguard._kinds.caps import byte_cap, count_cap, lifetime
from memguard.typing import Adapter

__all__ = ("cap_text", "checked_caps")


def checked_caps(adapter: Adapter, obj: Any, caps: Mapping[str, Any]) -> dict[str, Any]:
    """
    *caps* as numbers; raises for those that *obj* cannot have, and says why.

    What is called `..._bytes` is a size, `max_...` a count, `ttl` and `..._timeout` a
    duration; an adapter checks anything else by itself.
    """
    unknown = [name for name in caps if name not in adapter.caps]
    if unknown:
        raise TypeError(_refusal(adapter, obj, unknown))
    checked = {name: _checked(name, value) for name, value in caps.items()}
    if checked:
        adapter.check(obj, checked)
    return checked


def _checked(name: str, value: Any) -> Any:
    if name.endswith("_bytes"):
        return byte_cap(value, name)
    if name.startswith("max_"):
        return count_cap(value, name)
    if name in ("ttl", "idle") or name.endswith("_timeout"):
        return lifetime(value, name)
    return value


def _refusal(adapter: Adapter, obj: Any, unknown: list[str]) -> str:
    what = f"{adapter.kind} {adapter.label(obj)!r} ({type(obj).__qualname__})"
    names = ", ".join(unknown)
    reason = adapter.cannot_of(obj)
    if adapter.caps:
        allowed = ", ".join(adapter.caps)
        text = f"{what} takes the caps {allowed}, not {names}"
    else:
        text = f"{what} is only measured and takes no cap such as {names}"
    return f"{text}: {reason}" if reason else text


def cap_text(adapter: Adapter, caps: Mapping[str, Any]) -> str:
    """
    Which caps are kept, and how; "" where there are none.
    """
    held = ", ".join(f"{name}={value}" for name, value in caps.items() if value)
    if not held:
        return ""
    how = "the oldest go once a tick" if adapter.trims else "kept by the object itself"
    return f"{held}: {how}"
