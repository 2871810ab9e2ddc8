"""
The rule for memguard's own emitters: ceilings, places that add and add, double ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import grown
from memguard._risks.reading import first_items

if TYPE_CHECKING:
    from memguard._risks.registered import Group
    from memguard._risks.scene import Scene

__all__ = ("judge_emitter",)

_SOME: Final = 10
_EVENTS: Final = 200
_COMPARED: Final = 5_000  # listeners of one event
_PLACES: Final = 20


def judge_emitter(scene: Scene, group: Group) -> None:
    """
    Put emitters, and the places that add listeners to them, on the list.
    """
    for emitter in group.nodes:
        scene.pace.step()
        _judge(scene, emitter, group)


def _judge(scene: Scene, emitter: Any, group: Group) -> None:
    slots = [slot for _, slot in first_items(emitter._slots, _EVENTS)]
    total = emitter.listening
    most = max(map(len, slots), default=0)
    trend = scene.trend(f"tree: emitter {emitter.path}", total)
    if scene.only_counts:
        return
    ceiling = emitter._max
    points = 0
    reasons = []
    over = ceiling is not None and most > ceiling
    if over:
        points += 2
        reasons.append(f"one event has {most:,}, over max_listeners={ceiling}")
    own = _own(scene, emitter, slots)
    if trend.growing and total > _SOME and own > total // 2:
        points += 1 + (trend.rises > 1)
        reasons.append(grown(trend).replace("entries", "listeners"))
    twice = max((_twice(slot) for slot in slots), default=0)
    if twice > 1:
        points += 2
        reasons.append(
            f"one function was added {twice} times to one event, and is called as often"
        )
    if ceiling is None and not points and own > _SOME:
        points = 1
        reasons.append(f"there is no ceiling, and {own:,} belong to no scope")
    if points and (places := _places(emitter)):
        reasons.append(f"added at {places}")
    if not points:
        bound = "no ceiling" if ceiling is None else f"warns over {ceiling}"
        reasons.append(f"{total:,} listeners, {bound}; they go with their owners")
    scene.add(
        ("duplicate-listener" if twice > 1 else "many-listeners")
        if points
        else "listeners",
        "emitter",
        emitter.label if group.owner_kind == "guard" else group.name,
        grade=points,
        reason="; ".join(reasons),
        fix=(
            "tie a listener to a scope (scope.listen, owner=), remove it with off(),"
            " and add it once"
            if points
            else ""
        ),
        entries=total,
        unit="listeners",
        site=group.site,
    )


def _own(scene: Scene, emitter: Any, slots: list[Any]) -> int:
    """
    Listeners that no scope but the emitter owns.
    """
    found = 0
    for slot in slots:
        for listener, _ in first_items(slot._listeners, _COMPARED):
            scene.pace.step()
            found += listener.owner is emitter
    return found


def _twice(slot: Any) -> int:
    """
    How often the function is there that one owner has added most often.
    """
    most = 0
    if len(slot._by_identity) == len(slot):
        return 1
    for _, twins in first_items(slot._by_identity, _COMPARED):
        if len(twins) > 1:
            owners: dict[int, int] = {}
            for one in twins:
                owners[id(one.owner)] = owners.get(id(one.owner), 0) + 1
            most = max(most, *owners.values())
    return most


def _places(emitter: Any) -> str:
    rows = [row for row in emitter.growth()[:_PLACES] if row.live]
    return "; ".join(f"{row.site} ({row.live:,} live)" for row in rows[:3])
