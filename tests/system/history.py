"""
Judges what workers did to shared sessions, from what each of them noted.

A session holds a counter and the id of the write that set it last. A write names the
one it builds on, so that the final state leads back through all that took effect: its
chain. Times are seconds on the machine's monotonic clock, one clock for all processes.
Nothing is read or started here.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from math import inf
from typing import Any, Literal

Outcome = Literal["acknowledged", "refused", "unknown"]


@dataclass(frozen=True)
class Write:
    """
    One increment: *number* is what it set, *base* the write it had found there.

    *since* is when the writer had certainly been given the session. "refused" is told
    by the store, "unknown" when no answer came: it may take effect, also later.
    """

    session: str
    id: str
    owner: str
    since: float
    start: float
    end: float
    base: str | None
    number: int
    outcome: Outcome


@dataclass(frozen=True)
class Read:
    """
    What an owner was given: the last write, None before the first, and the counter.
    """

    session: str
    owner: str
    start: float
    end: float
    seen: str | None
    number: int


@dataclass(frozen=True)
class Final:
    """
    What a session was when everybody had ended.
    """

    seen: str | None
    number: int


@dataclass(frozen=True)
class Violation:
    """
    One thing that must never happen.
    """

    kind: str
    session: str
    text: str


@dataclass
class History:
    """
    What was noted, by whatever number of workers.
    """

    writes: list[Write] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)

    def add(self, lines: Iterable[str]) -> None:
        """
        What one worker noted, a JSON object a line.

        "begin" stands before a write was tried and "write" after it; one that never
        came back is unknown. A last line that was cut off is left out.
        """
        begun: dict[str, dict[str, Any]] = {}
        for line in lines:
            if not line.endswith("\n"):
                break
            noted = json.loads(line)
            kind = noted.pop("kind")
            if kind == "read":
                self.reads.append(Read(**noted))
            elif kind == "begin":
                begun[noted["id"]] = noted
            else:
                self.writes.append(Write(**{**begun.pop(noted["id"]), **noted}))
        for noted in begun.values():
            self.writes.append(Write(**noted, end=inf, outcome="unknown"))

    def count(self, outcome: Outcome) -> int:
        return sum(write.outcome == outcome for write in self.writes)


def check(history: History, finals: Mapping[str, Final]) -> list[Violation]:
    """
    Everything that went wrong; refused and unknown writes are none of it.
    """
    writes: dict[str, list[Write]] = defaultdict(list)
    reads: dict[str, list[Read]] = defaultdict(list)
    for write in history.writes:
        writes[write.session].append(write)
    for read in history.reads:
        reads[read.session].append(read)
    found = []
    for session in sorted({*writes, *reads, *finals}):
        final = finals.get(session, Final(None, 0))
        judge = _Session(session, writes[session], reads[session], final)
        found += judge.violations()
    return found


class _Session:
    """
    One session; `place` is where a write stands in its chain, from 1 on.
    """

    def __init__(
        self, session: str, writes: Sequence[Write], reads: Sequence[Read], final: Final
    ) -> None:
        self.session = session
        self.writes = writes
        self.reads = reads
        self.final = final
        self.by_id = {write.id: write for write in writes}
        self.place: dict[str | None, int] = {None: 0}
        self.found: list[Violation] = []

    def violations(self) -> list[Violation]:
        self._follow()
        self.stand = sorted(
            (
                write
                for write in self.writes
                if write.outcome == "acknowledged" and write.id in self.place
            ),
            key=lambda write: write.end,
        )
        self.ends = [write.end for write in self.stand]
        self.latest = list(
            accumulate(self.stand, partial(max, key=lambda one: self.place[one.id]))
        )
        self._nothing_lost()
        self._reads_are_current()
        self._order_is_kept()
        self._one_owner()
        return self.found

    def _say(self, kind: str, text: str) -> None:
        self.found.append(Violation(kind, self.session, text))

    def _follow(self) -> None:
        """
        The chain, from its end.
        """
        chain: list[Write] = []
        met: set[str] = set()
        seen = self.final.seen
        while seen is not None:
            write = self.by_id.get(seen)
            if write is None:
                self._say("invented", f"{seen} was written by nobody")
                break
            if seen in met:
                self._say("invented", f"{seen} builds on itself")
                break
            if write.outcome == "refused":
                self._say("refused", f"{seen} was refused and took effect")
            chain.append(write)
            met.add(seen)
            seen = write.base
        chain.reverse()
        for place, write in enumerate(chain, 1):
            self.place[write.id] = place
            if write.number != place:
                self._say("torn", f"{write.id} set {write.number} as number {place}")
        if self.final.number != len(chain):
            self._say("torn", f"it is {self.final.number} after {len(chain)} writes")

    def _nothing_lost(self) -> None:
        for write in self.writes:
            if write.outcome == "acknowledged" and write.id not in self.place:
                self._say("lost", f"{write.id} was acknowledged and is gone")

    def _reads_are_current(self) -> None:
        for read in self.reads:
            if read.seen is not None:
                write = self.by_id.get(read.seen)
                if write is None:
                    self._say("invented", f"{read.seen} was written by nobody")
                    continue
                if write.outcome == "refused":
                    self._say("refused", f"{read.seen} was refused and was read")
                if write.start > read.end:
                    self._say("future", f"{read.seen} was read before it was written")
                if write.number != read.number:
                    self._say("torn", f"{read.seen} was read as {read.number}")
            if read.seen not in self.place:
                self._say("lost", f"{read.seen} was read and is gone")
                continue
            known = self._known_before(read.start)
            if known is not None and self.place[known.id] > self.place[read.seen]:
                text = f"{read.owner} was given {read.seen} after {known.id}"
                self._say("stale", text)

    def _order_is_kept(self) -> None:
        """
        What was acknowledged before another began stands before it.
        """
        for write in self.stand:
            known = self._known_before(write.start)
            if known is not None and self.place[known.id] > self.place[write.id]:
                self._say("stale", f"{write.id} does not know of {known.id}")

    def _known_before(self, moment: float) -> Write | None:
        """
        The last in the chain of those that were acknowledged by then.
        """
        many = bisect_left(self.ends, moment)
        return self.latest[many - 1] if many else None

    def _one_owner(self) -> None:
        """
        From being given the session to an acknowledged write somebody has it for sure.
        """
        spans: dict[tuple[str, float], float] = {}
        for write in self.writes:
            if write.outcome == "acknowledged":
                key = (write.owner, write.since)
                spans[key] = max(write.start, spans.get(key, write.start))
        ordered = sorted((since, to, owner) for (owner, since), to in spans.items())
        for number, (_, to, owner) in enumerate(ordered):
            for since, _, other in ordered[number + 1 :]:
                if since >= to:
                    break
                if other != owner:
                    self._say("two owners", f"{owner} and {other} at {since:.6f}")
