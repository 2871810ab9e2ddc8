"""
Rings: the newest entries, up to a number, to bytes and to an age.

A ring never raises over a cap: the oldest entries make room. Longer than 300 lines
because the verbs and what they do under the lock belong side by side.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, ClassVar, Final, Generic, TypeVar

from memguard._kinds.caps import byte_cap, count_cap, lifetime
from memguard._kinds.container import Container
from memguard._kinds.drops import DropNotice, notice_of
from memguard._kinds.page import Page
from memguard._phases import Phase
from memguard._records import record
from memguard._registry import OTHER
from memguard._sizing import Estimator, sizeof
from memguard._tree import Branch
from memguard.typing import JSON, Duration, Size

__all__ = ("Page", "Ring", "RingInfo")

_T = TypeVar("_T")

_KEYS: Final = 100  # counted apart; further ones are counted as `other`
_NODES: Final = 2_000  # bound of one exact size
_FORMAT: Final = 1  # of `dump`


class _Entry:
    """
    One value with its sequence number, its bytes, and when it came (monotonic time).
    """

    __slots__ = ("at", "bytes", "seq", "value")

    def __init__(self, seq: int, value: Any, size: int, at: float) -> None:
        self.seq = seq
        self.value = value
        self.bytes = size
        self.at = at


class _Gone:
    """
    What a step took out. Its values are destroyed by whoever left the lock.
    """

    __slots__ = ("dropped", "entries", "refused", "unread")

    def __init__(
        self, entries: list[_Entry], dropped: int, unread: int, *, refused: bool
    ) -> None:
        self.entries = entries
        self.dropped = dropped
        self.unread = unread
        self.refused = refused


_ENTRY_BYTES: Final = (
    sys.getsizeof(_Entry(1, None, 1, 1.0))
    + 2 * sys.getsizeof(1 << 30)
    + sys.getsizeof(1.0)
)


@record
class RingInfo:
    """
    Figures of a ring at one moment.

    `bytes` is the size of the values: measured at each append where there is a byte
    cap, else estimated. `appended` counts what was offered, `dropped` what had to make
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

    Drops are told at most once a minute for all rings of one name: as a warning when
    entries were lost that nobody had read (a buffer with a slow consumer), else on
    debug level (a history, as it should be). `recent`, `page`, `drain` and iteration
    read.
    """

    __slots__ = (
        "_appended",
        "_bytes",
        "_counts",
        "_dropped",
        "_entries",
        "_estimator",
        "_expired",
        "_next",
        "_notice",
        "_read",
        "max_bytes",
        "max_entries",
        "shrinkable",
        "ttl",
        "version",
    )

    kind: ClassVar[str] = "ring"
    phase = Phase.CACHES

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
        #: Changes whenever the content does, so that a session knows what to save.
        self.version = 0
        self._estimator = None if self.max_bytes else Estimator()
        self._notice: DropNotice | None = None
        self._forget()

    def _forget(self) -> None:
        self._entries: deque[_Entry] = deque()
        self._bytes = 0
        self._next = 1  # the sequence number that comes next
        self._read = 0  # the newest one that somebody has read
        self._appended = 0
        self._dropped = 0
        self._expired = 0
        self._counts: dict[str, int] = {}

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
        key = type(value).__name__ if key is None else _checked_key(key)
        if self._is_inside():
            self._put_off(lambda: self.append(value, key))
            return True
        size = self._weigh(value)
        gone = self._locked(self._append, value, key, size, self._now())
        if gone.dropped:
            self._tell(gone.dropped, gone.unread)
        return not gone.refused

    def extend(self, values: Iterable[_T], key: str | None = None) -> int:
        """
        Append each of *values*; returns how many were not refused.
        """
        return sum(self.append(one, key) for one in values)

    def _append(self, value: Any, key: str, size: int, now: float) -> _Gone:
        self._refuse_if_closed()
        self.version += 1
        self._appended += 1
        counts = self._counts
        if key not in counts and len(counts) >= _KEYS:
            key = OTHER
        counts[key] = counts.get(key, 0) + 1
        gone = self._take_expired(now)
        if self.max_bytes is not None and size > self.max_bytes:
            self._dropped += 1
            return _Gone(gone, 1, 1, refused=True)
        self._entries.append(_Entry(self._next, value, size, now))
        self._next += 1
        self._bytes += size
        dropped, unread = self._make_room(gone)
        self._watch_oldest()
        return _Gone(gone, dropped, unread, refused=False)

    def _make_room(self, gone: list[_Entry]) -> tuple[int, int]:
        entries, most, limit = self._entries, self.max_entries, self.max_bytes
        dropped = unread = 0
        while (most is not None and len(entries) > most) or (
            limit is not None and self._bytes > limit
        ):
            oldest = self._take_oldest(gone)
            dropped += 1
            unread += oldest.seq > self._read
        self._dropped += dropped
        return dropped, unread

    def _take_oldest(self, gone: list[_Entry]) -> _Entry:
        oldest = self._entries.popleft()
        gone.append(oldest)
        self._bytes -= oldest.bytes
        return oldest

    def _take_expired(self, now: float) -> list[_Entry]:
        gone: list[_Entry] = []
        ttl, entries = self.ttl, self._entries
        if ttl is not None:
            while entries and entries[0].at + ttl <= now:
                self._take_oldest(gone)
            self._expired += len(gone)
            self.version += bool(gone)
        return gone

    def _weigh(self, value: Any) -> int:
        estimator = self._estimator
        if estimator is None:
            return sizeof(value, limit=_NODES)
        return estimator.weigh(value)

    def _now(self) -> float:
        return 0.0 if self.ttl is None else self.registry.clock.monotonic()

    def _tell(self, dropped: int, unread: int) -> None:
        notice = self._notice
        if notice is None:
            assert self.name is not None
            notice = self._notice = notice_of(self.registry, self.kind, self.name)
        notice.add(self.registry, dropped, unread, self.site)

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
        return Page(tuple(one.value for one in chosen), older)

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
        entries = self._entries
        if not entries:
            return [], None, gone
        # Entries only ever leave at the old end: sequence numbers have no gaps.
        first = entries[0].seq
        stop = len(entries) if before is None else before - first
        stop = min(max(0, stop), len(entries))
        start = max(0, stop - n)
        chosen = list(islice(entries, start, stop))
        if chosen:
            self._read = max(self._read, chosen[-1].seq)
        return chosen, first + start if start else None, gone

    def __iter__(self) -> Iterator[_T]:
        return iter(self.recent(len(self._entries)))

    def __len__(self) -> int:
        if self.ttl is None:
            return len(self._entries)
        return int(self._look(self._count)[0])

    def _count(self, now: float) -> tuple[int, list[_Entry]]:
        gone = self._take_expired(now)
        return len(self._entries), gone

    def counts(self) -> dict[str, int]:
        """
        How many were appended under each key, those that are gone included.
        """
        return dict(self._counts)

    def info(self) -> RingInfo:
        """
        The figures of this moment.
        """
        return RingInfo(
            entries=len(self),
            bytes=self._bytes,
            appended=self._appended,
            dropped=self._dropped,
            expired=self._expired,
            max_entries=self.max_entries,
            max_bytes=self.max_bytes,
        )

    def memory_bytes(self) -> int:
        """
        Bytes of the values and of what the ring needs to hold them.
        """
        return self._bytes + _ENTRY_BYTES * len(self._entries)

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
        return [one.value for one in chosen]

    def _take_all(self, now: float) -> tuple[Iterable[_Entry], list[_Entry]]:
        gone = self._take_expired(now)
        return self._empty(), gone

    def _empty(self) -> deque[_Entry]:
        entries, self._entries = self._entries, deque()
        self._bytes = 0
        self.version += bool(entries)
        return entries

    def shrink(self, nbytes: int) -> int:
        """
        Drop oldest entries until *nbytes* are free or none is left; bytes freed.

        Does nothing, and returns 0, unless the ring is `shrinkable`.
        """
        if not self.shrinkable or self._is_inside():
            return 0
        return sum(one.bytes for one in self._locked(self._shrink, nbytes))

    def _shrink(self, nbytes: int) -> list[_Entry]:
        gone: list[_Entry] = []
        target = self._bytes - nbytes
        while self._entries and self._bytes > target:
            self._take_oldest(gone)
        self._dropped += len(gone)
        self.version += bool(gone)
        return gone

    # -- saving and restoring ----------------------------------------------------------

    def dump(self) -> list[JSON]:
        """
        The content for a store: a header, then the values as they are.

        JSON can take it if it can take the values. Ages are kept across restarts.
        """
        entries, gone = self._look(self._all)
        del gone
        head: dict[str, JSON] = {
            "ring": _FORMAT,
            "next": self._next,
            "read": self._read,
            "appended": self._appended,
            "dropped": self._dropped,
            "expired": self._expired,
            "counts": self.counts(),
        }
        if self.ttl is not None:
            clock = self.registry.clock
            head["time"] = clock.time()
            now = clock.monotonic()
            head["ages"] = [now - one.at for one in entries]
        return [head, *(one.value for one in entries)]

    def _all(self, now: float) -> tuple[list[_Entry], list[_Entry]]:
        gone = self._take_expired(now)
        return list(self._entries), gone

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
        entries = [
            _Entry(first + at, value, self._weigh(value), now - ages[at] - slept)
            for at, value in enumerate(values)
        ]
        if self._is_inside():
            self._put_off(lambda: self.load(dumped))
            return
        self._locked(self._replace, head, deque(entries), now)

    def _replace(
        self, head: dict[str, Any], entries: deque[_Entry], now: float
    ) -> tuple[deque[_Entry], list[_Entry]]:
        self._refuse_if_closed()
        old = self._empty()
        self._entries = entries
        self._bytes = sum(one.bytes for one in entries)
        self._next = head["next"]
        self._read = head["read"]
        self._appended = head["appended"]
        self._dropped = head["dropped"]
        self._expired = head["expired"]
        self._counts = dict(head["counts"])
        self.version += 1
        gone = self._take_expired(now)
        self._make_room(gone)
        self._watch_oldest()
        return old, gone

    # -- life --------------------------------------------------------------------------

    def _watch_oldest(self) -> None:
        if self.ttl is not None and self._entries:
            self._wake_at(self._entries[0].at + self.ttl)

    def _tidy(self) -> None:
        if self.ttl is not None:
            self._locked(self._expire, self._now())

    def _expire(self, now: float) -> list[_Entry]:
        gone = self._take_expired(now)
        if self.ttl is not None and self._entries:
            self._wake_later(self._entries[0].at + self.ttl, now)
        return gone

    def _disarm(self) -> None:
        self._rest()
        self.clear()

    def _release(self) -> None:
        self._disarm()


def _checked_key(key: Any) -> str:
    if not isinstance(key, str):
        msg = f"the key of an entry must be a text, not a {type(key).__name__}"
        raise TypeError(msg)
    # A plain text, so that looking it up runs no code of a subclass.
    return str.__str__(key)
