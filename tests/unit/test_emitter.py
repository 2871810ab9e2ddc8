"""
Emitters: who is called, how strongly listeners are held, and how they end.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from memguard._events import Collected, ListenerCeiling
from memguard._kinds import slots
from memguard._kinds.emitter import Emitter, Listener, SiteGrowth
from memguard._phases import CLOSED, DRAINING, NEW, Phase
from memguard._registry import Registry
from memguard._tree import Branch
from memguard.errors import MemguardResourceWarning, MemguardWarning, ScopeClosed
from memguard.testing import FakeClock, capture_events

SOON = 5.0


class Root(Branch):
    """
    The least that can own an emitter.
    """

    __slots__ = ()

    def __init__(self) -> None:
        clock = FakeClock()
        registry = Registry(clock, clock, site_level="full")
        registry.drain_s = SOON
        super().__init__(SimpleNamespace(registry=registry), "root")  # type: ignore[arg-type]
        self.owner = None
        self._children = {}

    def emitter(self, name: str = "bus", **options: Any) -> Emitter:
        """
        An emitter that is in the tree.
        """
        return Emitter(self, name, **options).attach()

    @property
    def failed(self) -> list[tuple[str, str]]:
        """
        Background failures by place and type.
        """
        return [key[:2] for key in self.registry.failures.counts]


@pytest.fixture
def root() -> Root:
    """
    An owner of emitters.
    """
    return Root()


@pytest.fixture
def bus(root: Root) -> Emitter:
    """
    An emitter.
    """
    return root.emitter()


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "memguard")


class Screen:
    """
    Something with methods that listen.
    """

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def show(self, what: Any) -> None:
        """
        A listener.
        """
        self.seen.append(what)

    async def show_later(self, what: Any) -> None:
        """
        A listener that has to be awaited.
        """
        await asyncio.sleep(0)
        self.seen.append(what)

    @classmethod
    def show_class(cls, what: Any) -> None:
        """
        A listener that belongs to the class.
        """


def end(scope: Branch) -> None:
    """
    Close a bare branch as the driver of a shutdown would.
    """
    for child in reversed(scope.children()):
        child.close()
    scope.state = CLOSED


class TestEmitting:
    """
    Who is called, with what, in which order.
    """

    def test_in_the_order_of_adding(self, bus: Emitter) -> None:
        """
        Each listener gets the arguments; the result is how many were called.
        """
        seen: list[Any] = []
        bus.on("line", lambda *args, **kwargs: seen.append(("first", args, kwargs)))
        bus.on("line", lambda *args, **kwargs: seen.append(("second", args, kwargs)))
        bus.on("other", seen.append)

        assert 2 == bus.emit("line", 1, event="mine", self="me")

        given = ((1,), {"event": "mine", "self": "me"})
        assert [("first", *given), ("second", *given)] == seen

    def test_nobody_listens(self, bus: Emitter) -> None:
        """
        Emitting into the void is nothing special.
        """
        assert 0 == bus.emit("line", 1)

    def test_as_a_decorator(self, bus: Emitter) -> None:
        """
        The function comes back as it was.
        """
        seen: list[int] = []

        @bus.on("line")
        def on_line(value: int) -> None:
            seen.append(value)

        @bus.once("line")
        def on_first(value: int) -> None:
            seen.append(-value)

        bus.emit("line", 1)
        bus.emit("line", 2)
        on_line(3)

        assert [1, -1, 2, 3] == seen
        assert print is bus.on("x", print)

    def test_once(self, bus: Emitter) -> None:
        """
        A listener for one event is gone before it is called: it may emit again.
        """
        seen: list[int] = []

        def first(value: int) -> None:
            seen.append(value)
            bus.emit("line", value + 1)

        bus.once("line", first)

        assert 1 == bus.emit("line", 1)
        assert 0 == bus.emit("line", 2)
        assert [1] == seen
        assert 0 == bus.listening

    @pytest.mark.stress
    def test_once_whoever_emits(self, bus: Emitter) -> None:
        """
        Many threads that emit at once call it exactly once.
        """
        for _ in range(100):
            seen: list[int] = []
            bus.once("line", seen.append)
            gate = threading.Barrier(4)

            def emit(gate: threading.Barrier = gate) -> None:
                gate.wait(SOON)
                bus.emit("line", 1)

            threads = [threading.Thread(target=emit) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(SOON)
            assert [1] == seen

    def test_a_failing_listener_is_isolated(self, root: Root, bus: Emitter) -> None:
        """
        The others are called, the failure is reported where it was added.
        """
        seen: list[str] = []
        bus.on("line", int)
        bus.on("line", seen.append)

        assert 2 == bus.emit("line", "text")

        assert ["text"] == seen
        ((where, error, site),) = root.registry.failures.counts
        assert ("listener", "ValueError") == (where, error)
        assert "test_a_failing_listener_is_isolated" in site

    def test_an_interrupt_is_not_swallowed(self, bus: Emitter) -> None:
        """
        Ctrl-C inside a listener reaches the program.
        """

        def interrupted() -> None:
            raise KeyboardInterrupt

        bus.on("line", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bus.emit("line")

    def test_changes_while_emitting(self, bus: Emitter) -> None:
        """
        What is added meanwhile waits for the next event; what is removed is not
        called any more.
        """
        seen: list[str] = []

        def second() -> None:
            seen.append("second")

        def first() -> None:
            seen.append("first")
            bus.off("line", second)
            bus.on("line", lambda: seen.append("third"))

        bus.on("line", first)
        bus.on("line", second)

        assert 1 == bus.emit("line")
        assert ["first"] == seen
        bus.off("line", first)
        bus.emit("line")
        assert ["first", "third"] == seen

    def test_text_enums_are_their_text(self, bus: Emitter) -> None:
        """
        A member of a text enum names the same event as its value.
        """

        class Event(str, Enum):
            LINE = "line"

        seen: list[int] = []
        bus.on(Event.LINE, seen.append)
        bus.emit("line", 1)
        bus.emit(Event.LINE, 2)
        assert 1 == bus.off(Event.LINE, seen.append)

        assert [1, 2] == seen

    def test_what_is_no_event_or_listener(self, root: Root, bus: Emitter) -> None:
        """
        Wrong types are told at once.
        """
        wrong: Any = 7
        with pytest.raises(
            TypeError, match="an event is named by a text, not by a int"
        ):
            bus.on(wrong, print)
        with pytest.raises(TypeError, match="an event is named by a text"):
            bus.emit(wrong)
        with pytest.raises(TypeError, match="a int is not"):
            bus.on("line", wrong)
        with pytest.raises(TypeError, match="owner must be a scope, not a str"):
            bus.on("line", print, owner="scope")  # type: ignore[call-overload]
        assert 0 == bus.listening

    @pytest.mark.parametrize(
        ("options", "error", "text"),
        [
            ({"max_listeners": 0}, ValueError, "at least 1, or None"),
            ({"max_listeners": True}, TypeError, "whole number or None, not a bool"),
            ({"max_listeners": "10"}, TypeError, "whole number or None, not a str"),
            ({"name": ""}, ValueError, "name of an emitter"),
        ],
    )
    def test_bad_options(
        self, root: Root, options: dict[str, Any], error: type[Exception], text: str
    ) -> None:
        """
        Every option is checked at the door.
        """
        with pytest.raises(error, match=text):
            Emitter(root, **{"name": "bus", **options})

    def test_spec(self, root: Root) -> None:
        """
        The spec tells a second request for the name whether it asks for the same.
        """
        assert {"max_listeners": 10} == root.emitter().spec
        assert {"max_listeners": None} == root.emitter(max_listeners=None).spec


class TestHolding:
    """
    How strongly what listens is held.
    """

    def test_bound_methods_weakly(self, root: Root, bus: Emitter) -> None:
        """
        Listening does not keep an object alive; when it dies, its listener goes.
        """
        screen = Screen()
        alive = weakref.ref(screen)
        bus.on("line", screen.show)
        bus.emit("line", 1)
        assert [1] == screen.seen
        assert (screen.show,) == bus.listeners("line")
        gc.disable()
        try:
            del screen
            assert alive() is None
        finally:
            gc.enable()

        assert 0 == bus.emit("line", 2)
        assert () == bus.listeners("line")
        root.registry.settle_collected()
        assert 0 == bus.listening
        tally = root.registry.tallies["listener"]["bus"]
        assert (1, 0, {"closed": 1}) == (tally.created, tally.live, tally.released)

    def test_everything_else_strongly(self, bus: Emitter) -> None:
        """
        Functions, lambdas, partials, built-in methods and callables are kept.
        """
        seen: list[Any] = []

        class Callable_:  # noqa: N801
            def __call__(self, what: Any) -> None:
                seen.append(what)

        bus.on("line", lambda what: seen.append(what))  # noqa: PLW0108
        bus.on("line", partial(seen.append))
        bus.on("line", seen.append)
        bus.on("line", Callable_())
        bus.on("line", Screen.show_class)
        gc.collect()

        assert 5 == bus.emit("line", 1)
        assert [1, 1, 1, 1] == seen

    def test_a_dead_listener_that_was_never_called(
        self, root: Root, bus: Emitter
    ) -> None:
        """
        A mistake: it is told with the place where it was added.
        """
        bus.on("line", Screen().show)
        gc.collect()

        with (
            capture_events(root) as events,
            pytest.warns(MemguardResourceWarning, match="died before it was") as caught,
        ):
            root.registry.settle_collected()

        (event,) = events
        assert isinstance(event, Collected)
        assert ("listener", "Screen.show") == (event.kind, event.name)
        assert "test_a_dead_listener_that_was_never_called" in event.site
        assert __file__ == caught[0].filename
        assert "keep the object, or pass a function" in str(caught[0].message)

    def test_a_dead_listener_that_was_called(self, root: Root, bus: Emitter) -> None:
        """
        That is no fault: it went with its object, silently.
        """
        screen = Screen()
        bus.on("line", screen.show)
        bus.emit("line", 1)
        del screen
        gc.collect()

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            root.registry.settle_collected()
        assert [] == root.failed

    def test_a_removed_listener_may_die(self, root: Root, bus: Emitter) -> None:
        """
        Taken off before its object died, it is no fault either.
        """
        screen = Screen()
        bus.on("line", screen.show)
        bus.off("line", screen.show)
        del screen
        gc.collect()

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            root.registry.settle_collected()

    def test_a_warning_made_an_error(self, root: Root, bus: Emitter) -> None:
        """
        Where filters raise there is nobody to raise at: it is a background failure.
        """
        bus.on("line", Screen().show)
        gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            root.registry.settle_collected()
        assert [("warning", "MemguardResourceWarning")] == root.failed

    def test_what_cannot_be_referenced_weakly(self, root: Root, bus: Emitter) -> None:
        """
        Its method needs an owner with an end, which then holds it.
        """

        class Slotted:
            __slots__ = ()
            calls = 0

            def show(self) -> None:
                type(self).calls += 1

        with pytest.raises(TypeError, match="Slotted cannot be referenced weakly"):
            bus.on("line", Slotted().show)
        scope = Branch(root, "request")
        bus.on("line", Slotted().show, owner=scope)
        assert 1 == bus.emit("line")
        assert 1 == Slotted.calls
        end(scope)
        assert 0 == bus.emit("line")


class TestRemoving:
    """
    Listeners end with `off`, with their owner, or with the emitter.
    """

    def test_off(self, bus: Emitter) -> None:
        """
        What was added is found again, also methods, which are made anew each time.
        """
        screen, lines = Screen(), []  # type: ignore[var-annotated]
        added: list[Callable[..., Any]] = [screen.show, lines.append, print, "x".join]
        for fn in added:
            bus.on("line", fn)

        assert 4 == bus.listening
        assert 1 == bus.off("line", screen.show)
        assert 1 == bus.off("line", lines.append)
        assert 1 == bus.off("line", print)
        assert 0 == bus.off("line", "y".join)
        assert 1 == bus.off("line", added[3])
        assert 0 == bus.off("line", print)
        assert 0 == bus.off("nothing", print)
        assert 0 == bus.listening

    def test_off_takes_all_of_one_function(self, bus: Emitter) -> None:
        """
        However often a function was added, after `off` it is not called.
        """
        seen: list[int] = []
        for _ in range(3):
            bus.on("line", seen.append)
        bus.on("other", seen.append)
        bus.once("line", seen.append)

        assert 4 == bus.emit("line", 1)
        assert 3 == bus.off("line", seen.append)
        assert 0 == bus.emit("line", 2)
        assert 1 == bus.listening

    def test_off_frees_at_once(self, bus: Emitter) -> None:
        """
        A removed function is not held by a snapshot either.
        """
        screen = Screen()
        fn = partial(screen.show)
        bus.on("line", fn)
        bus.emit("line", 1)
        alive = weakref.ref(screen)
        gc.disable()
        try:
            bus.off("line", fn)
            del screen, fn
            assert alive() is None
        finally:
            gc.enable()

    def test_a_reused_identity_is_not_mistaken(self, root: Root, bus: Emitter) -> None:
        """
        A dead object's address may come back; its listener is another one.
        """
        for _ in range(100):
            bus.on("line", Screen().show)
        other = Screen()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert 0 == bus.off("line", other.show)
            root.registry.settle_collected()

    def test_an_owner_takes_its_listeners_along(self, root: Root, bus: Emitter) -> None:
        """
        Closing the scope removes them and lets go of the functions at once.
        """
        scope = Branch(root, "request")
        screen = Screen()
        alive = weakref.ref(screen)
        bus.on("line", partial(screen.show), owner=scope)
        bus.emit("line", 1)
        (listener,) = scope.children()
        assert isinstance(listener, Listener)
        assert Phase.EMITTERS == listener.phase
        gc.disable()
        try:
            del screen
            assert alive() is not None
            listener.close()
            assert alive() is None
        finally:
            gc.enable()
        assert 0 == bus.emit("line", 2)
        assert [] == list(scope.children())

    def test_a_closed_owner(self, root: Root, bus: Emitter) -> None:
        """
        Nothing can be tied to a scope that has ended.
        """
        scope = Branch(root, "request")
        end(scope)
        with pytest.raises(ScopeClosed, match="scope 'request' is closed"):
            bus.on("line", print, owner=scope)
        assert 0 == bus.listening

    def test_an_owner_that_closes_meanwhile(self, root: Root, bus: Emitter) -> None:
        """
        Closed between joining and being listed, a listener is not left behind.
        """
        scope = Branch(root, "request")
        listening = Listener.attach

        def attach(self: Listener) -> Listener:
            attached = listening(self)
            end(scope)
            return attached

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Listener, "attach", attach)
            with pytest.raises(ScopeClosed, match="listener"):
                bus.on("line", print, owner=scope)
        assert 0 == bus.listening

    def test_listen_gives_something_to_close(self, bus: Emitter) -> None:
        """
        The listener can be closed by itself, twice.
        """
        seen: list[int] = []
        listener = bus.listen("line", seen.append)
        assert ("list.append", "listener") == (listener.label, listener.kind)
        listener.close()
        listener.close()
        assert 0 == bus.emit("line", 1)

    def test_closing_the_emitter(self, root: Root, bus: Emitter) -> None:
        """
        Everything is removed, from scopes too, and the verbs say that it ended.
        """
        scope = Branch(root, "request")
        screen = Screen()
        alive = weakref.ref(screen)
        bus.on("line", partial(screen.show))
        bus.on("line", partial(screen.show), owner=scope)
        del screen

        bus.close()
        bus.close()

        gc.collect()
        assert alive() is None
        assert [] == list(scope.children())
        tally = root.registry.tallies["listener"]["bus"]
        assert (2, 0) == (tally.created, tally.live)
        for verb in (bus.on, bus.once, bus.emit):
            with pytest.raises(ScopeClosed, match="emitter 'bus' is closed"):
                verb("line", print)
        with pytest.raises(ScopeClosed, match="emitter 'bus' is closed"):
            asyncio.run(bus.emit_async("line"))
        assert () == bus.listeners("line")
        assert 0 == bus.off("line", print)
        assert 0 == bus.listening

    def test_an_emitter_that_closes_meanwhile(self, root: Root, bus: Emitter) -> None:
        """
        Closed between the check and the listing, it holds nothing afterwards.
        """
        scope = Branch(root, "request")
        listening = Listener.attach

        def attach(self: Listener) -> Listener:
            attached = listening(self)
            bus.close()
            return attached

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Listener, "attach", attach)
            with pytest.raises(ScopeClosed, match="emitter 'bus' is closed"):
                bus.on("line", print, owner=scope)
        assert 0 == bus.listening
        assert [] == list(scope.children())

    def test_while_it_drains(self, bus: Emitter) -> None:
        """
        What finishes its work may still listen and emit.
        """
        bus.state = DRAINING
        seen: list[int] = []
        bus.on("line", seen.append)
        bus.emit("line", 1)
        assert [1] == seen

    def test_ten_thousand_listeners(self, bus: Emitter) -> None:
        """
        Adding, removing and closing stay cheap: no step walks all of them.
        """
        bus = Emitter(bus.owner, "many", max_listeners=None).attach()  # type: ignore[arg-type]
        fns = [partial(int, i) for i in range(10_000)]
        begun = time.process_time()
        for fn in fns:
            bus.on("line", fn)
        for fn in fns[:5_000]:
            assert 1 == bus.off("line", fn)
        assert 5_000 == bus.emit("line")
        bus.close()

        assert time.process_time() - begun < 2.0


class TestDeclared:
    """
    Before the guard has started, after it was shut down, and in a forked child.
    """

    def test_declared_listeners_survive(self, root: Root) -> None:
        """
        Listeners of module level stay for the next start; later ones go.
        """
        bus = root.emitter()
        bus.declared = True
        bus.state = NEW
        seen: list[str] = []
        bus.on("line", lambda: seen.append("declared"))
        bus.emit("line")

        root.registry.running = True
        bus._arm()
        bus.on("line", lambda: seen.append("later"))
        bus.emit("line")
        bus._disarm()
        root.registry.running = False
        bus.emit("line")

        assert ["declared", "declared", "later", "declared"] == seen
        assert 1 == root.registry.tallies["listener"]["bus"].live

    def test_tied_to_an_unstarted_root(self, root: Root) -> None:
        """
        A listener of the guard itself is a declaration of the guard.
        """
        root.state = NEW
        bus = root.emitter()
        tied = bus.listen("line", print, owner=root)
        kept = bus.listen("line", print)
        assert (True, False) == (tied.declared, kept.declared)
        assert (NEW, True) == (tied.state, bus.emit("line") == 2)

    def test_an_emitter_that_is_not_declared(self, root: Root) -> None:
        """
        The listeners of a short-lived emitter are short-lived.
        """
        assert not root.emitter().listen("line", print).declared

    def test_after_fork(self, root: Root) -> None:
        """
        The child keeps what was declared, and counts it as its own.
        """
        bus = root.emitter()
        bus.declared = True
        screen = Screen()
        seen: list[int] = []
        bus.on("line", seen.append)
        bus.on("line", screen.show)
        root.registry.running = True
        bus.on("line", print)
        bus.on("later", print)
        child = Registry(FakeClock(), FakeClock())

        root.registry.detached = True
        bus._after_fork(child)

        assert 2 == bus.emit("line", 1)
        assert (seen, screen.seen) == ([1], [1])
        assert 2 == bus.listening
        assert (2, 2) == (
            child.tallies["listener"]["bus"].created,
            child.tallies["listener"]["bus"].live,
        )
        assert 1 == bus.off("line", seen.append)
        del screen
        gc.collect()
        assert 1 == child.settle_collected()
        assert 0 == bus.listening

    def test_inherited_and_not_declared(self, root: Root, bus: Emitter) -> None:
        """
        In a forked child the parent's emitter takes nothing; emitting takes no lock.
        """
        seen: list[int] = []
        bus.on("line", seen.append)
        bus.once("line", seen.append)
        registry = root.registry
        registry.detached = True
        held = threading.Thread(target=registry.lock.acquire)
        held.start()
        held.join(SOON)

        assert 2 == bus.emit("line", 1)
        assert 1 == bus.emit("line", 2)
        with pytest.raises(ScopeClosed, match="inherited through a fork"):
            bus.on("line", print)
        bus.close()
        assert [1, 1, 2] == seen


class TestCeiling:
    """
    Too many listeners are told, and called like all others.
    """

    def test_one_warning_an_event(self, root: Root) -> None:
        """
        Passing the ceiling warns once, with every place that added some.
        """
        bus = root.emitter(max_listeners=3)

        def elsewhere() -> None:
            bus.on("line", print)

        with capture_events(root) as events:
            elsewhere()
            elsewhere()
            bus.on("line", print)
            with pytest.warns(MemguardWarning, match="4 listeners") as caught:
                bus.on("line", print)
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                bus.on("line", print)
                bus.on("other", print)

        assert 1 == len(caught)
        assert __file__ == caught[0].filename
        text = str(caught[0].message)
        assert "emitter 'bus' has 4 listeners for event 'line'" in text
        assert "max_listeners=3" in text
        (event,) = events
        assert isinstance(event, ListenerCeiling)
        assert ("bus", 4, 3) == (event.emitter, event.listeners, len(event.sites))
        assert all(site in text for site in event.sites)
        assert "elsewhere" in event.sites[0]
        assert 6 == bus.listening

    def test_each_event_has_its_own(self, root: Root) -> None:
        """
        Another event warns on its own account, and none twice.
        """
        bus = root.emitter(max_listeners=1)

        def crowd() -> None:
            for event in ("a", "b", "a", "b", "a", "b"):
                bus.on(event, print)

        with pytest.warns(MemguardWarning) as caught:
            crowd()
        for event in ("a", "b"):
            bus.off(event, print)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            crowd()
        assert [] == root.failed
        assert 2 == len(caught)

    def test_no_ceiling(self, root: Root) -> None:
        """
        None is for emitters that are meant to have many.
        """
        bus = root.emitter(max_listeners=None)
        for _ in range(1000):
            bus.on("line", print)
        assert 1000 == bus.listening

    def test_names_of_events_do_not_pile_up(self, root: Root) -> None:
        """
        An event built from an id leaves nothing behind, and stops warning at last.
        """
        bus = root.emitter(max_listeners=1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for number in range(1100):
                bus.on(f"room-{number}", print)
                bus.on(f"room-{number}", print)
                bus.off(f"room-{number}", print)
        assert {} == bus._slots
        assert 1000 == len(bus._warned) == len(caught)

    def test_growth(self, root: Root) -> None:
        """
        Each place that adds listeners is counted: added so far, and alive.
        """
        bus = root.emitter(max_listeners=None)

        def leaking(event: str) -> None:
            bus.on(event, lambda: None)

        for number in range(20):
            leaking(f"event-{number}")
        for _ in range(5):
            bus.on("line", print)
            bus.off("line", print)
        bus.once("line", print)
        bus.emit("line", end="")

        first, *others = bus.growth()
        assert (20, 20) == (first.created, first.live)
        assert "leaking" in first.site
        assert [(5, 0), (1, 0)] == [(one.created, one.live) for one in others]
        bus.close()
        assert [0, 0, 0] == [one.live for one in bus.growth()]

    def test_growth_is_bounded(
        self, root: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Places beyond the bound share one count.
        """
        monkeypatch.setattr(slots, "_SITES_KEPT", 20)
        bus = root.emitter(max_listeners=None)
        source = "\n".join("bus.on('line', print)" for _ in range(30))
        exec(compile(source, "generated.py", "exec"), {"bus": bus})

        report = bus.growth()

        assert 21 == len(report)
        assert SiteGrowth("other", 10, 10) in report
        bus.off("line", print)
        assert {0} == {one.live for one in bus.growth()}

    def test_growth_without_sites(self, root: Root) -> None:
        """
        With sites off there is one count.
        """
        root.registry.sites.level = "off"
        bus = root.emitter()
        bus.on("line", print)
        assert (SiteGrowth("unknown", 1, 1),) == bus.growth()


