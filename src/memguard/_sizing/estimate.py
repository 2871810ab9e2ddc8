"""
A cheap estimate of sizes: a first look, and what it missed the last times.
"""

from __future__ import annotations

from typing import Any, Final

from memguard._sizing.anatomy import count_of, own_bytes
from memguard._sizing.extrapolate import extrapolated
from memguard._sizing.peek import peek
from memguard._sizing.plans import (
    ARRAY,
    BUFFER,
    BUILT_IN,
    FLAT,
    NOTHING,
    VIEW,
    plan_of,
)
from memguard._sizing.shared import Shared
from memguard._sizing.walk import walked

__all__ = ("Estimator",)

_FIRST: Final = 4  # walked, to begin with
_MOST: Final = 64  # puts from one walk to the next, at most
_DOUBTS: Final = 500  # walks in a row to find out what is shared, at most
_WEIGHT: Final = 1 / 16  # of a new figure in the mean
_KINDS: Final = 512  # more kinds than this share one mean
_NODES: Final = 2_000  # bound of one walk
_SAMPLE: Final = 600  # of more than that so many are read
_LARGE: Final = 512  # what holds so many things is always walked
# A figure is a surprise if it is off by more than this part of it, and so many bytes.
_OFF: Final = 1 / 4
_OFF_BYTES: Final = 64


class _Kind:
    """
    Values of one type whose first look gave about the same.
    """

    __slots__ = ("doubts", "every", "left", "rest", "walks")

    def __init__(self) -> None:
        self.walks = 0
        self.doubts = 0  # walks after which something might prove to be shared
        self.rest = 0.0  # mean of what the first look missed; negative if it was over
        self.every = 1  # of so many values one is walked
        self.left = 0  # until the next walk

    def learn(self, seen: int, size: int, chance: int, *, unsettled: bool) -> None:
        """
        Take in that a value of which *seen* bytes were seen had *size*.
        """
        error = abs(size - (seen + self.rest))
        calm = error <= _OFF * size + _OFF_BYTES
        self.walks += 1
        self.rest += (size - seen - self.rest) * max(1 / self.walks, _WEIGHT)
        if unsettled and self.doubts < _DOUBTS:
            self.doubts += 1
            self.every = 1
        elif not calm:
            self.every = max(1, self.every // 4)
        elif self.walks >= _FIRST:
            self.every = min(2 * self.every, _MOST)
        # Not each time after as many values: what is put may have a rhythm of its own.
        self.left = self.every // 2 + chance % (self.every + 1)


class Estimator:
    """
    Bytes of the values of one container, where exact figures would cost too much.

    Texts, numbers, bytes and buffers are always exact, and what holds more than 512
    things is always walked. Of others what is nearest is looked at, and a mean of what
    that missed is added; the mean is of values of the same type for which the look
    gave the same, to a factor of two. It is kept up by a walk of one of 64 values, and
    of up to each one while walks are surprising. What several values refer to is
    charged to the first few, and given back later. So the sum over many is right to a
    few per cent, and a single figure may be off where the look did not see all.

    Two threads may lose an update between them: a mean is then an observation older.
    """

    __slots__ = ("_chance", "_credit", "_kinds", "_shared")

    def __init__(self) -> None:
        # Type by identity (it must not be kept alive) and size of the first look.
        self._kinds: dict[tuple[int, int], _Kind] = {}
        self._shared = Shared()
        self._credit = 0  # bytes of what is shared that were charged too often
        self._chance = 12345

    def weigh(self, value: Any) -> int:
        """
        Bytes of *value*, estimated.
        """
        plan = BUILT_IN.get(id(type(value))) or plan_of(type(value))
        if plan is FLAT or plan is NOTHING:
            return own_bytes(value, plan)
        if plan is BUFFER or plan is VIEW or plan is ARRAY:
            return self._walked(value)
        if count_of(value, plan) > _LARGE:
            return self._walked(value)
        seen = peek(value, plan, self._shared.known)
        key = id(type(value)), seen.bit_length()
        kind = self._kinds.get(key) or self._new_kind(key)
        kind.left -= 1
        if kind.left > 0:
            size = max(0, seen + int(kind.rest))
        else:
            size = self._learned(value, plan, seen, kind)
        if self._credit > 0:
            # Not all, so that what is put is never for nothing.
            given = min(self._credit, size - size // 8)
            self._credit -= given
            size -= given
        return size

    def _learned(self, value: Any, plan: Any, seen: int, kind: _Kind) -> int:
        known = len(self._shared.known)
        size = self._walked(value)
        if len(self._shared.known) != known:
            # The look was at things that are left out from now on.
            kind.walks = kind.doubts = 0
            seen = peek(value, plan, self._shared.known)
        self._chance = self._chance * 1103515245 + 12345 & 0x7FFFFFFF
        unsettled = self._shared.unsettled
        kind.learn(seen, size, self._chance >> 8, unsettled=unsettled)
        return size

    def _walked(self, value: Any) -> int:
        """
        Bytes of *value* without what is shared.
        """
        shared = self._shared
        walk = walked(value, _NODES, dict.fromkeys(shared.known))
        if shared.learn(walk, value):
            before = walk
            walk = walked(value, _NODES, dict.fromkeys(shared.known))
            if before.complete and walk.complete:
                self._credit += max(0, before.total - walk.total) * shared.charged
        if walk.complete:
            return walk.total
        return extrapolated(value, _SAMPLE, shared.known)

    def _new_kind(self, key: tuple[int, int]) -> _Kind:
        if len(self._kinds) >= _KINDS:
            key = 0, key[1]
        return self._kinds.setdefault(key, _Kind())
