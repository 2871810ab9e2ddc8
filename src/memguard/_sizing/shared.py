"""
What several values of one container refer to: charged to none of them.

A value's parts are held by the value; what somebody else holds as well shows in its
reference count. That alone does not make it shared: the caller's variables hold parts
of a value that is just being put. But each value that refers to a shared thing adds one
reference, so a thing whose count grew is shared. Things are known by identity and
nothing is kept alive; because identities are used again, a thing counts as shared only
while others still hold it as often as then.
"""

from __future__ import annotations

from collections import Counter
from sys import getrefcount
from typing import Final

from memguard._sizing.walk import Walk

__all__ = ("Shared",)

# The thing's first holder, the dict of what was seen, the argument of getrefcount.
_SOLE: Final = 3
# So many others hold only what belongs to the process: constants, what is immortal.
_WIDELY: Final = 1000
_SMALL: Final = (str, bytes, int, float)  # not worth walking for
_KNOWN: Final = 1000  # shared things, then the longest known is forgotten
_SUSPECTS: Final = 2000  # of a generation; the one before is kept, too


class Shared:
    """
    The shared things of one container, and what may be found to be one.
    """

    __slots__ = ("_old", "_young", "known", "unsettled")

    def __init__(self) -> None:
        #: Identity to the number of outside holders it must at least have.
        self.known: dict[int, int] = {}
        # Identity to outside holders at the last sight, and sightings.
        self._young: dict[int, tuple[int, int]] = {}
        self._old: dict[int, tuple[int, int]] = {}
        self.unsettled = False

    def changed(self, walk: Walk, root: object) -> int:
        """
        Learn from a walk that left out what was known; how often the newly found were
        charged before, 0 if nothing is new, -1 if something known has gone.

        `unsettled` tells afterwards whether a large thing may yet prove to be shared.
        """
        self.unsettled = False
        again = Counter(map(id, walk.again))
        if self._forgot(walk, again):
            return -1
        charged = 0
        counts = map(getrefcount, walk.seen.values())
        for key, count in list(zip(walk.seen, counts, strict=True)):
            if count <= _SOLE:
                continue
            # Whatever was met again is once more in the value, and in `again`.
            outside = count - _SOLE - 2 * again[key]
            if outside > 0 and key not in self.known and key != id(root):
                times = self._suspect(key, outside)
                charged = max(charged, times)
                if not times and type(walk.seen[key]) not in _SMALL:
                    self.unsettled = True
        return charged

    def _forgot(self, walk: Walk, again: Counter[int]) -> bool:
        gone = False
        for one in walk.again:
            key = id(one)
            if key in self.known:
                # In the value and in `again` each time; the variable, the argument.
                outside = getrefcount(one) - 2 * again[key] - 2
                if outside < self.known[key]:
                    gone = self.known.pop(key, None) is not None
                else:
                    self.known[key] = max(self.known[key], outside // 2)
        return gone

    def _suspect(self, key: int, outside: int) -> int:
        last, sightings = self._young.get(key) or self._old.get(key, (outside, 0))
        if outside < _WIDELY and outside <= last:
            if len(self._young) >= _SUSPECTS:
                self._old, self._young = self._young, {}
            self._young[key] = outside, sightings + 1
            return 0
        if len(self.known) >= _KNOWN:
            self.known.pop(next(iter(self.known)), None)
        self.known[key] = max(2, outside // 2)
        return max(1, sightings)