class TestAsync:
    """
    Listeners that have to be awaited.
    """

    def test_emit_async(self, bus: Emitter) -> None:
        """
        Both kinds are called in order, one after the other.
        """
        screen = Screen()
        seen = screen.seen
        bus.on("line", screen.show_later)
        bus.on("line", lambda what: seen.append(("plain", what)))
        bus.on("line", lambda what: screen.show_later(("lambda", what)))
        bus.once("line", screen.show_later)

        async def main() -> int:
            return await bus.emit_async("line", 1)

        assert 4 == asyncio.run(main())
        assert [1, ("plain", 1), ("lambda", 1), 1] == seen

    def test_emit_async_isolates(self, root: Root, bus: Emitter) -> None:
        """
        A listener that fails while it is awaited stops no other.
        """
        seen: list[int] = []

        async def fail(what: int) -> None:
            await asyncio.sleep(0)
            raise KeyError(what)

        bus.on("line", fail)
        bus.on("line", seen.append)

        assert 2 == asyncio.run(bus.emit_async("line", 1))
        assert [1] == seen
        assert [("listener", "KeyError")] == root.failed

    def test_emit_async_can_be_cancelled(self, bus: Emitter) -> None:
        """
        Whoever cancels the emit ends it.
        """
        seen: list[int] = []
        bus.on("line", lambda _: asyncio.Event().wait())
        bus.on("line", seen.append)

        async def main() -> None:
            task = asyncio.ensure_future(bus.emit_async("line", 1))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert [] == seen

    @pytest.mark.skipif(
        sys.version_info < (3, 11), reason="who was cancelled is known from 3.11 on"
    )
    def test_a_cancellation_inside_is_isolated(self, root: Root, bus: Emitter) -> None:
        """
        A listener that awaits something cancelled fails alone.
        """
        seen: list[int] = []

        async def cancelled(what: int) -> None:
            task = asyncio.ensure_future(asyncio.sleep(SOON))
            asyncio.get_running_loop().call_soon(task.cancel)
            await task

        bus.on("line", cancelled)
        bus.on("line", seen.append)

        assert 2 == asyncio.run(bus.emit_async("line", 1))
        assert [1] == seen
        assert [("listener", "CancelledError")] == root.failed

    def test_emit_in_a_loop(self, root: Root, bus: Emitter) -> None:
        """
        A plain emit makes a task of what has to be awaited, and holds it.
        """
        screen = Screen()
        bus.on("line", screen.show_later)

        async def fail(what: int) -> None:
            raise KeyError(what)

        bus.on("line", fail)

        async def main() -> None:
            assert 2 == bus.emit("line", 1)
            assert [] == screen.seen
            gc.collect()
            assert (True, True, "loop") == (bus.drains, bus.awaits, bus.affinity)
            await bus._drain()
            assert [1] == screen.seen
            await asyncio.sleep(0)
            assert (False, False, "any") == (bus.drains, bus.awaits, bus.affinity)

        asyncio.run(main())
        assert [("listener", "KeyError")] == root.failed

    def test_emit_on_the_guards_loop(self, root: Root, bus: Emitter) -> None:
        """
        From a thread without a loop the guard's loop runs it.
        """
        seen: list[tuple[int, bool]] = []

        async def main() -> None:
            root.registry.loop = weakref.ref(asyncio.get_running_loop())
            here, came = threading.get_ident(), asyncio.Event()

            async def listen(what: int) -> None:
                seen.append((what, threading.get_ident() == here))
                came.set()

            bus.on("line", listen)
            assert 1 == await asyncio.to_thread(bus.emit, "line", 1)
            await asyncio.wait_for(came.wait(), SOON)

        asyncio.run(main())
        assert [(1, True)] == seen

    def test_emit_without_a_loop(self, root: Root, bus: Emitter) -> None:
        """
        There it cannot be run: the failure names the verb that can.
        """
        screen = Screen()
        bus.on("line", screen.show_later)
        root.registry.failures.strict = True

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert 1 == bus.emit("line", 1)
            gc.collect()

        (error,) = root.registry.failures.take_strict()
        assert "await emitter.emit_async" in str(error)
        assert [] == screen.seen

    def test_close_cancels_what_runs(self, root: Root, bus: Emitter) -> None:
        """
        Releasing the emitter ends its tasks; the awaitable waits for their end.
        """
        order: list[str] = []

        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                order.append("cleaned up")

        bus.on("line", wait)

        async def main() -> None:
            bus.emit("line")
            await asyncio.sleep(0)
            assert bus.claim()
            await bus._release()
            order.append("released")
            bus.settle()

        asyncio.run(main())
        assert ["cleaned up", "released"] == order
        assert [] == root.failed

    def test_a_listener_may_close_the_emitter(self, root: Root, bus: Emitter) -> None:
        """
        From inside a task it neither waits for itself nor is it cancelled.
        """
        ended: list[bool] = []

        async def close() -> None:
            assert not bus.drains
            assert bus.claim()
            assert bus._release() is None
            bus.settle()
            await asyncio.sleep(0)
            ended.append(True)

        bus.on("line", close)

        async def main() -> None:
            bus.emit("line")
            await asyncio.sleep(0.001)

        asyncio.run(main())
        assert [True] == ended


@pytest.mark.stress
def test_threads_add_remove_and_emit(root: Root) -> None:
    """
    Under load from many threads nothing is lost, called twice, or left behind.
    """
    bus = root.emitter(max_listeners=None)
    heard: list[int] = []
    bus.on("line", heard.append)
    errors: list[BaseException] = []

    def churn() -> None:
        try:
            for number in range(400):
                scope = Branch(root, "request")
                screen = Screen()
                bus.on("line", screen.show)
                bus.on("line", partial(screen.show), owner=scope)
                bus.once("line", partial(max, number))
                bus.emit("line", 1)
                end(scope)
                bus.off("line", screen.show)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=churn) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)

    assert [] == errors
    assert [1] * 1600 == heard
    root.registry.settle_collected()
    bus.emit("line", 0)
    assert 1 == bus.listening
    assert 1 == root.registry.tallies["listener"]["bus"].live
    assert [] == root.failed
