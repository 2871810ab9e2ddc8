"""
How many series one owner may have, so that a name made of a value is no leak.

`guard.series(f"latency.{route}")` is what everybody writes. The names that come after
the bound share one series, `other`; each place in the code that asks for one of them is
warned about once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary

from memguard._kinds.series import Series
from memguard._registry import OTHER
from memguard._sites import Site, call_site
from memguard._tree import Branch

__all__ = ("bounded_series",)

_S = TypeVar("_S", bound=Series)

_LOG: Final = logging.getLogger("memguard")
_PLACES: Final = 100  # warned about; further ones are not


class _Family:
    """
    What is known of an owner that has had a new name too many.

    `places` were warned about: code and offset, so no value is kept alive.
    """

    __slots__ = ("__weakref__", "names", "places")

    def __init__(self) -> None:
        # How many names of all kinds there were when the series were last counted.
        self.names = -1
        self.places: set[Any] = set()


_families: WeakKeyDictionary[Branch, _Family] = WeakKeyDictionary()


def bounded_series(
    owner: Branch,
    name: str,
    max_points: int,
    make: Callable[[str], _S],
    *,
    asleep: int = 0,
) -> _S:
    """
    The live series of that name, or a new one, not attached: that name's or `other`.

    *asleep* more series of the owner are not live and count as well. Threads that ask
    for new names at the same time may go over the bound by their number.
    """
    found: Any = owner.find(Series.kind, name) if type(name) is str else None
    if found is not None and found.max_points == max_points:
        return found  # type: ignore[no-any-return]
    made = make(name)
    if found is not None or name == OTHER or not _is_full(owner, asleep):
        return made
    shared: Any = owner.find(Series.kind, OTHER) or make(OTHER)
    shared.merged += 1
    _warn_once(owner)
    return shared  # type: ignore[no-any-return]


def _is_full(owner: Branch, asleep: int) -> bool:
    bound = owner.registry.series_names - asleep
    names = owner.names()
    if names < bound:
        return False
    family = _families.get(owner)
    if family is not None and family.names == names:
        return True  # counting a thousand names for each one too many would be dear
    shared = owner.find(Series.kind, OTHER) is not None
    if owner.names(Series.kind) - shared < bound:
        return False
    if shared:  # before that the next call finds one name more
        _families.setdefault(owner, _Family()).names = names
    return True


def _warn_once(owner: Branch) -> None:
    site = owner.registry.sites.here(4)
    place = (site._code, site._lasti) if isinstance(site, Site) else site
    places = _families.setdefault(owner, _Family()).places
    if place in places or len(places) >= _PLACES:
        return
    places.add(place)
    _LOG.warning(
        "memguard: %s %r has %d series, as many as it may have; the new name asked for"
        " at %s got the series %r, which all further names share. Use fewer names (the"
        " route and not the path), or raise the setting series_names",
        owner.kind,
        owner.label,
        owner.registry.series_names,
        call_site(Site(*place) if place else None),
        OTHER,
    )
