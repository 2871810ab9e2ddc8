"""
The rule for what others listen to: blinker's signals, pyee's emitters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import grown
from memguard._risks.reading import attribute, full_name, mro_of
from memguard._risks.shapes import SIGNAL, Shape

if TYPE_CHECKING:
    from memguard._risks.scene import Place, Scene

__all__ = ("judge_signal",)

_MANY: Final = 30
_VERY_MANY: Final = 100
_SOME: Final = 10  # more than that of one event were once worth a warning


def judge_signal(scene: Scene, place: Place, obj: Any, shape: Shape) -> None:
    """
    Put a signal or an emitter on the list: at risk when its listeners pile up.
    """
    total, most = _listeners(obj, shape)
    trend = scene.trend(place.track, total)
    if scene.only_counts:
        return
    piles_up = trend.growing and (most > _SOME or trend.rises > 1)
    if place.library and not (piles_up or most >= _VERY_MANY):
        return
    kind = full_name(type(obj)).rpartition(".")[2]
    if piles_up or most >= _MANY:
        why = grown(trend).replace("entries", "listeners") if trend.growing else ""
        scene.add(
            "many-listeners",
            kind,
            place.name,
            grade=1 + piles_up + (most >= _VERY_MANY),
            reason=f"{total:,} listeners, {most:,} of them for one event"
            + (f"; {why}" if why else ""),
            fix="disconnect a listener when its owner ends (memguard.listen ties it to"
            " a scope), and connect once at import, not for each request",
            entries=total,
            unit="listeners",
            library=place.library,
        )
    else:
        scene.add(
            "listeners",
            kind,
            place.name,
            grade=0,
            reason="its listeners are few",
            entries=total,
            unit="listeners",
        )


def _listeners(obj: Any, shape: Shape) -> tuple[int, int]:
    """
    All listeners, and the most that one event has.
    """
    if shape is SIGNAL:
        receivers = attribute(obj, "receivers")
        count = dict.__len__(receivers) if _is_dict(receivers) else 0
        return count, count
    events = attribute(obj, "_events")
    if not _is_dict(events):
        return 0, 0
    counts = [dict.__len__(one) for one in list(dict.values(events)) if _is_dict(one)]
    return sum(counts), max(counts, default=0)


def _is_dict(obj: Any) -> bool:
    return any(base is dict for base in mro_of(type(obj)))
