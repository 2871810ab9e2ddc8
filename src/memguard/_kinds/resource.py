"""
Registered objects: made by somebody else, closed by memguard.

A resource refers to its object weakly unless it was told to keep it. An object
that is collected before its resource was closed is a ResourceWarning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import ref

from memguard._kinds.closers import TypeInfo, info_of, is_coroutine, running_loop
from memguard._kinds.ordering import phase_before, refuse_cycle, to_phase
from memguard._phases import CLOSING, OPEN, PLAIN, Ending, Outcome, Phase
from memguard._settings import parse_duration, parse_size
from memguard._sites import call_site
from memguard._tree import Branch, Node

if TYPE_CHECKING:
    from memguard._registry import Registry

__all__ = ("Resource", "find_resource")

_AFFINITIES = ("any", "thread", "loop")


class _Options:
    """
    What a caller asked for beyond what the type says.
    """

    __slots__ = ("affinity", "memory", "phase", "timeout", "uses")

    def __init__(self, info: TypeInfo) -> None:
        self.affinity: str = info.affinity
        self.phase = info.phase
        self.timeout: float | None = None
        self.uses: tuple[Node, ...] = ()
        self.memory: int | Callable[[Any], int] | None = None


class _Ref(ref):  # type: ignore[type-arg]
    """
    A weak reference that knows its resource.
    """

    __slots__ = ("resource",)
    resource: Resource


def _on_collect(reference: _Ref) -> None:
    # May run inside any locked section of any thread: append, nothing else.
    resource = reference.resource
    resource.registry.collected.append(resource)


class Resource(Node):
    """
    One registered object, with the way to close it.

    `close` is None (the type decides), a method's name, or a callable that takes
    the object. The options were validated by the scope's `register`.
    """

    __slots__ = (
        "_close",
        "_id",
        "_options",
        "_ref",
        "_strong",
        "info",
        "kind",
        "loop",
        "thread",
    )

    kind: str  # type: ignore[misc]  # the class variable of Node, here per object

    def __init__(
        self, owner: Branch, obj: Any, *, name: str | None = None, keep: bool = False
    ) -> None:
        # Written out instead of calling super().__init__: registering is a hot path.
        self.owner = owner
        self.registry = owner.registry
        self.name = name
        self.state = OPEN
        self.ending = None
        self.declared = False
        self.seq = 0
        self.info = info = info_of(obj)
        self.kind = info.kind
        self._id = id(obj)
        self._close: str | Callable[[Any], Any] | None = info.close
        self._options: _Options | None = None
        self.thread = get_ident()
        self.loop: Any = None
        if keep:
            self._strong: Any = obj
            self._ref: _Ref | None = None
        else:
            self._strong = None
            try:
                self._ref = reference = _Ref(obj, _on_collect)
            except TypeError:
                raise _not_referenceable(obj) from None
            reference.resource = self
        if info.affinity == "loop":
            self.note_loop()

    def note_loop(self) -> None:
        """
        Remember the loop that runs here, weakly.
        """
        loop = running_loop()
        self.loop = None if loop is None else ref(loop)

    def configure(
        self,
        *,
        kind: str | None,
        close: str | Callable[..., Any] | None,
        uses: Sequence[Any],
        phase: Phase | str | None,
        timeout: float | str | None,
        memory: int | str | Callable[[Any], int] | None,
        affinity: str | None,
    ) -> None:
        """
        Apply the options a caller gave, each validated here and nowhere else.
        """
        obj = self.target()
        options = self._options = _Options(self.info)
        if kind is not None:
            if not isinstance(kind, str) or not kind:
                msg = f"kind must be a non-empty text, not {kind!r}"
                raise ValueError(msg)
            self.kind = kind
        if close is not None:
            self._close = _closing(obj, close)
        if affinity is not None:
            if affinity not in _AFFINITIES:
                allowed = ", ".join(_AFFINITIES)
                msg = f"affinity must be one of {allowed}, not {affinity!r}"
                raise ValueError(msg)
            options.affinity = affinity
        if options.affinity == "loop" or self.awaits:
            self.note_loop()
        if timeout is not None:
            options.timeout = parse_duration(timeout, what="timeout")
        if memory is not None:
            options.memory = (
                memory if callable(memory) else parse_size(memory, what="memory")
            )
        if phase is not None:
            options.phase = to_phase(phase)
        if uses:
            options.uses = tuple(self._used_node(one) for one in uses)
            refuse_cycle(obj, options.uses, self.label)
            options.phase = phase_before(self, explicit=phase is not None)

    @property
    def phase(self) -> Phase:  # type: ignore[override]
        """
        The phase asked for, else the one of the type.
        """
        options = self._options
        return self.info.phase if options is None else options.phase

    @property
    def affinity(self) -> str:  # type: ignore[override]
        """
        Where the close may run: any, thread or loop.
        """
        options = self._options
        return self.info.affinity if options is None else options.affinity

    @property
    def timeout(self) -> float | None:  # type: ignore[override]
        """
        Seconds for the close, None for the default.
        """
        return None if self._options is None else self._options.timeout

    @property
    def uses(self) -> tuple[Node, ...]:  # type: ignore[override]
        """
        What it needs until its own close.
        """
        return () if self._options is None else self._options.uses

    def _used_node(self, used: Any) -> Node:
        if isinstance(used, Node):
            return used
        found = find_resource(self.registry, used)
        if found is None:
            msg = (
                f"{self.kind} {self.label!r} uses a {type(used).__qualname__} that is"
                " not registered (or is closed already); register that first"
            )
            raise ValueError(msg)
        return found

    # -- life ----------------------------------------------------------------------

    def target(self) -> Any:
        """
        The object, or None when it is gone. Do not keep what this returns.
        """
        reference = self._ref
        return self._strong if reference is None else reference()

    def _join(self) -> None:
        Node._join(self)
        self.registry.objects[self._id] = self

    def settle(self, ending: Ending = PLAIN) -> None:
        """
        Leave the tree and let go of the object.
        """
        Node.settle(self, ending)
        objects = self.registry.objects
        if objects.get(self._id) is self:
            objects.pop(self._id, None)
        self._ref = None
        self._strong = None
        self._close = None

    def _release(self) -> Any:
        obj = self.target()
        how = self._close
        if obj is None or how is None:
            return None
        if isinstance(how, str):
            return getattr(obj, how)()
        return how(obj)

    @property
    def forces(self) -> bool:  # type: ignore[override]
        """
        True where the type offers a way out that does not wait.
        """
        return self.info.force is not None

    @property
    def awaits(self) -> bool:  # type: ignore[override]
        """
        True where the close is a coroutine function.
        """
        how = self._close
        if isinstance(how, str):
            how = getattr(type(self.target()), how, None)
        return is_coroutine(how)

    def _force(self) -> None:
        obj = self.target()
        if obj is not None and self.info.force is not None:
            self.info.force(obj)

    def collected_unclosed(self) -> bool:
        """
        Settle after the object's death; a fault unless there was nothing to close.
        """
        if not self.seq or self.state >= CLOSING or not self.claim():
            return False  # never attached, or somebody closes it already
        fault = self._close is not None
        self.settle(Ending(Outcome.UNCLOSABLE, "collected before it was closed"))
        return fault

    def is_open(self) -> bool:
        """
        For the audit: the object lives and does not say that it is closed.
        """
        obj = self.target()
        if obj is None:
            return False
        closed = self.info.closed
        try:
            return closed is None or not closed(obj)
        except Exception as error:  # a half-built or half-closed object may raise
            self.registry.failures.record("closed-check", error, call_site(self.site))
            return True

    # -- reading ---------------------------------------------------------------------

    def memory_bytes(self) -> int | None:
        """
        What the caller declared, else what the object itself says, else None.
        """
        memory = None if self._options is None else self._options.memory
        if isinstance(memory, int):
            return memory
        obj = self.target()
        if obj is None:
            return None
        if memory is None:
            if not hasattr(type(obj), "memory_bytes"):
                return None
            return int(obj.memory_bytes())
        return int(memory(obj))

    @property
    def label(self) -> str:
        """
        The name, else the type of the object.
        """
        if self.name:
            return self.name
        obj = self.target()
        return "(gone)" if obj is None else type(obj).__qualname__


def find_resource(registry: Registry, obj: Any) -> Node | None:
    """
    The live resource of *obj*, or None.
    """
    node = registry.objects.get(id(obj))
    if isinstance(node, Resource) and node.target() is obj:
        return node
    return None


def _not_referenceable(obj: object) -> TypeError:
    return TypeError(
        f"a {type(obj).__qualname__} cannot be referenced weakly; register it with"
        " keep=True (memguard then holds it until its scope closes), or adopt a"
        " built-in container by its place"
    )


def _closing(obj: Any, close: str | Callable[..., Any]) -> str | Callable[[Any], Any]:
    if isinstance(close, str):
        if not callable(getattr(obj, close, None)):
            msg = (
                f"a {type(obj).__qualname__} has no method {close!r} to close it with;"
                " name another one, or pass a callable that takes the object"
            )
            raise ValueError(msg)
        return close
    if not callable(close):
        msg = (
            "close must be a method's name or a callable that takes the object, not a"
            f" {type(close).__qualname__}"
        )
        raise TypeError(msg)
    if getattr(close, "__self__", None) is obj:
        # A bound method of the object itself would keep the object alive for ever.
        name = close.__name__
        if getattr(type(obj), name, None) is getattr(close, "__func__", None):
            return name
        function = getattr(close, "__func__", None)
        return name if function is None else function
    return close
