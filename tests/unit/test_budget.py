"""
One budget: who gets bytes, who gives them, and what a release tells.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

import pytest

from memguard._kinds.budget import Budget
from memguard._kinds.demand import Demand
from memguard._kinds.prices import UNKNOWN_COST_S, Appraisal
from memguard._kinds.release import Slices, in_slices
from memguard._kinds.shares import Row, chunk_of, due, gift, rebalance

if TYPE_CHECKING:
    from collections.abc import Callable

    from memguard._kinds.budget import Seat

KIB = 1024
MIB = 1024 * KIB


class Store:
    """
    A member that evicts the oldest, and tells what a test says it should.
    """

    def __init__(
        self,
        label: str,
        *,
        priority: int = 0,
        floor_bytes: int = 0,
        ceiling_bytes: int | None = None,
    ) -> None:
        self.label = label
        self.priority = priority
        self.floor_bytes = floor_bytes
        self.ceiling_bytes = ceiling_bytes
        self.allowance: int | None = None
        self.entries: deque[int] = deque()
        self.said = Demand()
        self.seat: Seat | None = None
        self.on_evict: Callable[[], object] | None = None

    def memory_bytes(self) -> int:
        return sum(self.entries)

    def shrink(self, nbytes: int) -> int:
        freed = 0
        while self.entries and freed < nbytes:
            freed += self.entries.popleft()
            if self.on_evict is not None:
                self.on_evict()
        return freed

    def demand(self) -> Demand:
        said, self.said = self.said, Demand()
        return said

    def put(self, nbytes: int) -> bool:
        """
        As a cache does: ask where there is no room, else evict, or refuse.
        """
        if self.allowance is not None and self.memory_bytes() + nbytes > self.allowance:
            assert self.seat is not None
            self.seat.ask(nbytes)
        limit = self.allowance
        if limit is not None and nbytes > limit:
            return False
        while limit is not None and self.memory_bytes() + nbytes > limit:
            self.entries.popleft()
        self.entries.append(nbytes)
        return True


def members(budget: Budget, *stores: Store) -> None:
    """
    All of them join.
    """
    for store in stores:
        store.seat = budget.join(store)


def fill(store: Store, nbytes: int, each: int = KIB) -> None:
    """
    Put entries of a size until so many bytes were put.
    """
    for _ in range(nbytes // each):
        store.put(each)


# -- getting ---------------------------------------------------------------------------


def test_nobody_has_anything_before_it_asks() -> None:
    """
    A member that joins takes nothing from the others.
    """
    budget = Budget(lambda: MIB)
    one = Store("one")
    members(budget, one)
    assert one.allowance == 0
    assert budget.given == 0


def test_the_limit_is_asked_for_at_the_first_need() -> None:
    """
    A cache made at import time must not make memguard read the limit of the machine.
    """
    asked: list[int] = []

    def limit() -> int:
        asked.append(1)
        return MIB

    budget = Budget(limit)
    one = Store("one")
    members(budget, one)
    assert asked == []
    assert one.put(KIB)
    assert asked == [1]


def test_without_a_limit_nobody_is_bounded() -> None:
    """
    Where nobody knows a limit there are no allowances.
    """
    budget = Budget(lambda: None)
    one = Store("one")
    members(budget, one)
    assert one.put(100 * MIB)
    assert one.allowance is None
    assert budget.limit is None


def test_what_is_free_is_given_in_chunks() -> None:
    """
    The first put is given a chunk, so that the next ones need not ask.
    """
    budget = Budget(lambda: 16 * MIB)
    one = Store("one")
    members(budget, one)
    one.put(100)
    assert chunk_of(16 * MIB, 1) == one.allowance == 16 * MIB // 100


def test_a_lone_member_gets_all_of_it() -> None:
    """
    Nothing of the budget is left unused while somebody wants it.
    """
    budget = Budget(lambda: MIB)
    one = Store("one")
    members(budget, one)
    fill(one, 2 * MIB)
    assert one.allowance == MIB == budget.given
    assert one.memory_bytes() == MIB


def test_who_leaves_gives_back() -> None:
    """
    What a closed member had is free for the others; leaving twice frees nothing more.
    """
    budget = Budget(lambda: MIB)
    one, two = Store("one"), Store("two")
    members(budget, one, two)
    fill(one, MIB)
    budget.leave(one)
    budget.leave(one)
    assert budget.given == 0
    fill(two, MIB)
    assert two.memory_bytes() == MIB


def test_a_ceiling_is_never_exceeded() -> None:
    """
    A member gets no more than its own cap, however much is free.
    """
    budget = Budget(lambda: 16 * MIB)
    one = Store("one", ceiling_bytes=100 * KIB)
    members(budget, one)
    fill(one, MIB)
    assert one.allowance == 100 * KIB


def test_an_entry_larger_than_a_chunk_gets_its_room() -> None:
    """
    A chunk is a step and no limit to a single entry.
    """
    budget = Budget(lambda: 16 * MIB)
    one = Store("one")
    members(budget, one)
    assert one.put(5 * MIB)


# -- giving ----------------------------------------------------------------------------


def test_bytes_go_where_they_save_more() -> None:
    """
    Of two members that want more, the one with the marginal hits gets it at the
    other's cost, at once, and the sum stays within the limit.
    """
    budget = Budget(lambda: MIB)
    poor, rich = Store("poor"), Store("rich")
    members(budget, poor, rich)
    fill(poor, MIB)
    for _ in range(200):
        rich.said = Demand((50, 50, 50), 0.5, 100)
        fill(rich, 20 * KIB)
        fill(poor, 20 * KIB)
        assert poor.memory_bytes() + rich.memory_bytes() <= MIB
    assert rich.memory_bytes() > 600 * KIB
    assert poor.seat is not None
    assert poor.seat.squeezed > 600 * KIB


def test_a_dearer_load_weighs_more() -> None:
    """
    With the same marginal hits the member with the slow loader grows.
    """
    budget = Budget(lambda: MIB)
    cheap, dear = Store("cheap"), Store("dear")
    members(budget, cheap, dear)
    fill(cheap, MIB)
    for _ in range(200):
        cheap.said = Demand((10,), 10 * 0.001, 10)
        dear.said = Demand((10,), 10 * 0.1, 10)
        fill(dear, 20 * KIB)
        fill(cheap, 20 * KIB)
    assert dear.memory_bytes() > 2 * cheap.memory_bytes()


def test_priority_doubles_what_bytes_are_worth() -> None:
    """
    A member of higher priority wins against one with somewhat more marginal hits.
    """
    budget = Budget(lambda: MIB)
    plain, preferred = Store("plain"), Store("preferred", priority=3)
    members(budget, plain, preferred)
    fill(plain, MIB)
    for _ in range(200):
        plain.said = Demand((12,), 0.0, 20)
        preferred.said = Demand((8,), 0.0, 20)
        fill(preferred, 20 * KIB)
        fill(plain, 20 * KIB)
    assert preferred.memory_bytes() > plain.memory_bytes()


def test_a_newcomer_is_never_starved() -> None:
    """
    A full budget gives a newcomer a part of an equal share without any proof of use.
    """
    budget = Budget(lambda: MIB)
    first, second = Store("first"), Store("second")
    members(budget, first, second)
    fill(first, MIB)
    first.said = Demand((1000, 1000, 1000), 10.0, 1000)
    fill(second, MIB)
    assert second.memory_bytes() >= MIB // 8
    assert budget.given <= MIB


def test_a_floor_is_served_and_kept() -> None:
    """
    Up to its floor a member gets bytes from the others whatever the prices are, and
    nobody takes them.
    """
    budget = Budget(lambda: MIB)
    greedy, modest = Store("greedy"), Store("modest", floor_bytes=400 * KIB)
    members(budget, greedy, modest)
    fill(greedy, MIB)
    fill(modest, 500 * KIB)
    assert modest.memory_bytes() >= 400 * KIB
    for _ in range(300):
        greedy.said = Demand((100, 100, 100), 10.0, 100)
        fill(greedy, 20 * KIB)
    assert modest.memory_bytes() >= 400 * KIB


def test_one_heavy_entry_finds_room_in_an_equal_share() -> None:
    """
    An entry heavier than a member's whole allowance is not refused for ever while
    somebody has more than an equal share.
    """
    budget = Budget(lambda: 16 * MIB)
    first, second = Store("first"), Store("second")
    members(budget, first, second)
    fill(first, 16 * MIB, each=64 * KIB)
    assert second.put(6 * MIB)
    assert not second.put(15 * MIB)
    assert first.memory_bytes() + second.memory_bytes() <= 16 * MIB


def test_prices_are_forgotten_as_work_goes_on() -> None:
    """
    A member that was worth a lot gives when the load has moved to another one.
    """
    budget = Budget(lambda: MIB)
    old, new = Store("old"), Store("new")
    members(budget, old, new)
    for _ in range(60):
        old.said = Demand((50,), 0.5, 100)
        fill(old, 20 * KIB)
    for _ in range(400):
        new.said = Demand((5,), 0.5, 100)
        fill(new, 20 * KIB)
    assert new.memory_bytes() > old.memory_bytes()


def test_time_alone_changes_no_price() -> None:
    """
    A quiet night is no reason to value anything less.
    """
    appraisal = Appraisal()
    appraisal.add(Demand((10,), 0.0, 10), 1.0)
    before = appraisal.price(MIB, 0, 1.0)
    appraisal.add(Demand(), 1.0)
    assert before == appraisal.price(MIB, 0, 1.0) > 0
    assert before / 2 == pytest.approx(appraisal.price(MIB, 0, 3.0))


def test_a_step_that_lies_further_on_is_seen() -> None:
    """
    A loop that does not fit makes no hits near by, and many a little further on.
    """
    loop, slope = Appraisal(), Appraisal()
    loop.add(Demand((0, 0, 500), 0.0, 500), 0.0)
    slope.add(Demand((10, 10, 10), 0.0, 500), 0.0)
    assert loop.price(MIB, 0, 0.0) > slope.price(MIB, 0, 0.0)


def test_an_unmeasured_miss_costs_a_unit() -> None:
    """
    Caches without a loader compete as if each miss took a millisecond.
    """
    appraisal = Appraisal()
    appraisal.add(Demand((1,), 0.0, 5), 0.0)
    assert appraisal.cost() == UNKNOWN_COST_S
    appraisal.add(Demand((1,), 0.5, 5), 0.0)
    assert appraisal.cost() == pytest.approx(0.05)


# -- who gives to whom -----------------------------------------------------------------


def row(
    allowance: int,
    *,
    held: int | None = None,
    unused: int = 0,
    due: int = 0,
    ceiling: int | None = None,
    price: float = 0.0,
) -> Row:
    """
    A row with nothing special but what is given.
    """
    held = allowance if held is None else held
    return Row(allowance, held, unused, due, ceiling, price)


@pytest.mark.parametrize(
    ("expected", "giver", "taker"),
    [
        (10, row(100), row(50, price=1.0)),
        (0, row(100, price=1.0), row(50, price=1.2)),
        (0, row(100), row(50)),
        (10, row(100, unused=40, price=2.0), row(50, price=1.0)),
        (4, row(100, due=96), row(50, price=1.0)),
        (3, row(100), row(50, ceiling=53, price=1.0)),
        (5, row(100, price=9.0), row(15, due=20)),
        (10, row(100, price=9.0), row(5)),
        (0, row(40, price=9.0), row(5)),
    ],
)
def test_a_gift_is_what_a_giver_has_to_give(
    expected: int, giver: Row, taker: Row
) -> None:
    """
    The unused, what is owed, and what is paid for clearly; never what is due.
    """
    assert expected == gift(giver, taker, 10, fair=60)


def test_floors_that_are_too_many_are_cut_in_proportion() -> None:
    """
    What members are due never adds up to more than there is.
    """
    assert due(100, 2, 400, 100) == 25
    assert due(100, 2, 400, 300) == 75
    assert due(100, 2, 20, 0) == 10
    assert due(100, 2, 20, 20) == 20


def test_time_frees_what_is_not_used() -> None:
    """
    A periodic step takes back unused bytes, and moves a chunk from low to high.
    """
    rows = [row(100, held=20, unused=70), row(50, price=1.0), row(50, price=2.0)]
    assert [(0, -70), (0, -10), (2, 10)] == rebalance(rows, 10)
    assert [] == rebalance([row(50, price=1.0), row(50, price=1.1)], 10)


def test_step_follows_the_load_without_an_ask() -> None:
    """
    The timer's step frees what a cleared cache had.
    """
    budget = Budget(lambda: MIB)
    one, two = Store("one"), Store("two")
    members(budget, one, two)
    fill(one, MIB)
    one.entries.clear()
    budget.step()
    assert budget.given < MIB // 2


# -- limits that change ----------------------------------------------------------------


def test_a_lower_limit_is_held_at_once() -> None:
    """
    Tightening evicts from the least worth until the rest fits.
    """
    budget = Budget(lambda: MIB)
    one, two = Store("one"), Store("two", priority=1)
    members(budget, one, two)
    fill(one, MIB // 2)
    fill(two, MIB // 2)
    budget.resize(MIB // 2)
    assert budget.given <= MIB // 2
    assert one.memory_bytes() + two.memory_bytes() <= MIB // 2
    assert two.memory_bytes() > one.memory_bytes()


def test_a_limit_may_be_lifted_and_set_again() -> None:
    """
    Without a limit members are unbounded; a new one takes them as they are, and cuts.
    """
    budget = Budget(lambda: None)
    one = Store("one")
    members(budget, one)
    fill(one, MIB)
    budget.resize(MIB // 4)
    assert one.allowance == MIB // 4
    assert one.memory_bytes() == MIB // 4
    budget.resize(None)
    assert one.allowance is None
    assert budget.given == 0


def test_settings_that_change_are_followed() -> None:
    """
    `renew` asks for the limit again, and does nothing before the first need.
    """
    limits = [MIB, MIB // 2]
    budget = Budget(lambda: limits[0])
    one = Store("one")
    members(budget, one)
    budget.renew()
    fill(one, MIB)
    limits.pop(0)
    budget.renew()
    assert budget.limit == MIB // 2
    assert one.memory_bytes() <= MIB // 2


def test_what_is_inherited_counts_from_the_start() -> None:
    """
    A member that holds something when it joins, as after a fork, is allowed that.
    """
    budget = Budget(lambda: MIB)
    one = Store("one")
    one.entries.extend([KIB] * 100)
    members(budget, one)
    assert one.allowance == 100 * KIB == budget.given


# -- foreign code ----------------------------------------------------------------------


def test_a_put_out_of_an_eviction_takes_from_nobody() -> None:
    """
    What is evicted may run a destructor that puts something elsewhere: that asks, and
    does not start a second round inside the first.
    """
    budget = Budget(lambda: MIB)
    one, two, three = Store("one"), Store("two"), Store("three")
    members(budget, one, two, three)
    fill(one, MIB)
    one.on_evict = lambda: three.put(KIB)
    fill(two, MIB // 4)
    assert budget.given <= MIB
    assert two.memory_bytes() > 0


def test_a_member_that_cannot_evict_keeps_what_it_holds() -> None:
    """
    Nothing is given to others that a member failed to free.
    """
    budget = Budget(lambda: MIB)
    stuck, other = Store("stuck"), Store("other")
    members(budget, stuck, other)
    fill(stuck, MIB)
    stuck.shrink = lambda nbytes: 0  # type: ignore[method-assign]
    fill(other, MIB // 4)
    assert other.memory_bytes() == 0
    assert stuck.allowance == MIB


def test_members_are_called_with_no_lock_held() -> None:
    """
    While a member evicts for another, a third thread may join and ask.
    """
    budget = Budget(lambda: MIB)
    one, two = Store("one"), Store("two")
    members(budget, one, two)
    fill(one, MIB)
    done: list[bool] = []

    def elsewhere() -> None:
        three = Store("three")
        three.seat = budget.join(three)
        three.put(10)
        budget.leave(three)
        done.append(True)

    def evicted() -> None:
        one.on_evict = None
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(5)

    one.on_evict = evicted
    fill(two, MIB // 8)
    assert done == [True]


def test_a_close_inside_a_locked_section_does_not_hang() -> None:
    """
    A collection may run a destructor in the middle of the budget's own section: what
    closes there leaves, and what asks there gets nothing.
    """
    budget = Budget(lambda: MIB)
    one, two = Store("one"), Store("two")
    members(budget, one, two)
    fill(one, 10 * KIB)
    seat = one.seat
    assert seat is not None

    def destructor() -> tuple[bool, None]:
        return seat.ask(MIB // 2), budget.leave(two)

    assert budget._locked(destructor) == (False, None)
    assert budget.members() == [one]


# -- release ---------------------------------------------------------------------------


def no_pause(seconds: float) -> None:
    """
    Goes on at once.
    """
    del seconds


def test_release_takes_low_priority_first_then_low_price() -> None:
    """
    Priority goes before price under pressure.
    """
    budget = Budget(lambda: 4 * MIB)
    low = Store("low", priority=-1)
    worthless, dear = Store("worthless"), Store("dear")
    members(budget, low, worthless, dear)
    for one in (low, worthless, dear):
        fill(one, MIB)
    dear.said = Demand((100, 100, 100), 1.0, 100)
    low.said = Demand((1000, 1000, 1000), 10.0, 1000)
    budget.step()
    released = budget.release(MIB + MIB // 2, pause=no_pause)
    assert released.is_complete
    assert low.memory_bytes() == 0
    assert worthless.memory_bytes() <= MIB // 2
    assert dear.memory_bytes() == MIB
    assert dict(released.members)["low"] == MIB


def test_release_tells_requested_evicted_and_returned_apart() -> None:
    """
    Each figure has its own source; the resident memory is read before and after.
    """
    budget = Budget(lambda: MIB)
    one = Store("one")
    members(budget, one)
    fill(one, 100 * KIB)
    trims: list[int] = []
    readings = iter([1000, 400])
    released = budget.release(
        200 * KIB,
        rss=lambda: next(readings),
        trim=lambda: trims.append(1),
        pause=no_pause,
    )
    assert released.requested == 200 * KIB
    assert released.evicted == 100 * KIB
    assert released.returned == 600
    assert not released.is_complete
    assert trims == [1]
    assert {"requested", "evicted", "returned"} < set(released.to_dict())


def test_release_stops_at_its_deadline_and_can_be_resumed() -> None:
    """
    A deadline ends it after a slice; the next call goes on with what is left.
    """
    budget = Budget(lambda: 4 * MIB)
    one = Store("one")
    members(budget, one)
    fill(one, MIB)
    ticks = iter(range(1000))
    first = budget.release(MIB, 3.0, now=lambda: float(next(ticks)), pause=no_pause)
    assert 0 < first.evicted < MIB
    second = budget.release(MIB - first.evicted, pause=no_pause)
    assert MIB == first.evicted + second.evicted
    assert one.memory_bytes() == 0


def test_release_leaves_floors_alone() -> None:
    """
    A floor holds under pressure as well, and what was given is free for others.
    """
    budget = Budget(lambda: MIB)
    one = Store("one", floor_bytes=300 * KIB)
    members(budget, one)
    fill(one, MIB)
    released = budget.release(MIB, pause=no_pause)
    assert one.memory_bytes() == 300 * KIB
    assert released.evicted == MIB - 300 * KIB
    assert budget.given == 300 * KIB


def test_release_works_without_a_limit() -> None:
    """
    Pressure can come from elsewhere: unbounded members give as well.
    """
    budget = Budget(lambda: None)
    one = Store("one")
    members(budget, one)
    fill(one, MIB)
    assert budget.release(MIB // 2, pause=no_pause).evicted == MIB // 2


def test_slices_learn_their_size_and_give_way_between() -> None:
    """
    A slice that took long is followed by a smaller one, a quick one by a larger one.
    """
    sizes: list[int] = []
    pauses: list[float] = []
    times = iter([0.0, 0.00005, 1.0, 1.001, 2.0, 2.0002, 3.0, 3.0002])

    def step(nbytes: int) -> int:
        sizes.append(nbytes)
        return nbytes

    evicted, slices = in_slices(
        iter([step] * 4),
        1 << 40,
        is_over=lambda: False,
        pause=pauses.append,
        used=lambda: next(times),
    )
    first = Slices().nbytes
    assert [first, 2 * first] == sizes[:2]
    assert sizes[2] < sizes[1] // 2
    assert sizes[3] == sizes[2]
    assert sum(sizes) == evicted
    assert slices.longest_s == pytest.approx(0.001)
    assert len(pauses) == 4


def test_a_squeeze_is_told() -> None:
    """
    Whoever listens learns who gave, and how much.
    """
    told: list[tuple[str, str, int]] = []
    budget = Budget(lambda: MIB, lambda *what: told.append(what))
    one, two = Store("one"), Store("two")
    members(budget, one, two)
    fill(one, MIB)
    fill(two, 100 * KIB)
    assert {("member", "one")} == {what[:2] for what in told}
    assert told[-1][2] == budget.squeezed["member", "one"] >= 100 * KIB


def test_shares_tell_what_each_member_has() -> None:
    """
    The rows for people: allowance, bytes held, price, and what was taken.
    """
    budget = Budget(lambda: MIB)
    one, two = Store("one"), Store("two")
    members(budget, one, two)
    fill(one, 100 * KIB)
    shares = {share.name: share for share in budget.shares()}
    assert shares["one"].held == 100 * KIB <= shares["one"].allowance
    assert shares["two"].allowance == 0
    assert [one.name for one in budget.shares(most=1)] == ["one"]
