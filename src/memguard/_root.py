"""
What only a root scope makes and tells: sessions, pools, hooks, memory, health.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from sys import _getframe
from typing import TYPE_CHECKING, Any, Final, TypeVar

from memguard._health import Health, Level, MemorySample, health_of, sample_of
from memguard._kinds.hook import ShutdownHook
from memguard._phases import Phase
from memguard._scope import Scope
from memguard._snapshot import GuardSnapshot, snapshot_of

if TYPE_CHECKING:
    from memguard._adopt import Adopted
    from memguard._events import Hook
    from memguard._kinds.limiter import Limiter
    from memguard._kinds.loghandler import BoundedLogHandler
    from memguard._kinds.pool import Pool
    from memguard._kinds.sink import Sink
    from memguard._lifecycle.control import Control
    from memguard._risks import Looks, RiskReport
    from memguard._sessions import Sessions
    from memguard._settings import Settings
    from memguard.typing import Duration, Size

__all__ = ("Root",)

# The function behind `adopt`, once it was loaded: an import costs a microsecond, each
# time, and thousands of objects are adopted at once.
_adopting: Final[list[Callable[..., Adopted]]] = []

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])


class Root(Scope):
    """
    The scope without an owner. `Guard` gives it its life.
    """

    __slots__ = ("control", "looks", "probe", "settings", "started_at")

    if TYPE_CHECKING:
        control: Control
        probe: Any
        looks: Looks | None
        settings: Settings
        started_at: float | None

    # -- what only a guard makes -------------------------------------------------------

    def sessions(
        self,
        name: str,
        *,
        max_sessions: int = 10_000,
        max_bytes: Size | None = None,
        max_live: int | None = None,
        ttl: Duration | None = "1h",
        max_age: Duration | None = None,
        hibernate_after: Duration | None = "10m",
        backup_every: Duration | None = None,
        grace: Duration = "30s",
        durable: bool = False,
        store: Any = None,
        codec: Any = "json",
        schema: int = 1,
        archive: Any = None,
    ) -> Sessions:
        """
        The sessions of that name, made on first call.
        """
        from memguard._sessions import Sessions

        return self._get_or_create(
            Sessions(
                self,
                name,
                max_sessions=max_sessions,
                max_bytes=max_bytes,
                max_live=max_live,
                ttl=ttl,
                max_age=max_age,
                hibernate_after=hibernate_after,
                backup_every=backup_every,
                grace=grace,
                durable=durable,
                store=store,
                codec=codec,
                schema=schema,
                archive=archive,
            )
        )

    def pool(
        self,
        name: str,
        factory: Callable[[], _T],
        *,
        reset: Callable[[_T], Any] | None = None,
        check: Callable[[_T], Any] | None = None,
        dispose: Callable[[_T], Any] | None = None,
        min_size: int = 0,
        max_size: int = 10,
        idle_timeout: Duration | None = "10s",
        acquire_timeout: Duration = "2s",
    ) -> Pool[_T]:
        """
        The pool of that name, made on first call.
        """
        calls = (factory, reset, check, dispose)
        asked = (*calls, min_size, max_size, idle_timeout, acquire_timeout)
        known: Pool[_T] | None = self._known("pool", name, asked)
        if known is not None:
            return known
        from memguard._kinds.pool import Pool

        pool = self._get_or_create(
            Pool(
                self,
                name,
                factory,
                reset=reset,
                check=check,
                dispose=dispose,
                min_size=min_size,
                max_size=max_size,
                idle_timeout=idle_timeout,
                acquire_timeout=acquire_timeout,
            )
        )
        pool.asked = asked
        return pool

    def limiter(
        self,
        name: str,
        *,
        max_in_flight: int = 5,
        max_bytes: Size | None = None,
        acquire_timeout: Duration = "30s",
    ) -> Limiter:
        """
        The limiter of that name, made on first call.
        """
        from memguard._kinds.limiter import Limiter

        return self._get_or_create(
            Limiter(
                self,
                name,
                max_in_flight=max_in_flight,
                max_bytes=max_bytes,
                acquire_timeout=acquire_timeout,
            )
        )

    def sink(
        self,
        path: str | os.PathLike[str],
        *,
        rotate_bytes: Size = "64MiB",
        keep: int = 5,
        buffer_bytes: Size = "1MiB",
        flush_every: Duration = "1s",
    ) -> Sink:
        """
        The sink of that file, made on first call: records as lines of JSON.
        """
        from memguard._kinds.sink import Sink

        return self._get_or_create(
            Sink(
                self,
                path,
                rotate_bytes=rotate_bytes,
                keep=keep,
                buffer_bytes=buffer_bytes,
                flush_every=flush_every,
            )
        )

    def log_handler(
        self,
        name: str,
        *,
        max_entries: int | None = 1000,
        max_bytes: Size | None = "1MiB",
        level: int | str = 0,
        directory: str | os.PathLike[str] | None = None,
    ) -> BoundedLogHandler:
        """
        The logging handler of that name, made on first call; it keeps the newest lines.

        Add it to the loggers whose records it is to keep. It ends with the guard, and
        leaves the loggers it was added to when it is closed.
        """
        from memguard._kinds.logkeeper import LogKeeper

        keeper = LogKeeper(
            self,
            name,
            max_entries=max_entries,
            max_bytes=max_bytes,
            level=level,
            directory=directory,
        )
        return self._get_or_create(keeper).handler

    def adopt(
        self, obj: Any, name: str | None = None, *, keep: bool = False, **caps: Any
    ) -> Adopted:
        """
        Own *obj*, which another library made: measured, ended, capped where it is safe.

        What is known of its type decides (`memguard.typing.Adapter`); TypeError for
        types that nobody knows, and for caps that cannot be kept, with the reason. It
        is referenced weakly unless *keep*. Adopting it again gives the same handle;
        with other caps that is a SpecConflict: use `resize` of the handle.

        Built-in containers are adopted by place: *obj* is then a module, a class or an
        object, and *name* the attribute. The place is read each time anew.
        `max_entries` and `max_bytes` are kept by taking out the oldest, once a tick
        while the guard runs; nothing is in the way of who uses the container.
        """
        if not _adopting:
            from memguard._adopt.adopting import adopt

            _adopting.append(adopt)
        return _adopting[0](self, obj, name, caps, _getframe(1), keep=keep)

    def on_shutdown(
        self, *, phase: Phase | str = Phase.WORK, timeout: Duration | None = None
    ) -> Callable[[_F], _F]:
        """
        Call the decorated function, sync or async, in *phase* of every shutdown.
        """

        def declare(fn: _F) -> _F:
            self._place(ShutdownHook(self, fn, phase=phase, timeout=timeout))
            return fn

        return declare

    def subscribe(self, hook: Hook) -> Callable[[], None]:
        """
        Call *hook* with every event of this guard; the result unsubscribes it.
        """
        return self.registry.events.subscribe(hook)

    # -- reading -----------------------------------------------------------------------

    def memory(self) -> MemorySample:
        """
        What the process uses and may use, now. Bytes, with the source of each.
        """
        return sample_of(self)

    @property
    def level(self) -> Level:
        """
        How near the limit the process is.
        """
        return self.memory().level

    def health(self) -> Health:
        """
        The health record (requirement A10); cheap enough for every second.
        """
        return health_of(self)

    def snapshot(self) -> GuardSnapshot:
        """
        What is owned now, by kind and by name.
        """
        self.registry.settle_collected()
        return snapshot_of(self)

    def risks(self) -> RiskReport:
        """
        What may grow without bound, in this guard and in all modules of the process.

        Looks at everything registered and adopted, at what modules, classes and their
        instances hold, at cached functions, queues, executors, logging and the like;
        the second look knows what has grown since the first. Runs no code of the
        application and keeps nothing alive. Takes some 10 ms to 1 s, in slices below a
        millisecond between which other threads run; inside an event loop call it with
        `await asyncio.to_thread(guard.risks)`.
        """
        from memguard._risks import Looks, risks_of

        if self.looks is None:
            self.looks = Looks()
        return risks_of(self, self.looks)
