"""
One look at everything: the tree of a guard, then what modules hold.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

from memguard._risks.kinds import judge_group
from memguard._risks.modules import Survey
from memguard._risks.pace import Pace
from memguard._risks.registered import read_tree
from memguard._risks.report import RiskReport, ordered
from memguard._risks.scene import Scene

if TYPE_CHECKING:
    from memguard._risks.growth import Looks

__all__ = ("look", "risks_of")


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


def _survey(scene: Scene, guard: Any) -> None:
    for group in read_tree(scene, guard):
        scene.pace.step()
        scene.safely(judge_group, scene, group)
    Survey(scene).run()
