"""
The rules for what works, listens and was registered: safe with an owner that ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memguard._risks.containers import grown

if TYPE_CHECKING:
    from memguard._risks.registered import Group
    from memguard._risks.scene import Scene
    from memguard._tree import Node

__all__ = (
    "judge_listener",
    "judge_outlived",
    "judge_resource",
    "judge_scope",
    "judge_watched",
    "judge_working",
)

_MANY_TIMERS: Final = 10
_MANY_RESOURCES: Final = 1_000


def judge_working(scene: Scene, group: Group) -> None:
    """
    Timers, tasks and hooks: safe with an owner that ends, or when they are few.
    """
    instances = group.instances
    trend = scene.trend(group.where, instances)
    if scene.only_counts:
        return
    lasting = group.owner_kind == "guard" and not group.nodes[0].declared
    piles_up = trend.growing and instances > 1
    points = 0
    if lasting and instances >= _MANY_TIMERS:
        points = 2 + piles_up
    elif lasting and piles_up:
        points = 1
    what = f"{group.kind}s"
    if points:
        reason = (
            f"{instances:,} {what} were made at one place and belong to the guard: they"
            " go on until the process ends"
        )
        if trend.growing:
            reason += f"; {grown(trend).replace('entries', what)}"
    else:
        reason = _end_of(group)
    scene.add(
        f"many-{what}" if points else group.kind,
        group.kind,
        group.name,
        grade=points,
        reason=reason,
        fix=(
            "make it in the scope it is for (scope.timer, session.timer), or give it a"
            " name: one of the same name replaces the old one"
            if points
            else ""
        ),
        entries=instances,
        unit=what,
        site=group.site,
    )


def _end_of(group: Group) -> str:
    if group.owner_kind == "guard":
        return "ends with the guard"
    return f"ends with its {group.owner_kind}"


def judge_listener(scene: Scene, group: Group) -> None:
    if scene.only_counts:
        return
    scene.add(
        "listener",
        "listener",
        group.name,
        grade=0,
        reason=_end_of(group),
        entries=group.instances,
        unit="listeners",
        site=group.site,
    )


def judge_scope(scene: Scene, group: Group) -> None:
    instances = group.instances
    trend = scene.trend(group.where, instances)
    if scene.only_counts or not (trend.growing and instances >= 100):
        return
    scene.add(
        "many-scopes",
        group.kind,
        group.name,
        grade=1 + (instances >= _MANY_RESOURCES),
        reason=f"{instances:,} are open that were made at one place;"
        f" {grown(trend).replace('entries', 'open ones')}",
        fix="close a scope when its work is done: `with guard.scope(...)`",
        entries=instances,
        unit="scopes",
        site=group.site,
    )


def judge_resource(scene: Scene, group: Group) -> None:
    """
    What was registered: closed with its owner. Piled up at the guard it is a risk.
    """
    instances = group.instances
    trend = scene.trend(group.where, instances)
    for node in group.nodes:
        scene.registered.append(node)
    if scene.only_counts:
        return
    points = 0
    if group.owner_kind == "guard":
        piles_up = trend.growing and instances >= 10
        points = (
            piles_up
            + (instances >= _MANY_RESOURCES)
            + (piles_up and trend.now - trend.first >= 100)
        )
    kind = _type_name(group.nodes[0]) or group.kind
    reason = _end_of(group)
    if points:
        reason = (
            f"{instances:,} of them were registered at one place and live on; they are"
            " closed with the guard only"
        )
        if trend.growing:
            reason += f"; {grown(trend).replace('entries', 'objects')}"
    scene.add(
        "many-resources" if points else "resource",
        group.kind,
        group.name if group.label != "(unnamed)" else kind,
        grade=points,
        reason=reason,
        fix=(
            "register it in the scope it is used in, close it, or release() it when you"
            " have closed it"
            if points
            else ""
        ),
        entries=instances,
        unit="objects",
        site=group.site,
    )


def judge_outlived(scene: Scene, registry: Any) -> None:
    """
    Put watched objects on the list whose scope has ended, and which are still there.
    """
    left: dict[tuple[str, Any], int] = {}
    for one in list(registry.expected):
        scene.pace.step()
        if one.alive:
            key = one.name, one.site
            left[key] = left.get(key, 0) + 1
    for (name, site), count in left.items():
        scene.trend(f"tree: outlived {name} {site}", count)
        if scene.only_counts:
            continue
        scene.add(
            "outlived-scope",
            "object",
            name,
            grade=1 + (count >= _MANY_TIMERS) + (count >= _MANY_RESOURCES),
            reason=f"{count:,} had to be gone when their scope ended, and live on:"
            " somebody holds them, or no collection came by since",
            fix="find out who holds one: gc.get_referrers(obj), or objgraph",
            entries=count,
            unit="objects",
            site=site,
        )


def _type_name(node: Node) -> str:
    info = getattr(node, "info", None)
    name = getattr(info, "type_name", "")
    return name if type(name) is str else ""


def judge_watched(scene: Scene, group: Group) -> None:
    if scene.only_counts:
        return
    scene.add(
        "watched",
        "object",
        group.name,
        grade=0,
        reason=f"watched: has to be gone when its {group.owner_kind} has ended",
        entries=group.instances,
        unit="objects",
        site=group.site,
    )
