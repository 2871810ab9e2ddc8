"""
Listeners: what an emitter calls, held no more strongly than it has to be.

A Python bound method is held weakly, for its object belongs to somebody else;
functions, lambdas, partials and methods of built-in objects are held until the
listener ends, for nobody else might hold them.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import ref

from memguard._events import Collected
from memguard._kinds.callbacks import identity, name_of, warn_at
from memguard._phases import CLOSING, Ending, Outcome, Phase
from memguard._sites import call_site
from memguard._tree import Branch, Node
from memguard.errors import MemguardResourceWarning

if TYPE_CHECKING:
    from memguard._kinds.listening import Listening

__all__ = ("Listener",)


class _SelfRef(ref):  # type: ignore[type-arg]
    """
    A weak reference to the object of a bound method, which knows the listener.
    """

    __slots__ = ("listener",)
    listener: Listener


def _on_collect(reference: _SelfRef) -> None:
    # May run inside any locked section of any thread: append, nothing else.
    listener = reference.listener
    listener.registry.collected.append(listener)


class Listener(Node):
    """
    One function that listens to one event, until it or its owner is closed.

    The owner is a scope, or the emitter itself.
    """

    __slots__ = (
        "_fn",
        "_fn_name",
        "_func",
        "_ref",
        "called",
        "emitter",
        "event",
        "key",
        "once",
    )

    kind: ClassVar[str] = "listener"
    phase = Phase.EMITTERS

    def __init__(
        self,
        owner: Branch,
        emitter: Listening,
        event: str,
        fn: Callable[..., Any],
        *,
        once: bool = False,
    ) -> None:
        super().__init__(owner, emitter.name)
        self.emitter = emitter
        self.event = event
        self.once = once
        #: Whether it was ever called.
        self.called = False
        self.key = identity(fn)
        self._fn_name = name_of(fn)
        self._fn: Callable[..., Any] | None = fn
        self._func: Callable[..., Any] | None = None
        self._ref: _SelfRef | None = None
        if type(fn) is MethodType:
            self._hold_weakly(fn, has_end=isinstance(owner, Branch))

    def _hold_weakly(self, method: MethodType, *, has_end: bool) -> None:
        try:
            reference = _SelfRef(method.__self__, _on_collect)
        except TypeError:
            if has_end:
                return  # held strongly, as long as the owner lives
            msg = (
                f"a {type(method.__self__).__qualname__} cannot be referenced weakly,"
                " so a listener that is its method would keep it alive; tie the"
                " listener to a scope with owner=, or give the class a __weakref__"
                " slot"
            )
            raise TypeError(msg) from None
        reference.listener = self
        self._ref = reference
        self._func = method.__func__
        self._fn = None

    @property
    def label(self) -> str:
        """
        The name of the function.
        """
        return self._fn_name

    def target(self) -> Callable[..., Any] | None:
        """
        The function, or None when it is gone. Do not keep what this returns.
        """
        fn = self._fn
        if fn is None and self._ref is not None:
            obj, func = self._ref(), self._func
            if obj is not None and func is not None:
                return MethodType(func, obj)
        return fn

    def take_turn(self) -> Callable[..., Any] | None:
        """
        The function, to be called now; None when it is gone or has had its turn.
        """
        fn = self.target()
        if fn is None:
            return None
        if self.once and not self._spend():
            return None
        self.called = True
        return fn

    def _spend(self) -> bool:
        """
        True for the one who may call it.
        """
        if self.registry.detached:
            # Inherited through a fork: the locks may be held by nobody who is here.
            self._let_go()
            return True
        if not self.claim():
            return False
        self._release()
        self.settle()
        return True

    # -- life --------------------------------------------------------------------------

    def _release(self) -> None:
        self.emitter.forget(self)
        self._let_go()

    def _let_go(self) -> None:
        self._fn = self._func = self._ref = None

    def collected_unclosed(self) -> bool:
        """
        The object of a bound method has died; that is a fault if it was never called.
        """
        if self.state >= CLOSING or not self.claim():
            return False
        called = self.called
        self._release()
        self.settle(Ending(Outcome.CLOSED, "its object was collected"))
        if not called and not self.registry.detached:
            self._warn_uncalled()
        return False  # the text of registered objects would not fit

    def _warn_uncalled(self) -> None:
        where = call_site(self.site)
        self.registry.events.emit(Collected(self.kind, self.label, where))
        text = (
            f"listener {self.label} of emitter {self.emitter.label!r} died before it"
            f" was ever called; it was added at {where}. It is a bound method, which"
            " does not keep its object alive: keep the object, or pass a function."
        )
        warn_at(self.site, MemguardResourceWarning(text), self.registry)
