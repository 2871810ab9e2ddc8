"""
The rules for containers that know how long their entries stay: cachetools, weak ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memguard._risks.reading import attribute, is_any, qualname_of

if TYPE_CHECKING:
    from memguard._risks.scene import Place, Scene

__all__ = ("judge_cachetools", "judge_weak")

_SHOWN = ("module", "class")


def judge_cachetools(scene: Scene, place: Place, obj: Any) -> None:
    """
    Put a cache of cachetools on the list: capped unless its maxsize is infinite.
    """
    data = attribute(obj, "_Cache__data")
    entries = len(data) if type(data) is dict else 0
    maxsize = attribute(obj, "_Cache__maxsize")
    bounded = is_any(maxsize, int, float) and maxsize < 1 << 62
    trend = scene.trend(place.track, entries)
    if scene.only_counts or (place.library and not trend.growing):
        return
    scene.add(
        "capped-container" if bounded else "unbounded-container",
        qualname_of(type(obj)),
        place.name,
        grade=0 if bounded else 2 + trend.growing,
        reason=f"its maxsize is {maxsize:,.0f}" if bounded else "it has no maxsize",
        fix="" if bounded else "give it a maxsize",
        entries=entries,
        library=place.library,
    )


def judge_weak(scene: Scene, place: Place, obj: Any) -> None:
    """
    Put a weak dictionary or set on the list: safe by what it is.
    """
    if scene.only_counts or place.library or place.owner not in _SHOWN:
        return
    data = attribute(obj, "data")
    scene.add(
        "weak-container",
        qualname_of(type(obj)),
        place.name,
        grade=0,
        reason="its entries go with the objects they stand for",
        entries=len(data) if is_any(data, dict, set) else 0,
    )
