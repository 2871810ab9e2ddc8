"""
One look at everything: the tree of a guard, then what modules hold.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, Final

from memguard._clock import give_way
from memguard._risks.growth import Looks
from memguard._risks.kinds import judge_group
from memguard._risks.modules import Survey
from memguard._risks.pace import Pace
from memguard._risks.registered import read_tree
from memguard._risks.report import RiskReport, ordered
from memguard._risks.scene import Scene
from memguard._risks.working import judge_outlived

__all__ = ("first_look", "look", "risks_of")

# Between two slices of the look in the background: a twentieth of the time is work.
_REST_S: Final = 0.008


def risks_of(guard: Any, looks: Looks, pace: Pace | None = None) -> RiskReport:
    """
    The list of risks of the process, with what *guard* owns. No lock is held.
    """
    began = perf_counter()
    registry = guard.registry
    registry.settle_collected()
    scene = Scene(
        looks,
        pace or Pace(),
        registry.clock.monotonic(),
        memory_limit=guard.probe.limit(guard.settings.memory_limit).limit_bytes,
        managed_limit=registry.budget.limit,
    )
    number = looks.begin()
    _survey(scene, guard)
    looks.forget_old()
    return RiskReport(
        guard=guard.label,
        risks=ordered(scene.risks),
        memory_limit=scene.memory_limit,
        managed_limit=scene.managed_limit,
        modules=scene.modules,
        looks=number,
        unread=scene.unread,
        seconds=perf_counter() - began,
    )


def look(guard: Any, looks: Looks, pace: Pace | None = None) -> None:
    """
    Remember how long everything is now, so that the next look knows what has grown.
    """
    scene = Scene(
        looks, pace or Pace(), guard.registry.clock.monotonic(), only_counts=True
    )
    looks.begin()
    _survey(scene, guard)


def first_look(guard: Any) -> Looks | None:
    """
    As `look`, in the background: for a part of the time only, and while *guard* runs.

    None when it was shut down meanwhile.
    """
    registry = guard.registry

    def pause(seconds: float) -> None:
        if not registry.running:
            raise _Stopped
        give_way(seconds)

    looks = Looks()
    try:
        look(guard, looks, Pace(pause=pause, pause_s=_REST_S))
    except _Stopped:
        return None
    return looks


class _Stopped(BaseException):
    """
    Raised where a look has to end; no rule may take it for a failure of its own.
    """


def _survey(scene: Scene, guard: Any) -> None:
    for group in read_tree(scene, guard):
        scene.pace.step()
        scene.safely(judge_group, scene, group)
    scene.safely(judge_outlived, scene, guard.registry)
    Survey(scene).run()
