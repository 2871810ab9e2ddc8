"""
The caps of a cache, changed while it runs: who has to leave goes in slices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from memguard._clock import give_way
from memguard._kinds.cache.cells import GONE, Cell, value_of
from memguard._kinds.cache.options import KEEP
from memguard._kinds.cache.store import SLICE, Departures, Store
from memguard._kinds.cache.trust import StandIn, key_of
from memguard._kinds.cache.weighed import ByWeight
from memguard._kinds.caps import byte_cap, count_cap
from memguard._kinds.container import NEVER
from memguard.typing import Size

__all__ = ("Capping",)

# Entries that leave in one slice where nobody is told and nothing is weighed.
_BULK: Final = 128


class Capping(Store):
    """
    Entries within caps that can be changed.
    """

    __slots__ = ()

    def resize(
        self, *, max_entries: int | None = KEEP, max_bytes: Size | None = KEEP
    ) -> None:
        """
        Change one cap or both, now; None lifts one of them. The least used leave, in
        slices: other threads run in between.
        """
        entries = (
            self._max_entries
            if max_entries is KEEP
            else count_cap(max_entries, "max_entries")
        )
        limit = (
            self._max_bytes if max_bytes is KEEP else byte_cap(max_bytes, "max_bytes")
        )
        if entries is None and limit is None:
            msg = (
                f"cache {self.label!r} would have no cap left; keep max_entries or"
                " max_bytes"
            )
            raise ValueError(msg)
        if self._is_inside():
            self._put_off(lambda: self.resize(max_entries=entries, max_bytes=limit))
            return
        self._refuse_if_closed()
        if limit is not None and not isinstance(self._engine, ByWeight):
            self._weigh_all()

        def step() -> None:
            self._max_entries = entries
            self._max_bytes = limit
            self._share_out()
            self._plain = self._is_plain()
            if limit is not None and not isinstance(self._engine, ByWeight):
                weighed = ByWeight(self._missing)
                weighed.take_over(self._engine)
                self._engine = weighed

        self._locked(step)
        self._evict("size", lambda: not self._is_over(), self._most)

    def _weigh_all(self) -> None:
        """
        From now on each entry is weighed; those that are in here are now.
        """

        def begin() -> list[Any]:
            self._weighs = True
            self._plain = False
            self._engine.credit = 0
            return list(self._engine.table.items())

        def step() -> None:
            # Others may be at it as well, or have taken it out.
            if self._engine.table.get(inner, GONE) is not held:
                return
            if type(held) is not Cell:
                self._engine.table[inner] = Cell(held, weight, NEVER, NEVER)
            elif held.weight:
                return
            else:
                held.weight = weight
            self._weight += weight

        for inner, held in self._locked(begin):
            key = key_of(inner)
            if key is None and type(inner) is StandIn:
                continue  # it has left meanwhile
            value = value_of(held)
            if value is held or not held.weight:
                weight = self._weights.of(key, value, self._failed)
                self._locked(step)

    def _evict(
        self,
        cause: str,
        is_enough: Callable[[], bool],
        most_left: int | None = None,
    ) -> int:
        """
        Let victims go until it *is_enough*, in slices; their weight. Where the number
        alone decides, *most_left* may stay.
        """

        def step() -> tuple[Departures, list[Any]]:
            engine = self._engine
            victims: Departures = []
            entries = len(engine.table)
            values: list[Any] = []
            if not is_enough():
                if not engine.is_settled():
                    engine.settle()
                if most_left is not None and self._is_simple():
                    some = min(_BULK, entries - most_left, entries // 8 + 1)
                    values = engine.evict_some(some)
                    engine.credit = 0
                else:
                    most = min(SLICE, entries // 8 + 1)
                    while len(victims) < most and not is_enough():
                        if not self._take_victim(cause, victims):
                            break
            engine.shrunk(entries)
            return victims, values

        freed = 0
        while True:
            gone, values = self._locked(step)
            if not gone and not values:
                return freed
            if self._weighs:
                freed += sum(held.weight for _, held, _ in gone)
            many = len(gone) + len(values) >= SLICE
            self._depart(gone)
            self._let_die(gone)
            for _ in values:
                self._causes[cause].add()
            self._drop_values(values)
            if many:
                give_way()

    def _is_simple(self) -> bool:
        """
        True where it is enough to know the values of who left. Lock held.
        """
        return self._on_evict is None and self._is_bare()
