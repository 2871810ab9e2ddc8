"""
The factories: how a branch makes and names the leaves it owns.

Containers are get-or-create under their name; timers, tasks and listeners of the
same name replace the old one. A leaf made on a guard that was not started yet is a
declaration: it is armed by `start` and disarmed by `shutdown`. Longer than 300 lines
because it is one list: a factory a kind, with all its options.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar, overload

from memguard._kinds.cache import Cache, make_cached
from memguard._kinds.emitter import Emitter, Listener
from memguard._kinds.families import bounded_series
from memguard._kinds.ring import Ring
from memguard._kinds.series import Series
from memguard._kinds.task import Task
from memguard._kinds.timer import Timer
from memguard._phases import DRAINING, NEW
from memguard._tree import Branch, Node, conflict
from memguard.errors import ScopeClosed

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    from memguard._kinds.cache import CachedFunction
    from memguard.typing import Duration, OnLimit, Size

    _P = ParamSpec("_P")

__all__ = ("Leaves",)

_T = TypeVar("_T")
_K = TypeVar("_K")
_V = TypeVar("_V")
_N = TypeVar("_N", bound=Node)


class Leaves(Branch):
    """
    A branch with a factory for every kind of leaf.
    """

    __slots__ = ()

    # -- placing -----------------------------------------------------------------------

    def _place(self, node: _N, *, replace: bool = False) -> _N:
        """
        Attach *node*, and arm it if the guard runs.
        """
        self._refuse_if_ended()
        if self.owner is None and self.state == NEW:
            node.declared = True
            node.state = NEW
        if replace and node.name is not None:
            self.replace_child(node)
        else:
            node.attach()
        if self.registry.running:
            node._arm()
        return node

    def _get_or_create(self, node: _N) -> _N:
        """
        The live container of that name if its spec is the same, else *node*.
        """
        self._refuse_if_ended()
        if self.owner is None and self.state == NEW:
            node.declared = True
            node.state = NEW
        first = self.name_child(node)
        if first is None:
            if self.registry.running:
                node._arm()
            return node
        changed = _changed(first.spec, node.spec)  # type: ignore[attr-defined]
        if changed:
            raise conflict(first, changed)
        return first  # type: ignore[return-value]

    def _known(self, kind: str, name: str, asked: tuple[Any, ...]) -> Any:
        """
        The live container that was asked for in the same words before, else None.

        For names that are asked for at each request: a tenth of making one to compare.
        """
        named = self._named
        if (
            named is None
            or type(name) is not str
            or self.state > DRAINING
            or self.registry.detached
        ):
            return None
        found: Any = named.get((kind, name))
        return found if found is not None and found.asked == asked else None

    def _refuse_if_ended(self) -> None:
        if self.state > DRAINING or self.registry.detached:
            raise ScopeClosed(self._ended_text())

    # -- timers and tasks --------------------------------------------------------------

    @overload
    def timer(
        self,
        fn: Callable[[], Any],
        *,
        every: Duration | None = None,
        after: Duration | None = None,
        name: str | None = None,
        jitter: float = 0.0,
        overlap: bool = False,
    ) -> Timer: ...

    @overload
    def timer(
        self,
        fn: None = None,
        *,
        every: Duration | None = None,
        after: Duration | None = None,
        name: str | None = None,
        jitter: float = 0.0,
        overlap: bool = False,
    ) -> Callable[[Callable[[], Any]], Timer]: ...

    def timer(
        self,
        fn: Callable[[], Any] | None = None,
        *,
        every: Duration | None = None,
        after: Duration | None = None,
        name: str | None = None,
        jitter: float = 0.0,
        overlap: bool = False,
    ) -> Any:
        """
        Call *fn* `every` so often, or once `after` a while; also as a decorator.

        Plain functions run on a small pool of threads, `async def` on the loop.
        Periods do not drift; one that comes while the last still runs is skipped and
        counted unless *overlap*. *jitter* is a fraction of `every`. A failing call is
        reported and the timer goes on. A timer of the same *name* is replaced.
        """

        def make(function: Callable[[], Any]) -> Timer:
            timer = Timer(
                self,
                function,
                every=every,
                after=after,
                name=name,
                jitter=jitter,
                overlap=overlap,
            )
            return self._place(timer, replace=name is not None)

        return make if fn is None else make(fn)

    def spawn(self, coro: Coroutine[Any, Any, Any], *, name: str | None = None) -> Task:
        """
        Run *coro* as a task of the running loop (else of the guard's), and own it.

        It is cancelled when the scope closes. A failure that nobody awaits is
        reported. A task of the same *name* is replaced: cancelled.
        """
        task = Task(self, coro, name=name)
        try:
            placed = self._place(task, replace=name is not None)
        except ScopeClosed:
            task.refuse()
            raise
        if not self.registry.running:
            # A task is no declaration: its loop is there, so it runs, guard or not.
            placed._arm()
        return placed

    # -- emitters ----------------------------------------------------------------------

    def emitter(self, name: str, *, max_listeners: int | None = 10) -> Emitter:
        """
        The emitter of that name, made on first call.
        """
        return self._get_or_create(Emitter(self, name, max_listeners=max_listeners))

    def listen(self, emitter: Emitter, event: str, fn: Callable[..., Any]) -> Listener:
        """
        Listen to *event* of an emitter for as long as this scope lives.
        """
        return emitter.listen(event, fn, owner=self)

    # -- containers --------------------------------------------------------------------

    def ring(
        self,
        name: str,
        *,
        of: type[_T] = object,  # type: ignore[assignment]
        max_entries: int | None = 1000,
        max_bytes: Size | None = None,
        ttl: Duration | None = None,
        shrinkable: bool = False,
    ) -> Ring[_T]:
        """
        The ring of that name: the newest entries up to both caps. *of* gives the type.
        """
        asked = (max_entries, max_bytes, ttl, shrinkable)
        known: Ring[_T] | None = self._known("ring", name, asked)
        if known is not None:
            return known
        ring = self._get_or_create(
            Ring(
                self,
                name,
                of=of,
                max_entries=max_entries,
                max_bytes=max_bytes,
                ttl=ttl,
                shrinkable=shrinkable,
            )
        )
        ring.asked = asked
        return ring

    def series(self, name: str, *, max_points: int = 1000) -> Series:
        """
        The series of that name: the newest figures, and their statistics.

        The number of names an owner may have is bounded (the setting `series_names`):
        further ones share the series `other`, counted, and warned about once a place.
        """
        asked = (max_points,)
        known: Series | None = self._known("series", name, asked)
        if known is not None:
            return known
        series = self._get_or_create(
            bounded_series(
                self,
                name,
                max_points,
                lambda known: Series(self, known, max_points=max_points),
            )
        )
        if series.max_points == max_points:  # else it is one that many names share
            series.asked = asked
        return series

    def cache(
        self,
        name: str,
        loader: Callable[[_K], _V] | None = None,
        *,
        max_entries: int | None = None,
        max_bytes: Size | None = None,
        ttl: Duration | None = None,
        idle: Duration | None = None,
        jitter: float = 0.0,
        strict: bool = False,
        weigher: Any = None,
        on_evict: Callable[..., Any] | None = None,
        priority: int = 0,
        floor_bytes: Size = 0,
        on_limit: OnLimit = "evict",
    ) -> Cache[_K, _V]:
        """
        The cache of that name, made on first call. Thread-safe.
        """
        return self._get_or_create(
            Cache(
                self,
                name,
                loader,
                max_entries=max_entries,
                max_bytes=max_bytes,
                ttl=ttl,
                idle=idle,
                jitter=jitter,
                strict=strict,
                weigher=weigher,
                on_evict=on_evict,
                priority=priority,
                floor_bytes=floor_bytes,
                on_limit=on_limit,
            )
        )

    @overload
    def cached(self, fn: Callable[_P, _T]) -> CachedFunction[_P, _T]: ...

    @overload
    def cached(
        self,
        fn: None = None,
        *,
        max_entries: int | None = None,
        max_bytes: Size | None = None,
        ttl: Duration | None = None,
        idle: Duration | None = None,
        jitter: float = 0.0,
        strict: bool = False,
        weigher: Any = None,
        on_evict: Callable[..., Any] | None = None,
        priority: int = 0,
        floor_bytes: Size = 0,
        on_limit: OnLimit = "evict",
        store: Callable[[Any], bool] | None = None,
        load_timeout: Duration = "30s",
        name: str | None = None,
    ) -> Callable[[Callable[_P, _T]], CachedFunction[_P, _T]]: ...

    def cached(self, fn: Any = None, **options: Any) -> Any:
        """
        Cache the results of a function, sync or async, in a cache of this scope.

        Bare or with the options of `cache`, and `store` (which results to keep: not
        None by default) and `load_timeout`. Failures are never stored; concurrent
        calls for one key load once.
        """

        def make(function: Any) -> Any:
            return make_cached(self._get_or_create, self, function, **options)

        return make if fn is None else make(fn)


def _changed(first: dict[str, Any], second: dict[str, Any]) -> str:
    """
    The options in which two specs differ, for the error's text.
    """
    return ", ".join(
        name
        for name in first.keys() | second.keys()
        if first.get(name) != second.get(name)
    )
