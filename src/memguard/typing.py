"""
Protocols and aliases of memguard's public interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal, Protocol, TypeAlias, runtime_checkable

from memguard._records import field, record

__all__ = (
    "JSON",
    "Adapter",
    "Affinity",
    "Clock",
    "Duration",
    "Handle",
    "ManagedResource",
    "Measured",
    "OnLimit",
    "Risk",
    "Scheduler",
    "SiteLevel",
    "Size",
)

#: Bytes, or a text such as "64MiB".
Size: TypeAlias = int | str
#: Seconds, or a text such as "10m".
Duration: TypeAlias = float | int | str
#: Where a close may run: on any thread, on the thread or on the loop of its creation.
Affinity: TypeAlias = Literal["any", "thread", "loop"]
OnLimit: TypeAlias = Literal["evict", "raise"]
SiteLevel: TypeAlias = Literal["off", "sampled", "full"]
JSON: TypeAlias = Any


class Clock(Protocol):
    """
    The two clocks memguard reads.
    """

    def monotonic(self) -> float:
        """
        Seconds since some fixed point, never going back.
        """

    def time(self) -> float:
        """
        Seconds since 1970 in UTC.
        """


class Handle(Protocol):
    """
    One scheduled call.
    """

    def cancel(self) -> None:
        """
        Do not call; drop the function at once. Safe to call twice.
        """


class Scheduler(Protocol):
    """
    Calls functions later, and off the caller's thread.

    A scheduler may be used before `start`: what is due then runs once it started.
    """

    def start(self) -> None:
        """
        Begin to run what is due. Safe to call twice.
        """

    def stop(self, timeout: float) -> None:
        """
        Stop, waiting at most *timeout* seconds for a call in progress.
        """

    def call_at(self, when: float, fn: Callable[[], object]) -> Handle:
        """
        Call *fn* at *when* on the monotonic clock. It must be short.
        """

    def submit(self, fn: Callable[[], object]) -> None:
        """
        Call *fn*, which may be slow, soon and on another thread.
        """


@runtime_checkable
class ManagedResource(Protocol):
    """
    What any class can offer to be managed as a whole (requirement E8).

    memguard calls `close` once; `force_close` only when `close` hangs or raises;
    `memory_bytes` in snapshots. None of them is called with a lock held.
    """

    def close(self) -> Any:
        """
        Release everything. May return an awaitable.
        """

    def memory_bytes(self) -> int:
        """
        Bytes held now; cheap, for it is called in snapshots.
        """

    def force_close(self) -> Any:
        """
        Release at once, whatever state things are in. Must not wait.
        """


@record
class Measured:
    """
    What an adapter reads off a foreign object; None for what nobody can tell.

    `limit` and `byte_limit` are the bounds that the object has of its own, or keeps
    now. `details` are further figures and words by name, never values of users.
    """

    entries: int | None = None
    bytes: int | None = None
    limit: int | None = None
    hits: int | None = None
    misses: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    byte_limit: int | None = None


@record
class Risk:
    """
    What may grow without bound in a foreign object, for `guard.risks()`.

    `what` names what grows ("entries", "waiting work items"), `reason` says why nothing
    bounds it, `fix` what to do, both in a sentence.
    """

    what: str
    reason: str
    fix: str


class Adapter:
    """
    How `adopt` treats the objects of some foreign types. Derive one class a type.

    memguard makes one instance, keeps it, and calls it from any thread, with no lock
    held; it must keep nothing of the objects it is given. Everything but `types` and
    `measure` may be left as it is. For a package of its own: name an instance, or a
    list of them, in the entry point group `memguard.adapters`.
    """

    #: What the object is counted as: "cache", "client", "executor", ...
    kind: ClassVar[str] = "resource"
    #: The phase of the shutdown in which it is closed.
    phase: ClassVar[str] = "clients"
    #: Where `close` may run.
    affinity: ClassVar[Affinity] = "any"
    #: The package whose types these are. It is never imported: as long as it is not
    #: loaded, there are no objects of its types.
    module: ClassVar[str] = ""
    #: The names of the caps that `apply` takes.
    caps: ClassVar[tuple[str, ...]] = ()
    #: What cannot be capped safely, and why, as a sentence.
    cannot: ClassVar[str] = ""
    #: True where an object that is collected before its close is a fault.
    must_close: ClassVar[bool] = True
    #: True where a forked child may go on with the object as its own.
    inherited: ClassVar[bool] = False
    #: True where `apply` is no matter of a moment: `trim` keeps the caps, once a tick.
    trims: ClassVar[bool] = False
    #: True where `close` waits for threads or processes: never in a loop's own thread.
    waits: ClassVar[bool] = False
    #: True where `force` ends the object without waiting.
    forces: ClassVar[bool] = False
    #: True where `close` is an `async def`. Found out by itself.
    awaits: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        code = getattr(cls.close, "__code__", None)
        cls.awaits = bool(code and code.co_flags & 0x80)  # inspect.CO_COROUTINE

    def types(self) -> Iterable[type]:
        """
        The types it knows, out of modules that are loaded: never import one here.
        """
        raise NotImplementedError

    def accepts(self, obj: Any) -> bool:
        """
        False for objects of these types that are none of its own.
        """
        return True

    def label(self, obj: Any) -> str:
        """
        What people call it who gave it no name.
        """
        return type(obj).__qualname__

    def measure(self, obj: Any) -> Measured:
        """
        What it holds now. Cheap (some microseconds): it is read once a tick.
        """
        raise NotImplementedError

    def weigh(self, obj: Any) -> int | None:
        """
        Its bytes, estimated within a few milliseconds; None where nobody can tell.
        """
        return None

    def cannot_of(self, obj: Any) -> str:
        """
        The sentence about what cannot be capped of this very object; "" for nothing.
        """
        return self.cannot

    def check(self, obj: Any, caps: Mapping[str, Any]) -> None:
        """
        Raise TypeError or ValueError for caps that this very object cannot have.
        """

    def apply(self, obj: Any, caps: Mapping[str, Any]) -> None:
        """
        Give it these caps; one that is None is lifted. All are of `caps`, and checked.
        """

    def trim(self, obj: Any, caps: Mapping[str, Any], most: int) -> list[Any]:
        """
        Take out at most *most* of what is over the caps, and return it; [] when done.
        """
        return []

    def close(self, obj: Any) -> Any:
        """
        End it in its own way; may return an awaitable.
        """

    def force(self, obj: Any) -> None:
        """
        End it at once, whatever state it is in. Must not wait.
        """

    def is_open(self, obj: Any) -> bool:
        """
        False where it was closed by somebody else.
        """
        return True

    def loop_of(self, obj: Any) -> Any:
        """
        The event loop that it belongs to, where it says so and its affinity is "loop".

        None stands for the loop in which it was adopted.
        """
        return None

    def threads_of(self, obj: Any) -> Iterable[int]:
        """
        Idents of its threads that still run, to say where a close hangs.
        """
        return ()

    def risk(self, obj: Any) -> Risk | None:
        """
        What may grow without bound, or None where everything has one.
        """
        return None
