"""
The rule for `functools.lru_cache` and `functools.cache`.
"""

from __future__ import annotations

import gc
import types
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import grown
from memguard._risks.measure import entry_bytes
from memguard._risks.reading import attributes_of

if TYPE_CHECKING:
    from memguard._risks.scene import Place, Scene

__all__ = ("judge_lru",)

_INFO: Final = type(lru_cache(len)).cache_info
_VARIADIC: Final = 0x04 | 0x08
# What a wrapper refers to is read in one step: only where that is short.
_MEASURED: Final = 2_000
_PARTS: Final = 32


def wrapped_code(obj: Any) -> types.CodeType | None:
    """
    The code of the cached function, where it is plain.
    """
    own = attributes_of(obj)
    inner = None if own is None else own.get("__wrapped__")
    return inner.__code__ if type(inner) is types.FunctionType else None


def _takes_arguments(code: types.CodeType | None) -> bool:
    if code is None:
        return True
    return bool(code.co_argcount + code.co_kwonlyargcount or code.co_flags & _VARIADIC)


def _is_method(code: types.CodeType | None, owner: str) -> bool:
    return (
        owner == "class"
        and code is not None
        and code.co_argcount > 0
        and code.co_varnames[0] != "cls"
    )


def judge_lru(scene: Scene, place: Place, obj: Any, *, is_static: bool = False) -> None:
    """
    Put a cached function on the list: without a bound, or on a method, at risk.
    """
    _, _, maxsize, current = _INFO(obj)
    trend = scene.trend(place.track, current)
    if scene.only_counts:
        return
    code = wrapped_code(obj)
    on_method = not is_static and _is_method(code, place.owner)
    unbounded = maxsize is None and _takes_arguments(code)
    if place.library and not (unbounded and trend.growing and current >= 1000):
        return
    site = "unknown" if code is None else site_of_code(code)
    is_short = bool(current) and (maxsize is None or current <= _MEASURED)
    size = entry_bytes(_some_results(obj, current)) if is_short else None
    held = None if size is None else size * current
    level = scene.size_level(current, held)
    facts: dict[str, Any] = {
        "site": site,
        "entries": current if maxsize is None else maxsize,
        "entry_bytes": size,
        "capped": maxsize is not None,
        "library": place.library,
        "unit": "results",
    }
    told = f"; {grown(trend)}" if trend.growing else ""
    if on_method:
        many = "all" if maxsize is None else f"up to {maxsize:,}"
        scene.add(
            "lru-cache-on-method",
            "lru_cache",
            place.name,
            grade=(3 if current or trend.growing else 2) if maxsize is None else 2,
            reason=f"the cache of a method has `self` in its keys: it keeps {many}"
            f" instances it was called on alive, {current:,} results now{told}",
            fix="use memguard.cached, which lets go of instances, or"
            " functools.cached_property, or cache a function of the values it needs",
            **facts,
        )
    elif unbounded:
        scene.add(
            "unbounded-lru-cache",
            "lru_cache",
            place.name,
            grade=(1 + level if place.library else 2 + (level > 0 or trend.growing)),
            reason=f"it has no bound, so each new argument stays for ever; {current:,}"
            f" results now{told}",
            fix=f"give it a bound: @memguard.cached(max_entries=..., ttl=...) or"
            f" lru_cache(maxsize=...) on {place.attr}",
            **facts,
        )
    else:
        bound = (
            "it takes no arguments, so there is one result"
            if maxsize is None
            else f"capped at {maxsize:,} results"
        )
        facts.update(entries=maxsize or 1, capped=True)
        scene.add(
            "capped-lru-cache", "lru_cache", place.name, grade=0, reason=bound, **facts
        )


def _some_results(obj: Any, count: int) -> list[Any]:
    """
    Some keys with their results.

    A wrapper refers to them one after the other, or to a dictionary of them where it
    has no bound. For a short one only: they are read in one step.
    """
    own = attributes_of(obj)
    things: list[Any] = []
    for held in gc.get_referents(obj):
        if type(held) is dict and held is not own and not things and held:
            return list(islice(held.items(), _PARTS))
        if type(held) is type or type(held) is types.FunctionType or held is own:
            continue
        things.append(held)
        if len(things) == 2 * min(count, _PARTS):
            break
    return list(zip(things[::2], things[1::2], strict=False))


def site_of_code(code: types.CodeType) -> str:
    """
    Where a function begins, as `file:line`.
    """
    from memguard._sites import place_of

    return place_of(code).partition(" in ")[0]
