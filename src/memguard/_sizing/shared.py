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
# So many hold only what belongs to the process: constants, what is immortal.
# So many others are more than the variables of callers, if it is seen again.
_MANY: Final = 6
_WIDELY: Final = 1000
_SMALL: Final = (str, bytes, int, float)  # not worth walking for
_KNOWN: Final = 1000  # shared things, then the longest known is forgotten
_SUSPECTS: Final = 2000  # of a generation; the one before is kept, too


class Shared:
    """
    The shared things of one container, and what may be found to be one.
    """

    __slots__ = ("_old", "_young", "charged", "known", "unsettled")

    def __init__(self) -> None:
        #: Identity to the number of outside holders it must at least have.
        self.known: dict[int, int] = {}
        #: How often what was found last had been charged too much.
        self.charged = 0
        #: Whether a part of the last value may yet prove to be shared.
        self.unsettled = False
        # Identity to outside holders at the first sight, and sightings.
        self._young: dict[int, tuple[int, int]] = {}
        self._old: dict[int, tuple[int, int]] = {}

    def learn(self, walk: Walk, root: object) -> bool:
        """
        Take in a walk from *root* that left out what is known; True where it would go
        another way now.
        """
        self.charged = 0
        self.unsettled = False
        again = Counter(map(id, walk.again))
        changed = self._forget(walk, again)
        counts = map(getrefcount, walk.seen.values())
        for key, count in list(zip(walk.seen, counts, strict=True)):
            if count <= _SOLE or key in self.known or key == id(root):
                continue
            # Whatever was met again is once more in the value, and in `again`.
            outside = count - _SOLE - 2 * again[key]
            if outside > 0:
                small = type(walk.seen[key]) in _SMALL
                if self._is_shared(key, outside, small=small):
                    changed = True
                elif not small:
                    self.unsettled = True
        return changed

    def _forget(self, walk: Walk, again: Counter[int]) -> bool:
        """
        True where something else was at the place of what was known.
        """
        changed = False
        for one in walk.again:
            key = id(one)
            least = self.known.get(key)
            if least is None:
                continue
            # In the value and in `again` each time; the variable, the argument.
            outside = getrefcount(one) - 2 * again[key] - 2
            if outside >= least:
                self.known[key] = max(least, outside // 2)
            else:
                self.known.pop(key, None)
                changed = True
        return changed

    def _is_shared(self, key: int, outside: int, *, small: bool) -> bool:
        first, sightings = self._young.get(key) or self._old.get(key, (outside, 0))
        seen_before = sightings > 0 and (outside > first or outside >= _MANY)
        if not seen_before and not (small and outside >= _WIDELY):
            if len(self._young) >= _SUSPECTS:
                self._old, self._young = self._young, {}
            self._young[key] = first, sightings + 1
            return False
        if len(self.known) >= _KNOWN:
            self.known.pop(next(iter(self.known)), None)
        self.known[key] = max(2, outside * 3 // 4)
        # Its first holder outside may have been an entry, which was charged as well.
        self.charged = max(self.charged, sightings - (first > 1))
        return True
