"""
Which adapter knows a type: found along the type's MRO, once for each type.

Adapters are in files that are named after the library they are for. A file is loaded
when an object of that library is met, and it finds the library's types in
`sys.modules`. Adapters of other packages are loaded once, when an object comes of a
package that none of memguard's own adapters is for; the nearest base decides then.
"""

from __future__ import annotations

import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from types import FunctionType
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary, ref

from memguard._kinds.closers import identity
from memguard._phases import Phase
from memguard.typing import Adapter

__all__ = (
    "BY_PLACE",
    "GROUP",
    "PHASES",
    "container_adapter",
    "forget_plugins",
    "known_adapter",
    "quick",
)

#: The group of entry points in which other packages name their adapters.
GROUP: Final = "memguard.adapters"

#: The phases by their names.
PHASES: Final[Mapping[str, Phase]] = {str(phase): phase for phase in Phase}

#: The files under `_adopt` by the first part of the module that a type comes from.
#: Each has a tuple `ADAPTERS`.
FILES: Final[dict[str, tuple[str, ...]]] = {
    "_asyncio": ("aio", "aiochildren"),
    "_io": ("files",),
    "_queue": ("queues",),
    "_weakrefset": ("containers",),
    "aiohttp": ("aiohttp",),
    "apscheduler": ("apscheduler",),
    "asyncio": ("aio", "aiochildren", "queues"),
    "blinker": ("signals",),
    "builtins": ("containers", "cachetools_caches", "cachebox_caches"),
    "cachebox": ("cachebox_caches",),
    "cachetools": ("cachetools_caches",),
    "collections": ("containers",),
    "concurrent": ("executors",),
    "django": ("django_caches",),
    "functools": ("lru",),
    "httpx": ("httpx",),
    "io": ("files",),
    "logging": ("log_handlers",),
    "mmap": ("files",),
    "multiprocessing": ("processes", "queues"),
    "pyee": ("emitters",),
    "queue": ("queues",),
    "redis": ("redis",),
    "requests": ("requests",),
    "socket": ("sockets",),
    "sqlalchemy": ("sqlalchemy",),
    "subprocess": ("processes",),
    "tempfile": ("files",),
    "threading": ("timer",),
    "uvloop": ("aio", "aiochildren"),
    "weakref": ("containers",),
}
#: What has to be loaded for a file that is looked at for types of the interpreter.
NEEDS: Final[dict[str, str]] = {
    "cachebox_caches": "cachebox",
    "cachetools_caches": "cachetools",
}
#: What is adopted by the place it lies at.
BY_PLACE: Final = frozenset(
    {
        *(dict, list, set),
        *(Counter, OrderedDict, defaultdict, deque),
        *(WeakKeyDictionary, WeakSet, WeakValueDictionary),
    }
)

_DICT: Final = identity(dict)

Failed = Callable[[str, BaseException], None]

#: Types that were looked up, by identity as in `_kinds.closers`.
_known: Final[dict[int, tuple[Adapter, ...]]] = {}
#: Those of them for which one adapter decides without a look at the object, and which
#: are not adopted by place.
quick: Final[dict[int, Adapter]] = {}
_forgetful: Final[dict[int, ref[type]]] = {}
_loaded: Final[dict[str, tuple[Adapter, ...]]] = {}
_plugins: list[tuple[Adapter, ...]] = []


def known_adapter(obj: object, failed: Failed) -> Adapter | None:
    """
    The adapter for *obj*, or None. What goes wrong in a plug-in is told to *failed*.
    """
    kind = type(obj)
    found = _known.get(identity(kind)) or _learn(kind, failed)
    for adapter in found:
        if adapter.accepts(obj):
            return adapter
    if kind is FunctionType:
        # Decorators make them, of any package: these are not remembered by type.
        for adapter in _of_base(kind, _from_other_packages(failed)):
            if adapter.accepts(obj):
                return adapter
    return None


def container_adapter(failed: Failed) -> Adapter:
    """
    The adapter of what is adopted by its place.
    """
    return (_known.get(_DICT) or _learn(dict, failed))[0]


def forget_plugins() -> None:
    """
    Look for the adapters of other packages anew. For tests.
    """
    _plugins.clear()
    _known.clear()
    quick.clear()
    _forgetful.clear()


def _learn(kind: type, failed: Failed) -> tuple[Adapter, ...]:
    top = _package_of(kind)
    found = tuple(
        adapter
        for base in kind.__mro__
        if _package_of(base) == top
        for adapter in _of_base(base, _own(base))
    )
    if not found:
        others = _from_other_packages(failed)
        found = tuple(
            adapter
            for base in kind.__mro__
            for adapter in _of_base(base, [*_own(base), *others])
        )
    if not found or kind is FunctionType:
        return found  # asked again, when more is loaded
    key = identity(kind)

    def forget(_: ref[type], key: int = key) -> None:
        quick.pop(key, None)
        _known.pop(key, None)
        _forgetful.pop(key, None)

    _forgetful[key] = ref(kind, forget)
    _known[key] = found
    if type(found[0]).accepts is Adapter.accepts and kind not in BY_PLACE:
        quick[key] = found[0]
    return found


def _of_base(base: type, adapters: Sequence[Adapter]) -> Iterator[Adapter]:
    """
    Those of *adapters* that know this very type.
    """
    for adapter in adapters:
        if any(one is base for one in adapter.types()):
            yield adapter


def _package_of(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


def _own(kind: type) -> list[Adapter]:
    """
    Adapters of memguard for the library that *kind* comes from.
    """
    top = _package_of(kind)
    found: list[Adapter] = []
    for name in FILES.get(top, ()):
        if NEEDS.get(name, top) not in sys.modules:
            continue
        adapters = _loaded.get(name)
        if adapters is None:
            module: Any = import_module(f"memguard._adopt.{name}")
            adapters = _loaded.setdefault(name, module.ADAPTERS)
        found += adapters
    return found


def _from_other_packages(failed: Failed) -> tuple[Adapter, ...]:
    if _plugins:
        return _plugins[0]
    from importlib.metadata import entry_points

    found: list[Adapter] = []
    for point in entry_points(group=GROUP):
        try:
            found += _adapters_in(point.load())
        except Exception as error:  # a foreign package may do anything
            failed(f"loading the adapter {point.value}", error)
    # Without a lock, which a fork might leave taken: two threads may both have looked.
    _plugins.append(tuple(found))
    return _plugins[0]


def _adapters_in(loaded: Any) -> list[Adapter]:
    """
    An adapter, its class, or several of them.
    """
    many = loaded if isinstance(loaded, (tuple, list)) else (loaded,)
    found = [one() if isinstance(one, type) else one for one in many]
    for one in found:
        if not isinstance(one, Adapter):
            msg = (
                f"an entry point of {GROUP} must name an adapter (see"
                f" memguard.typing.Adapter), not a {type(one).__qualname__}"
            )
            raise TypeError(msg)
        if one.phase not in PHASES:
            msg = (
                f"the phase of adapter {type(one).__qualname__} must be one of"
                f" {', '.join(PHASES)}, not {one.phase!r}"
            )
            raise ValueError(msg)
    return found
