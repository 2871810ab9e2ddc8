"""
The judge of shared sessions: what it lets pass, and each violation planted once.
"""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf
from typing import Any

import pytest
from tests.system.history import Final, History, Read, Write, check

# Two owners in turn: a has it from 1 to 4, b from 5 to 8.
A1 = Write("s", "a1", "a", 1.0, 2.0, 2.5, None, 1, "acknowledged")
A2 = Write("s", "a2", "a", 1.0, 3.0, 3.5, "a1", 2, "acknowledged")
B1 = Write("s", "b1", "b", 5.0, 6.0, 6.5, "a2", 3, "acknowledged")
READ = Read("s", "b", 4.5, 5.0, "a2", 2)
END = Final("b1", 3)


def kinds(writes: list[Write], reads: list[Read], final: Final = END) -> set[str]:
    """
    The kinds of violations of one session.
    """
    return {one.kind for one in check(History(writes, reads), {"s": final})}


def test_two_owners_in_turn() -> None:
    """
    Nothing is wrong with that, and nothing with a session nobody touched.
    """
    assert set() == kinds([A1, A2, B1], [READ])
    assert [] == check(History(), {"s": Final(None, 0)})


def test_a_refused_late_write_is_no_violation() -> None:
    """
    The first owner was paused, built on what it knew, and was told.
    """
    late = Write("s", "late", "a", 1.0, 7.0, 7.5, "a2", 3, "refused")
    assert set() == kinds([A1, A2, B1, late], [READ])


@pytest.mark.parametrize("final", [END, Final("a2", 2)])
def test_an_unanswered_write_may_take_effect_or_not(final: Final) -> None:
    """
    Both are allowed, also after its client gave up.
    """
    unknown = replace(B1, outcome="unknown", end=6.1)
    assert set() == kinds([A1, A2, unknown], [READ], final)


def test_owners_that_overlap_without_writing_are_none() -> None:
    """
    Who was paused still thinks so; what counts is a write that was acknowledged.
    """
    idle = Read("s", "a", 0.5, 1.0, None, 0)
    early = replace(B1, since=3.2)
    assert set() == kinds([A1, A2, early], [idle, READ])
    assert {"two owners"} == kinds([A1, A2, replace(B1, since=2.9)], [READ])


PLANTED: tuple[tuple[str, str, list[Write], list[Read], Final], ...] = (
    ("lost", "overwritten", [A1, A2, replace(B1, base="a1", number=2)], [], END),
    ("lost", "gone at the end", [A1, A2, B1], [READ], Final("a2", 2)),
    ("lost", "everything", [A1], [], Final(None, 0)),
    (
        "lost",
        "read, not acknowledged, and gone",
        [A1, A2, B1, replace(B1, id="u", outcome="unknown")],
        [Read("s", "a", 7.0, 7.5, "u", 3)],
        END,
    ),
    ("refused", "at the end", [A1, A2, replace(B1, outcome="refused")], [READ], END),
    (
        "refused",
        "read",
        [A1, A2, B1, replace(B1, id="r", outcome="refused")],
        [Read("s", "a", 7.0, 7.5, "r", 3)],
        END,
    ),
    ("stale", "read", [A1, A2, B1], [Read("s", "b", 4.5, 5.0, "a1", 1)], END),
    ("stale", "nothing read", [A1, A2, B1], [Read("s", "b", 4.5, 5.0, None, 0)], END),
    (
        "stale",
        "order",
        [A1, replace(A2, start=8.0, end=8.5), B1],
        [],
        END,
    ),
    ("future", "read", [A1, A2, B1], [Read("s", "b", 4.5, 5.0, "b1", 3)], END),
    ("two owners", "at once", [A1, A2, replace(B1, since=1.5)], [READ], END),
    ("torn", "the counter", [A1, A2, B1], [READ], Final("b1", 4)),
    ("torn", "a number", [A1, A2, replace(B1, number=7)], [READ], END),
    ("torn", "a read", [A1, A2, B1], [replace(READ, number=1)], END),
    ("invented", "at the end", [A1, A2, B1], [READ], Final("x", 3)),
    ("invented", "read", [A1, A2, B1], [replace(READ, seen="x")], END),
    ("invented", "a ring", [replace(A1, base="b1"), A2, B1], [READ], END),
)


@pytest.mark.parametrize(
    ("kind", "what", "writes", "reads", "final"),
    PLANTED,
    ids=[f"{kind}, {what}" for kind, what, *_ in PLANTED],
)
def test_planted(
    kind: str, what: str, writes: list[Write], reads: list[Read], final: Final
) -> None:
    """
    Each is found, and called what it is.
    """
    assert kind in kinds(writes, reads, final)


def test_what_a_worker_noted() -> None:
    """
    A write that never came back is unknown, and half a line is nothing.
    """
    begin: dict[str, Any] = {
        "kind": "begin",
        "session": "s",
        "id": "a1",
        "owner": "a",
        "since": 1.0,
        "start": 2.0,
        "base": None,
        "number": 1,
    }
    end = {"kind": "write", "id": "a1", "end": 2.5, "outcome": "acknowledged"}
    read = {
        "kind": "read",
        "session": "s",
        "owner": "b",
        "start": 4.5,
        "end": 5.0,
        "seen": "a2",
        "number": 2,
    }
    lines = [json.dumps(one) + "\n" for one in (begin, end, read)]
    lines += [json.dumps({**begin, "id": "a2"}) + "\n", '{"kind": "wri']
    history = History()
    history.add(lines)
    assert [READ] == history.reads
    unknown = replace(A1, id="a2", end=inf, outcome="unknown")
    assert [A1, unknown] == history.writes
    assert (1, 1, 0) == tuple(
        map(history.count, ("acknowledged", "unknown", "refused"))
    )
