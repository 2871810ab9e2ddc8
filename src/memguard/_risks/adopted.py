"""
The rule for what was adopted: its adapter knows what bounds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memguard._risks.containers import grown

if TYPE_CHECKING:
    from memguard._risks.registered import Group
    from memguard._risks.scene import Scene

__all__ = ("judge_adopted",)


def judge_adopted(scene: Scene, node: Any, group: Group) -> None:
    """
    Put one adopted object on the list, by the word of its adapter.

    Its adapter is called; the object's own place in a module is not judged once more.
    """
    obj = node.target()
    if obj is None:
        return
    scene.seen.add(id(obj))
    del obj
    seen = node.measure()
    entries = seen.entries
    trend = scene.trend(f"tree: adopted {node.path}", entries or 0)
    if scene.only_counts:
        return
    info = node.info()
    risk = node.risk()
    entries = info.limit if info.limit is not None else info.entries
    held = info.bytes
    size = None
    if held is not None and info.entries:
        size = max(1, held // info.entries)
    facts: dict[str, Any] = {
        "entries": entries,
        "entry_bytes": size,
        "capped": info.limit is not None,
        "site": group.site,
        "nbytes": info.byte_limit if entries is None else None,
    }
    if entries is None and held is not None and facts["nbytes"] is None:
        facts["nbytes"] = held
    if risk is None:
        bound = info.cap or (f"capped at {entries:,}" if info.limit is not None else "")
        scene.add(
            "adopted",
            info.kind,
            info.name,
            grade=0,
            reason=bound or info.cannot or "nothing in it grows without bound",
            **facts,
        )
        return
    level = scene.size_level(info.entries or 0, held)
    told = f"; {grown(trend).replace('entries', risk.what)}" if trend.growing else ""
    scene.add(
        "adopted-unbounded",
        info.kind,
        info.name,
        grade=1 + level + trend.growing,
        reason=f"{risk.reason}{told}",
        fix=risk.fix,
        **facts,
    )
