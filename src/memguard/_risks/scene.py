"""
What one look has at hand: its pace, what earlier ones saw, the limits, the findings.
"""

from __future__ import annotations

from typing import Any, Final

from memguard._records import field, record
from memguard._risks.growth import Looks, Trend
from memguard._risks.pace import Pace
from memguard._risks.report import AT_RISK, HIGH, LOW, MEDIUM, SAFE, RiskRow, estimate
from memguard._risks.shapes import Shapes
from memguard._risks.sizes import HUGE, LARGE
from memguard._risks.sources import Sources
from memguard._risks.usage import Codes

__all__ = ("Place", "Scene", "graded")

_GRADES: Final = (None, LOW, MEDIUM, HIGH)


@record
class Place:
    """
    Where something hangs: the module, and the way from there, as people write it.

    `owner` tells what kind of holder the last step is: a module, a class, an instance,
    a closure, a default. `attr` is the last name on the way.
    """

    module: str
    path: str
    attr: str
    owner: str = "module"
    library: bool = False
    #: The module that defines the class, where the last step is from an instance.
    home: str = ""
    #: Which of several entries it is in; only for what earlier looks have seen.
    which: str = ""
    #: The function whose default it is.
    code: Any = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        return f"{self.module}.{self.path}" if self.path else self.module

    @property
    def track(self) -> str:
        """
        The name by which its length is remembered.
        """
        return self.name + self.which

    def attribute(
        self, attr: str, owner: str, *, library: bool | None = None, home: str = ""
    ) -> Place:
        """
        The place one name further on.
        """
        shown = attr if attr.isidentifier() and len(attr) <= 100 else "[str]"
        return Place(
            self.module,
            f"{self.path}.{shown}" if self.path else shown,
            shown,
            owner,
            self.library if library is None else library,
            home,
            self.which,
        )

    def default(self, argument: str, code: Any) -> Place:
        """
        The place of what an argument has by default.
        """
        path = f"{self.path}({argument}=)"
        return Place(
            self.module, path, argument, "default", self.library, "", self.which, code
        )

    def item(self, number: int) -> Place:
        """
        The place of an entry of a container; its key is nobody's business.
        """
        return Place(
            self.module,
            f"{self.path}[]",
            self.attr,
            "entry",
            self.library,
            "",
            f"{self.which}#{number}",
        )


class Scene:
    """
    The state of one look.
    """

    def __init__(
        self,
        looks: Looks,
        pace: Pace,
        now: float,
        *,
        memory_limit: int | None = None,
        managed_limit: int | None = None,
        only_counts: bool = False,
    ) -> None:
        self.looks = looks
        self.pace = pace
        self.now = now
        self.memory_limit = memory_limit
        self.managed_limit = managed_limit
        #: True for a look that is only to remember lengths.
        self.only_counts = only_counts
        self.shapes = Shapes()
        #: Identities of what was visited.
        self.seen: set[int] = set()
        self.risks: list[RiskRow] = []
        #: Nodes of registered objects, which are looked into later.
        self.registered: list[Any] = []
        self.codes = Codes(pace.step)
        self.sources = Sources()
        self.modules = 0
        self.unread = 0

    def safely(self, step: Any, *arguments: Any) -> None:
        """
        Make one step; what cannot be read is counted, whatever it is.
        """
        try:
            step(*arguments)
        except Exception:
            self.unread += 1

    def trend(self, place: str, length: int) -> Trend:
        """
        What became of the length of something since the first look.
        """
        return self.looks.note(place, length, self.now)

    def size_level(self, entries: int, nbytes: int | None) -> int:
        """
        0 for small, 1 for large, 2 for very large: by entries, bytes, and the limit.
        """
        held = nbytes or 0
        if entries >= HUGE[0] or held >= HUGE[1]:
            return 2
        if self.memory_limit and held >= self.memory_limit // 50:
            return 2
        return int(entries >= LARGE[0] or held >= LARGE[1])

    def add(
        self,
        code: str,
        kind: str,
        name: str,
        *,
        grade: int,
        reason: str,
        fix: str = "",
        entries: int | None = None,
        entry_bytes: int | None = None,
        instances: int = 1,
        capped: bool = False,
        unit: str = "entries",
        many: str = "instances",
        site: str = "unknown",
        library: bool = False,
        nbytes: int | None = None,
    ) -> None:
        """
        Put one row on the list. *grade* is 0 for safe, up to 3 for a high risk.
        """
        impact = graded(grade)
        text, total = estimate(
            entries, entry_bytes, instances, capped=capped, unit=unit, many=many
        )
        self.risks.append(
            RiskRow(
                code=code,
                kind=kind,
                name=name,
                verdict=SAFE if impact is None else AT_RISK,
                impact=impact,
                entries=entries,
                entry_bytes=entry_bytes,
                instances=instances,
                bytes=total if nbytes is None else nbytes,
                estimate=text,
                reason=reason,
                fix=fix,
                site=site,
                library=library,
            )
        )


def graded(points: int) -> str | None:
    """
    The impact for so many points: none, low, medium, high.
    """
    return _GRADES[max(0, min(points, 3))]
