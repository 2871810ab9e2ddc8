"""
The caches of Django: what is in this process is measured, the rest is only named.

Where a backend keeps its entries in another process, closing it ends the connections
and clears nothing: others use what is there.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from memguard._sizing import sizeof
from memguard.typing import Adapter, Measured

__all__ = ("ADAPTERS",)

_LOOK: Final = 300
_ELSEWHERE: Final = (
    "the entries of this backend are not in this process; its server, its table or its"
    " directory bounds them (MAX_ENTRIES where the backend has it)"
)
_WAIT_S: Final = 0.1


def _class(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)


def _base() -> Any:
    return _class("django.core.cache.backends.base", "BaseCache")


class _Cache(Adapter):
    """
    What all backends have in common.
    """

    kind = "cache"
    module = "django"
    must_close = False
    path: ClassVar[tuple[str, str]]

    def types(self) -> Iterable[type]:
        found = _class(*self.path)
        return () if found is None else (found,)


class LocalMemory(_Cache):
    """
    A `LocMemCache` of Django: its entries and its MAX_ENTRIES. What was used longest
    ago goes once a tick, under its own lock. Closing it clears it.
    """

    phase = "caches"
    path = ("django.core.cache.backends.locmem", "LocMemCache")
    caps = ("max_entries",)
    inherited = True
    trims = True

    def label(self, obj: Any) -> str:
        return "LocMemCache"

    def measure(self, obj: Any) -> Measured:
        return Measured(
            entries=len(obj._cache),
            limit=obj._max_entries,
            details={"timeout": obj.default_timeout},
        )

    def weigh(self, obj: Any) -> int:
        # Pickled values and texts as keys: nothing of the application.
        return sizeof(obj._cache, limit=_LOOK) + sys.getsizeof(obj._expire_info)

    def trim(self, obj: Any, caps: Mapping[str, Any], most: int) -> list[Any]:
        taken: list[Any] = []
        if not obj._lock.acquire(timeout=_WAIT_S):
            return taken
        try:
            # As its own `_cull` does: what was used longest ago is at the end.
            for _ in range(min(most, len(obj._cache) - caps["max_entries"])):
                key, value = obj._cache.popitem()
                obj._expire_info.pop(key, None)
                taken.append(value)
        finally:
            obj._lock.release()
        return taken

    def close(self, obj: Any) -> None:
        obj.clear()


class Elsewhere(_Cache):
    """
    Any other cache of Django: files, a database, memcached, Redis. Closing it closes
    its connections and clears nothing.
    """

    path = ("django.core.cache.backends.base", "BaseCache")
    cannot = _ELSEWHERE

    def measure(self, obj: Any) -> Measured:
        return Measured(details={"timeout": obj.default_timeout})

    def close(self, obj: Any) -> None:
        obj.close()


class Proxy(_Cache):
    """
    `django.core.cache.cache`, which stands for the backend of each thread: as that.
    """

    phase = "caches"
    path = ("django.utils.connection", "ConnectionProxy")
    caps = ("max_entries",)
    cannot = _ELSEWHERE
    inherited = True
    trims = True

    def accepts(self, obj: Any) -> bool:
        handler = _class("django.core.cache", "CacheHandler")
        return handler is not None and isinstance(vars(obj)["_connections"], handler)

    def label(self, obj: Any) -> str:
        return f"cache {vars(obj)['_alias']}"

    def measure(self, obj: Any) -> Measured:
        backend = _behind(obj)
        return _way(backend).measure(backend)

    def weigh(self, obj: Any) -> int | None:
        backend = _behind(obj)
        return _way(backend).weigh(backend)

    def cannot_of(self, obj: Any) -> str:
        return _way(_behind(obj)).cannot

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        if _way(_behind(obj)) is not LOCAL:
            raise TypeError(_ELSEWHERE)

    def trim(self, obj: Any, caps: Mapping[str, Any], most: int) -> list[Any]:
        backend = _behind(obj)
        return _way(backend).trim(backend, caps, most)

    def close(self, obj: Any) -> None:
        backend = _behind(obj)
        _way(backend).close(backend)


def _behind(proxy: Any) -> Any:
    known = vars(proxy)
    return known["_connections"][known["_alias"]]


def _way(backend: Any) -> Adapter:
    return LOCAL if isinstance(backend, tuple(LOCAL.types())) else ELSEWHERE


LOCAL: Final = LocalMemory()
ELSEWHERE: Final = Elsewhere()
ADAPTERS = (LOCAL, ELSEWHERE, Proxy())
