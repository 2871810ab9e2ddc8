"""
Which rule is for which of memguard's own kinds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from memguard._risks.adopted import judge_adopted
from memguard._risks.capacity import judge_sessions
from memguard._risks.capped import (
    judge_cache,
    judge_limiter,
    judge_log_handler,
    judge_pool,
    judge_ring,
    judge_series,
    judge_sink,
)
from memguard._risks.emitters import judge_emitter
from memguard._risks.working import (
    judge_listener,
    judge_resource,
    judge_scope,
    judge_watched,
    judge_working,
)

if TYPE_CHECKING:
    from memguard._risks.registered import Group
    from memguard._risks.scene import Scene

__all__ = ("judge_group",)


def judge_group(scene: Scene, group: Group) -> None:
    """
    Put one group of nodes on the list, by the rule for its kind.
    """
    kind = type(group.nodes[0])
    if hasattr(kind, "adapter"):
        for node in group.nodes:
            scene.pace.step()
            judge_adopted(scene, node, group)
        return
    rule = _RULES.get(group.kind)
    if rule is not None and not hasattr(kind, "target"):
        rule(scene, group)
    elif hasattr(kind, "target"):
        judge_resource(scene, group)


_RULES: Final[dict[str, Callable[[Scene, Group], None]]] = {
    "cache": judge_cache,
    "connection": judge_scope,
    "emitter": judge_emitter,
    "hook": judge_working,
    "limiter": judge_limiter,
    "listener": judge_listener,
    "log_handler": judge_log_handler,
    "object": judge_watched,
    "pool": judge_pool,
    "ring": judge_ring,
    "scope": judge_scope,
    "series": judge_series,
    "sessions": judge_sessions,  # with the sessions that are live
    "sink": judge_sink,
    "task": judge_working,
    "timer": judge_working,
}
