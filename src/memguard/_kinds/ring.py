"""
Rings: the newest entries, up to a number, to bytes and to an age.

A ring never raises over a cap: the oldest entries make room. Without a ttl, appending
takes no lock, only steps that the interpreter does not interrupt: an iterator gives out
the numbers of entries, another one adds up their bytes. Longer than 300 lines because
the ways to append, and what reads after all of them, belong side by side.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import accumulate, islice
from sys import getsizeof
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

from memguard._kinds.caps import byte_cap, count_cap, lifetime
from memguard._kinds.container import Container
from memguard._kinds.demand import Demand
from memguard._kinds.drops import DropNotice, Drops, notice_of
from memguard._kinds.keycounts import KeyCounts, checked_key
from memguard._kinds.ledger import Seat
from memguard._kinds.page import Page
from memguard._phases import Phase
from memguard._records import record
from memguard._registry import Registry
from memguard._sizing import sizeof
from memguard._tree import Branch
from memguard.typing import JSON, Duration, Size

__all__ = ("Page", "Ring", "RingInfo")

_T = TypeVar("_T")

_NODES: Final = 2_000  # bound of one exact size
_FORMAT: Final = 1  # of `dump`
_SAMPLE: Final = 64  # entries that are measured for the bytes of a plain ring
_LAP: Final = 64  # the least of numbers that are given out together by a full ring
# Threads that append at the same time may come in another order than their numbers.
_SWAPPED: Final = 16
_FLAT: Final = frozenset((str, bytes, int, float, bool, type(None)))

#: A sequence number and the value; with a cap of bytes or a ttl also its bytes; with a
#: ttl also when it came (monotonic time). A tuple takes a fifth of an object's time.
_Entry: TypeAlias = "tuple[Any, ...]"

#: What appending without a lock needs, in one piece: the `append` of the deque, the
#: numbers that are left in this lap, the counters of keys, the number after this lap,
#: and the ledger of bytes where they are capped.
_Fast: TypeAlias = "tuple[Any, Any, dict[int | str, Any], int, _Ledger | None]"

#: The deque of the entries, a function that takes a change of their bytes, an iterator
#: over the sums of all changes so far; then the most bytes and the most entries.
_Ledger: TypeAlias = "tuple[deque[_Entry], Any, Any, int, int]"

_INT_BYTES: Final = getsizeof(1 << 30)
_PLAIN_BYTES: Final = 8 + getsizeof((1, 1)) + _INT_BYTES
_SIZED_BYTES: Final = 8 + getsizeof((1, 1, 1)) + 2 * _INT_BYTES
_TIMED_BYTES: Final = 8 + getsizeof((1, 1, 1, 1)) + 2 * _INT_BYTES + getsizeof(1.0)


@record
class RingInfo:
    """
    Figures of a ring at one moment.

    `bytes` is the size of the values: measured at each append where there is a byte
    cap or a ttl, else that of 64 of them, spread evenly, times their number. `appended`
    counts what was offered, `dropped` what had to make
    room or was refused for its size, `expired` what outlived its ttl.
    """

    entries: int
    bytes: int
    appended: int
    dropped: int
    expired: int
    max_entries: int | None
    max_bytes: int | None


class Ring(Container, Generic[_T]):
    """
    The newest entries of something, oldest first. Thread-safe.

    Over `max_entries` or `max_bytes` the oldest are dropped; an entry that is heavier
    than `max_bytes` by itself is refused, and counted as dropped. Entries older than
    `ttl` are gone at the next use, and without any use once the guard runs. Values are
    destroyed with no lock held.

    What drops mean is seen from the readers. A ring that was ever emptied with `drain`
    has a consumer: what drops is lost, a warning once a minute. One that is looked at
    with `recent`, `page` or iteration and never drained is a history: a line on debug
    level. One that nobody has read may be either: a warning at the first drop, after a
    minute, after two more, four more, and so on up to an hour.
    """

    __slots__ = (
        "_bytes",
        "_counts",
        "_deep",
        "_drained",
        "_entries",
        "_estimate",
        "_expired",
        "_fast",
        "_left",
        "_looked_at",
        "_most",
        "_next",
        "_notice",
        "_refused",
        "_revisions",
        "_sized",
        "_timed",
        "allowance",
        "max_bytes",
        "max_entries",
        "seat",
        "shrinkable",
        "told_drops",
        "ttl",
    )

    kind: ClassVar[str] = "ring"
    phase = Phase.CACHES

    # What a member of the budget tells.
    priority: ClassVar[int] = 0
    floor_bytes: ClassVar[int] = 0

    def __init__(
        self,
        owner: Branch,
        name: str,
        *,
        of: type[_T] = object,  # type: ignore[assignment]  # only gives the type
        max_entries: int | None = 1000,
        max_bytes: Size | None = None,
        ttl: Duration | None = None,
        shrinkable: bool = False,
    ) -> None:
        del of
        super().__init__(owner, name)
        self.max_entries = count_cap(max_entries, "max_entries")
        self.max_bytes = byte_cap(max_bytes, "max_bytes")
        self.ttl = lifetime(ttl, "ttl")
        self.shrinkable = bool(shrinkable)
        if self.max_entries is None and self.max_bytes is None:
            msg = (
                f"ring {name!r} would have no cap; give it max_entries or max_bytes (a"
                " ttl alone bounds nothing)"
            )
            raise ValueError(msg)
        self._most = self.max_entries or sys.maxsize
        self._timed = self.ttl is not None
        self._sized = not self._timed and self.max_bytes is not None
        self._notice: DropNotice | None = None
        # Content changed by other verbs than `append`.
        self._revisions = 0
        # For the shrinkable: its place under the budget, and the bytes it may hold.
        self.seat: Seat | None = None
        self.allowance: int | None = None
        self._deep = 0  # reads that a tenth less would have missed
        self._forget()

    def _forget(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._next = 1  # the sequence number that comes next, with a ttl
        self._bytes = 0  # with a ttl
        self._fast: _Fast | None = None  # with a ttl
        self._estimate = (-1, 0)  # of a plain ring: at which version, how many bytes
        self._refused = 0
        self._expired = 0
        self._left = 0  # entries that went otherwise than dropped, expired ones too
        self._counts = KeyCounts()
        self._drained = False
        self._looked_at = False
        self.told_drops = 0
        if not self._timed:
            self._begin(1, ())

    def _begin(self, number: int, entries: Iterable[_Entry]) -> None:
        """
        Without a ttl: hold *entries*, the next one has *number*.
        """
        held: deque[_Entry] = deque(entries, None if self._sized else self.max_entries)
        ledger: _Ledger | None = None
        if self._sized and self.max_bytes is not None:
            changes: deque[int] = deque((sum(one[2] for one in held),))
            sums = accumulate(iter(changes.popleft, None))
            next(sums)
            ledger = held, changes.append, sums, self.max_bytes, self._most
        self._entries = held
        # No number is left, so that the first append asks whether it may.
        known = self._counts.known
        self._fast = held.append, iter(range(0)), known, number, ledger

    @property
    def spec(self) -> dict[str, object]:
        """
        What has to be the same where the same name is asked for again.
        """
        return {
            "max_entries": self.max_entries,
            "max_bytes": self.max_bytes,
            "ttl": self.ttl,
            "shrinkable": self.shrinkable,
        }

    # -- writing -----------------------------------------------------------------------

    def append(self, value: _T, key: str | None = None) -> bool:
        """
        Add *value*, and count it under *key*, by default the name of its type.

        False if it was refused because it is heavier than the whole ring may be.
        Raises ScopeClosed after the ring's end. At most 100 keys are told apart.
        """
        fast = self._fast
        if fast is None:
            return self._append_timed(value, key)
        put, numbers, counters, _, ledger = fast
        known: int | str
        if key is None:
            known = id(type(value))
        else:
            known = key if type(key) is str else checked_key(key)
        try:
            next(counters[known])
        except KeyError:
            next(self._counts.find(value, key))
        if ledger is not None:
            return self._append_sized(value, fast)
        try:
            put((next(numbers), value))
        except StopIteration:
            self._put_in_next_lap(value)
            self._note_drops()
        return True

    def extend(self, values: Iterable[_T], key: str | None = None) -> int:
        """
        Append each of *values*; returns how many were not refused.
        """
        return sum(self.append(one, key) for one in values)

    def _put_in_next_lap(self, *value: Any) -> _Fast:
        """
        Append an entry of a new number and *value*; returns where it was put.
        """
        while True:
            fast: _Fast = self._fast  # type: ignore[assignment]
            try:
                fast[0]((next(fast[1]), *value))
            except StopIteration:
                self._open_lap(fast)
            else:
                return fast

    def _open_lap(self, fast: _Fast) -> None:
        """
        Give out more numbers: up to the first drop, so that it is noticed, or for long.
        """
        self._refuse_if_closed()
        put, _, counters, number, ledger = fast
        most = self.max_entries
        room = 0 if most is None else most - self._held()
        after = number + (room if room > 0 else max(most or 0, _LAP))
        if self.seat is not None:
            after = min(after, number + _LAP)
            self._keep_to_allowance(self.seat)
        with self.registry.lock:
            if self._fast is fast:
                lap = iter(range(number, after))
                self._fast = put, lap, counters, after, ledger

    def _append_sized(self, value: Any, fast: _Fast) -> bool:
        """
        Append within a cap of bytes; the key was counted.
        """
        entries, change, sums, limit, most = fast[4]  # type: ignore[misc]
        if type(value) in _FLAT:
            size: int = value.__sizeof__()  # a sixth of the price of sys.getsizeof
        else:
            size = sizeof(value, limit=_NODES)
        if size > limit:
            return self._refuse()
        try:
            fast[0]((next(fast[1]), value, size))
        except StopIteration:
            fast = self._put_in_next_lap(value, size)
            entries, change, sums, limit, most = fast[4]  # type: ignore[misc]
        change(size)
        if next(sums) <= limit and len(entries) <= most:
            return True
        over = True
        while over:
            try:
                oldest = entries.popleft()
            except IndexError:  # other threads have made room as well
                break
            change(-oldest[2])
            over = next(sums) > limit or len(entries) > most
        if self._notice is None:
            self._note_drops()
        return True

    def _refuse(self) -> bool:
        self._refuse_if_closed()
        with self.registry.lock:
            self._refused += 1
        self._note_drops()
        return False

    def _append_timed(self, value: Any, key: str | None) -> bool:
        if self._is_inside():
            self._put_off(lambda: self.append(value, key))
            return True
        self._refuse_if_closed()
        next(self._counts.find(value, key))
        size = sizeof(value, limit=_NODES)
        if self.max_bytes is not None and size > self.max_bytes:
            return self._refuse()
        if self._locked(self._append, value, size, self._now()):
            self._note_drops()
        return True

    def _append(self, value: Any, size: int, now: float) -> list[_Entry]:
        self._refuse_if_closed()
        gone = self._take_expired(now)
        self._entries.append((self._next, value, size, now))
        self._next += 1
        self._bytes += size
        if self.seat is not None and not self._next % _LAP:
            self._later = [*(self._later or ()), self._ask_for_more]
        self._make_room(gone)
        self._watch_oldest()
        return gone

    def _make_room(self, gone: list[_Entry]) -> None:
        entries, limit = self._entries, self.max_bytes
        while len(entries) > self._most or (
            limit is not None and self._value_bytes() > limit
        ):
            gone.append(self._take_oldest())

    def _take_oldest(self) -> _Entry:
        fast = self._fast
        oldest = self._entries.popleft()
        if fast is None:
            self._bytes -= oldest[2]
        elif fast[4] is not None:
            fast[4][1](-oldest[2])
            next(fast[4][2])
        return oldest

    def _take_expired(self, now: float) -> list[_Entry]:
        gone: list[_Entry] = []
        ttl, entries = self.ttl, self._entries
        if ttl is not None:
            while entries and entries[0][3] + ttl <= now:
                gone.append(self._take_oldest())
            self._expired += len(gone)
            self._left += len(gone)
            self._revisions += bool(gone)
        return gone

    def _now(self) -> float:
        return 0.0 if self.ttl is None else self.registry.clock.monotonic()

    # -- what is dropped ---------------------------------------------------------------

    @property
    def version(self) -> int:
        """
        Changes whenever the content does, so that a session knows what to save.
        """
        return self._numbered() + self._refused + self._revisions

    def _numbered(self) -> int:
        """
        How many entries have ever got a number.
        """
        fast = self._fast
        if fast is None:
            return self._next - 1
        left: int = fast[1].__length_hint__()
        return fast[3] - left - 1

    @property
    def dropped(self) -> int:
        """
        Entries that had to make room, or were refused for their size.
        """
        # Not counted one by one: what came and is neither here nor went otherwise.
        numbered = self._numbered()
        return max(0, numbered - self._held() - self._left) + self._refused

    @property
    def drops(self) -> Drops:
        """
        What it means that it drops entries.
        """
        if self._drained:
            return Drops.LOST
        return Drops.MEANT if self._looked_at else Drops.FORGOTTEN

    def goes_on(self) -> bool:
        """
        True for a full ring: it drops with the next entry, and would not say so soon.
        """
        if self._held() >= self._most and not (self._timed or self._sized):
            return True
        self._notice = None
        return False

    def _note_drops(self) -> None:
        if self._notice is None and self.dropped > self.told_drops:
            assert self.name is not None
            self._notice = notice_of(self.registry, self.kind, self.name)
            self._notice.join(self.registry, self)

    # -- reading -----------------------------------------------------------------------

    def recent(self, n: int) -> list[_T]:
        """
        The newest *n* entries, oldest of them first.
        """
        return list(self.page(None, n))

    def page(self, before: int | None, n: int) -> Page[_T]:
        """
        The *n* entries before the one with sequence number *before*; None: the newest.

        The page tells in `next` where the one before it begins.
        """
        most = count_cap(n, "n", least=0)
        if most is None or not (before is None or type(before) is int):
            msg = "page() takes the `next` of another page, or None, and a number"
            raise TypeError(msg)
        chosen, older, _ = self._look(self._page, before, most)
        self._looked_at = True
        if self.seat is not None and chosen:
            self._note_depth(chosen[0][0])
        return Page(tuple(one[1] for one in chosen), older)

    def _look(self, step: Any, *arguments: Any) -> Any:
        now = self._now()
        if self._is_inside():
            # In a destructor: single steps on a deque are safe without the lock.
            return step(now, *arguments)
        return self._locked(step, now, *arguments)

    def _page(
        self, now: float, before: int | None, n: int
    ) -> tuple[list[_Entry], int | None, list[_Entry]]:
        gone = self._take_expired(now)
        chosen = self._newest_before(before, n)
        if not chosen:
            return [], None, gone
        chosen.reverse()
        first = chosen[0][0]
        entries = self._entries
        return chosen, first if entries and entries[0][0] < first else None, gone

    def _newest_before(self, before: int | None, n: int) -> list[_Entry]:
        """
        Newest first. Copies no more than it has to.
        """
        entries = self._entries
        n = min(n, len(entries))
        skip = more = 0
        if before is not None and entries:
            skip = min(max(0, entries[-1][0] + 1 - before - _SWAPPED), len(entries))
            more = 2 * _SWAPPED
        try:
            found = list(islice(reversed(entries), skip, skip + n + more))
        except RuntimeError:  # entries came in the middle of this
            found = list(islice(reversed(entries.copy()), skip, skip + n + more))
        if before is not None:
            found = [one for one in found if one[0] < before]
        return found[:n]

    def __iter__(self) -> Iterator[_T]:
        return iter(self.recent(self._held()))

    def __len__(self) -> int:
        if self.ttl is None:
            return self._held()
        return int(self._look(self._count)[0])

    def _held(self) -> int:
        """
        How many entries it has; some of them may not be in memory yet.
        """
        return len(self._entries)

    def _count(self, now: float) -> tuple[int, list[_Entry]]:
        gone = self._take_expired(now)
        return len(self._entries), gone

    def counts(self) -> dict[str, int]:
        """
        How many were appended under each key, those that are gone included.
        """
        return self._counts.plain()

    def info(self) -> RingInfo:
        """
        The figures of this moment.
        """
        entries = len(self)
        return RingInfo(
            entries=entries,
            bytes=self._value_bytes(),
            appended=self._numbered() + self._refused,
            dropped=self.dropped,
            expired=self._expired,
            max_entries=self.max_entries,
            max_bytes=self.max_bytes,
        )

    def memory_bytes(self) -> int:
        """
        Bytes of the values and of what the ring needs to hold them.
        """
        each = _SIZED_BYTES if self._sized else _PLAIN_BYTES
        if self._timed:
            each = _TIMED_BYTES
        return self._value_bytes() + each * len(self._entries)

    def _value_bytes(self) -> int:
        fast = self._fast
        if fast is None:
            return self._bytes
        if fast[4] is not None:
            fast[4][1](0)
            return next(fast[4][2])  # type: ignore[no-any-return]
        version = self.version
        known, estimate = self._estimate
        if known != version:
            entries = self._entries.copy()
            number = min(len(entries), _SAMPLE)
            step = len(entries) / number if number else 0.0
            sample = [entries[int(at * step)][1] for at in range(number)]
            measured = sum(sizeof(one, limit=_NODES) for one in sample)
            estimate = round(measured * len(entries) / number) if number else 0
            self._estimate = version, estimate
        return estimate

    # -- taking out --------------------------------------------------------------------

    def clear(self) -> None:
        """
        Drop all entries. The counters go on.
        """
        if self._is_inside():
            self._put_off(self.clear)
            return
        self._locked(self._empty)

    def drain(self) -> list[_T]:
        """
        Take all entries out, oldest first, and return them.
        """
        chosen, _ = self._look(self._take_all)
        self._drained = True
        return [one[1] for one in chosen]

    def _take_all(self, now: float) -> tuple[list[_Entry], list[_Entry]]:
        gone = self._take_expired(now)
        return self._empty(), gone

    def _empty(self) -> list[_Entry]:
        taken = self._pop(len(self._entries))
        self._left += len(taken)
        return taken

    def _pop(self, number: int) -> list[_Entry]:
        """
        Take out the oldest. One by one: the deque is filled meanwhile, nothing is lost.
        """
        taken: list[_Entry] = []
        try:
            while len(taken) < number:
                taken.append(self._take_oldest())
        except IndexError:  # a destructor in the middle of this has emptied it
            pass
        self._revisions += bool(taken)
        return taken

    def shrink(self, nbytes: int) -> int:
        """
        Drop oldest entries until *nbytes* are free or none is left; bytes freed.

        Does nothing, and returns 0, unless the ring is `shrinkable`.
        """
        if not self.shrinkable or self._is_inside():
            return 0
        freed = 0
        while freed < nbytes:
            taken = self._locked(self._take_some)
            if not taken:
                break
            freed += sum(
                one[2] if len(one) > 2 else sizeof(one[1], limit=_NODES)
                for one in taken
            )
        return freed

    def _take_some(self) -> list[_Entry]:
        """
        A tenth of the entries, the oldest: they are dropped, but nobody is warned.
        """
        taken = self._pop(-(-len(self._entries) // 10))
        self.told_drops += len(taken)
        return taken

    # -- the budget --------------------------------------------------------------------

    @property
    def rationed(self) -> bool:  # type: ignore[override]
        """
        True where it shares the budget: it keeps to its allowance within a lap.
        """
        return self.shrinkable

    @property
    def ceiling_bytes(self) -> int | None:
        """
        Its own cap, and what it needs to hold that many bytes is on top: so none.
        """
        return None

    def _ask_for_more(self) -> None:
        if self.seat is not None:
            self._keep_to_allowance(self.seat)

    def _keep_to_allowance(self, seat: Seat) -> None:
        """
        Ask for what it holds beyond its allowance, and drop what it does not get.
        """
        if self.allowance is None or self._is_inside():
            return
        over = self.memory_bytes() - self.allowance
        if over > 0 and seat.ask(over) and self.allowance is not None:
            over = self.memory_bytes() - self.allowance
        if over > 0:
            self.shrink(over)

    def _note_depth(self, oldest: int) -> None:
        entries = self._entries
        if entries and oldest - entries[0][0] <= len(entries) // 10:
            self._deep += 1

    def demand(self) -> Demand:
        """
        What happened since the last call: a ring has no misses that it knows of, so
        reads of its oldest tenth tell what that is worth.
        """
        deep, self._deep = self._deep, 0
        return Demand(marginal_hits=(deep,), misses=deep)

    # -- saving and restoring ----------------------------------------------------------

    def dump(self) -> list[JSON]:
        """
        The content for a store: a header, then the values as they are.

        JSON can take it if it can take the values. Ages are kept across restarts.
        """
        entries, gone = self._look(self._all)
        del gone
        head = self._described(self._numbered() + 1)
        if self.ttl is not None:
            now = self.registry.clock.monotonic()
            head["ages"] = [now - one[3] for one in entries]
        return [head, *(one[1] for one in entries)]

    def _described(self, after: int) -> dict[str, Any]:
        """
        The header of a dump whose last entry has the number before *after*.
        """
        head: dict[str, Any] = {
            "ring": _FORMAT,
            "next": after,
            "appended": after - 1 + self._refused,
            "dropped": self.dropped,
            "expired": self._expired,
            "drained": self._drained,
            "looked_at": self._looked_at,
            "counts": dict(self.counts()),
        }
        if self.ttl is not None:
            head["time"] = self.registry.clock.time()
        return head

    def _all(self, now: float) -> tuple[list[_Entry], list[_Entry]]:
        gone = self._take_expired(now)
        return list(self._entries.copy()), gone

    def load(self, dumped: list[JSON]) -> None:
        """
        Replace the content by what `dump` returned, within the caps of this ring.

        Raises ValueError for anything else.
        """
        head = dumped[0] if dumped else None
        if not isinstance(head, dict) or head.get("ring") != _FORMAT:
            msg = (
                f"{self.kind} {self.label!r} cannot load this: it is not what dump()"
                f" of format {_FORMAT} returns"
            )
            raise ValueError(msg)
        values = dumped[1:]
        clock = self.registry.clock
        now = clock.monotonic()
        # The wall clock may have been set back meanwhile: nothing gets younger.
        slept = max(0.0, clock.time() - head.get("time", clock.time()))
        ages = head.get("ages") or [0.0] * len(values)
        first = head["next"] - len(values)
        entries: list[_Entry]
        entries = list(enumerate(values, first))
        if self._sized or self._timed:
            entries = [(*one, sizeof(one[1], limit=_NODES)) for one in entries]
        if self._timed:
            times = [now - age - slept for age in ages]
            entries = [(*one, at) for one, at in zip(entries, times, strict=True)]
        if self._is_inside():
            self._put_off(lambda: self.load(dumped))
            return
        self._locked(self._replace, head, entries, now)

    def _replace(
        self, head: dict[str, Any], entries: list[_Entry], now: float
    ) -> tuple[list[_Entry], list[_Entry]]:
        self._refuse_if_closed()
        version = self.version
        old = self._empty()
        numbered = head["next"] - 1
        self._next = head["next"]
        self._refused = head["appended"] - numbered
        self._expired = head["expired"]
        # In `_left` goes what makes the other figures fit.
        self._left = numbered - len(entries) - (head["dropped"] - self._refused)
        self._counts = KeyCounts(head["counts"])
        self._drained = head.get("drained", False)
        self._looked_at = head.get("looked_at", False)
        gone: list[_Entry] = []
        if self._timed:
            self._entries = deque(entries)
            self._bytes = sum(one[2] for one in entries)
            gone += self._take_expired(now)
        else:
            self._begin(head["next"], entries)
        if self._timed or self._sized:
            self._make_room(gone)
        self._watch_oldest()
        self._revisions += version + 1 - self.version
        self.told_drops = self.dropped
        return old, gone

    # -- life --------------------------------------------------------------------------

    def _watch_oldest(self) -> None:
        if self.ttl is not None and self._entries:
            self._wake_at(self._entries[0][3] + self.ttl)

    def _tidy(self) -> None:
        if self.ttl is not None:
            self._locked(self._expire, self._now())

    def _expire(self, now: float) -> list[_Entry]:
        gone = self._take_expired(now)
        if self.ttl is not None and self._entries:
            self._wake_later(self._entries[0][3] + self.ttl, now)
        return gone

    def _after_fork(self, registry: Registry) -> None:
        super()._after_fork(registry)
        self._notice = None

    def _disarm(self) -> None:
        self._rest()
        self.clear()
        notice, self._notice = self._notice, None
        if notice is not None:
            notice.leave(self)

    def _release(self) -> None:
        self._disarm()
