"""
Snapshots: what a guard owns at one moment, counted and named.
"""

from __future__ import annotations

import gc
import json
import threading
import weakref
from typing import Any

from memguard import Guard
from memguard._snapshot import kinds_of
from memguard.testing import FakeClock


class Thing:
    """
    Something with an end, and a size that it tells.
    """

    size: Any = 64

    def close(self) -> None: ...

    def memory_bytes(self) -> int:
        return int(self.size)


def counters(guard: Guard, kind: str) -> list[tuple[str, int, int, dict[str, int]]]:
    """
    Name, living, made and ended of each counter of one kind.
    """
    return [
        (one.name, one.live, one.created, one.released)
        for one in guard.snapshot().kinds
        if one.kind == kind
    ]


def test_an_empty_guard() -> None:
    """
    Has a name and a state, and nothing else.
    """
    snapshot = Guard("shop").snapshot()

    assert ("shop", "new", 0.0) == (snapshot.guard, snapshot.state, snapshot.uptime_s)
    assert () == snapshot.kinds == snapshot.nodes
    assert {} == snapshot.work
    assert 0 == snapshot.count("timer")


def test_counters_of_what_lives_and_what_ended() -> None:
    """
    Made, living, and ended by outcome: nothing is lost between them.
    """
    with Guard() as guard:
        kept = [guard.register(Thing(), name="db") for _ in range(3)]
        for _ in range(5):
            with guard.scope("job") as scope:
                scope.register(Thing(), keep=True)
        guard.release(kept.pop())

        assert [("db", 2, 3, {"closed": 1}), ("", 0, 5, {"closed": 5})] == counters(
            guard, "resource"
        )
        assert 2 == guard.snapshot().count("resource")
        assert {"job": 5} == guard.snapshot().work
        assert "open" == guard.snapshot().state


def test_endings_that_went_wrong_are_counted_apart() -> None:
    """
    By outcome.
    """

    class Broken(Thing):
        def close(self) -> None:
            raise ValueError

    guard = Guard(shutdown_timeout="200ms").start()
    broken = guard.register(Broken(), name="broken")
    guard.shutdown()

    assert [("broken", 0, 1, {"unclosable": 1})] == counters(guard, "resource")
    assert 1 == guard.snapshot().background_failures
    assert broken


def test_nodes_with_their_place_age_size_and_site() -> None:
    """
    From the root down; bytes are asked for, None where nobody knows.
    """
    clock = FakeClock()
    with Guard("shop", clock=clock) as guard, guard.scope("job") as scope:
        thing = scope.register(Thing(), name="stock", phase="caches")
        plain = scope.register(threading.Event(), keep=True)
        clock.advance("5s")
        nodes = {one.name: one for one in guard.snapshot().nodes}
        stock = nodes["stock"]

        assert "shop/job/stock" == stock.path
        assert ("resource", "caches", 64) == (stock.kind, stock.phase, stock.bytes_held)
        assert 5.0 == stock.age_s
        assert "test_snapshot.py" in stock.site
        assert nodes["Event"].bytes_held is None
        assert scope.release(plain)
        assert thing is not plain


def test_the_oldest_of_each_name() -> None:
    """
    In seconds; what came later does not count.
    """
    clock = FakeClock()
    with Guard(clock=clock) as guard:
        first = guard.register(Thing(), name="db")
        clock.advance("10s")
        second = guard.register(Thing(), name="db")
        clock.advance("1s")
        (kind,) = (one for one in guard.snapshot().kinds if one.name == "db")
        assert 11.0 == kind.oldest_s
        guard.release(first)
        (kind,) = (one for one in guard.snapshot().kinds if one.name == "db")
        assert 1.0 == kind.oldest_s
        assert 11.0 == guard.snapshot().uptime_s
        assert second


def test_names_beyond_the_bound_share_a_counter_and_an_age() -> None:
    """
    A hundred names, then `other`.
    """
    clock = FakeClock()
    with Guard(clock=clock) as guard:
        kept = [guard.register(Thing(), name=f"user {number}") for number in range(150)]
        clock.advance("3s")
        kinds = {one.name: one for one in guard.snapshot().kinds}

        assert 50 == kinds["other"].live
        assert 3.0 == kinds["other"].oldest_s
        assert 150 == guard.snapshot().count("resource") == len(kept)


def test_a_size_that_cannot_be_told_is_a_failure_of_its_own() -> None:
    """
    The snapshot is complete, and the failure is counted without its text.
    """
    with Guard() as guard:
        thing = guard.register(Thing())
        thing.size = "secret"
        snapshot = guard.snapshot()
        assert [None] == [one.bytes_held for one in snapshot.nodes]
        assert 1 == snapshot.background_failures
        assert "secret" not in json.dumps(snapshot.to_dict())


def test_a_snapshot_is_plain_data() -> None:
    """
    As a dictionary that JSON takes.
    """
    with Guard("shop") as guard:
        thing = guard.register(Thing(), name="db")
        data = json.loads(json.dumps(guard.snapshot().to_dict()))

        assert "shop" == data["guard"]
        assert ("db", 1, 1) == tuple(
            data["kinds"][0][name] for name in ("name", "live", "created")
        )
        assert thing


def test_a_snapshot_keeps_nothing_alive() -> None:
    """
    It holds numbers and names.
    """
    with Guard() as guard:
        thing = guard.register(Thing())
        snapshot = guard.snapshot()
        seen = weakref.ref(thing)
        guard.release(thing)
        del thing
        gc.collect()

        assert seen() is None
        assert 1 == len(snapshot.nodes)


def test_snapshots_while_others_make_and_close() -> None:
    """
    Each is consistent: nothing lives that was not made.
    """
    with Guard() as guard:
        over = threading.Event()

        def work(number: int) -> None:
            turn = 0
            while not over.is_set():
                turn += 1
                with guard.scope(f"job {number} {turn % 50}") as scope:
                    scope.register(Thing(), keep=True, name=f"{number} {turn % 30}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(25):
            for one in kinds_of(guard):
                assert 0 <= one.live <= one.created
                assert one.created == one.live + sum(one.released.values())
            assert guard.snapshot().guard
        over.set()
        for thread in threads:
            thread.join(5)
        assert 0 == guard.snapshot().count("resource")
