"""
The default guard, its installation, and the module's functions.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import weakref
from typing import TYPE_CHECKING, Any

import pytest

import memguard
from memguard import Guard, _default as default
from memguard.errors import GuardConflict, SettingsConflict, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def fresh_default() -> Iterator[None]:
    """
    A default guard that nobody has used, and none left behind.
    """
    default.reset_default()
    yield
    default.reset_default()


# -- the module's functions ------------------------------------------------------------


def test_functions_belong_to_the_default_guard() -> None:
    """
    Each is a method of it, whichever guard that is by now.
    """
    first = default.default_guard()
    assert memguard.register.__self__ is first is memguard.current()
    default.reset_default()
    assert memguard.register.__self__ is default.default_guard() is not first


def test_declarations_are_armed_by_the_installation() -> None:
    """
    And disarmed by the shutdown, and armed again.
    """
    ticks = threading.Semaphore(0)
    timer = memguard.timer(ticks.release, every=0.005)
    cached = memguard.cached(max_entries=2)(len)
    assert not ticks.acquire(timeout=0.02)

    for _ in range(2):
        with memguard.install():
            assert ticks.acquire(timeout=5)
            assert 3 == cached("abc")
    while ticks.acquire(timeout=0.02):
        pass
    assert timer


def test_module_functions_never_belong_to_the_current_scope() -> None:
    """
    What is made inside a request lives as long as the process.
    """
    with memguard.install() as guard, guard.scope("request") as scope:
        ring = memguard.ring("lines")
        assert guard is ring.owner
        assert scope is memguard.current_scope()


def test_current_is_the_innermost_block() -> None:
    """
    Of this context; elsewhere it is the default guard.
    """
    elsewhere = []
    with Guard("own") as own:
        thread = threading.Thread(target=lambda: elsewhere.append(memguard.current()))
        thread.start()
        thread.join(5)
        assert own is memguard.current() is memguard.current_scope()
        assert own is not default.default_guard()

    assert [default.default_guard()] == elsewhere
    assert default.default_guard() is memguard.current() is memguard.current_scope()


def test_tasks_have_a_current_scope_of_their_own() -> None:
    """
    What one enters the other does not see.
    """

    async def one(name: str, together: asyncio.Barrier | Any) -> str:
        with memguard.current().scope(name) as scope:
            await together.wait()
            assert scope is memguard.current_scope()
            return str(memguard.current_scope().name)

    class Together:
        def __init__(self) -> None:
            self.left = 3
            self.event = asyncio.Event()

        async def wait(self) -> None:
            self.left -= 1
            if not self.left:
                self.event.set()
            await self.event.wait()

    async def main() -> list[str]:
        async with Guard():
            together = Together()
            return await asyncio.gather(*(one(name, together) for name in "abc"))

    assert ["a", "b", "c"] == asyncio.run(main())


def test_an_unknown_name_is_an_attribute_error() -> None:
    """
    With the name of the module.
    """
    with pytest.raises(
        AttributeError, match="module 'memguard' has no attribute 'nope'"
    ):
        memguard.nope  # noqa: B018
    assert "timer" in dir(memguard)
    assert "." in memguard.__version__


def test_one_default_guard_for_all_threads() -> None:
    """
    Whoever asks first makes it.
    """
    found: list[Guard] = []
    together = threading.Barrier(8)

    def ask() -> None:
        together.wait(5)
        found.append(default.default_guard())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert 1 == len(set(map(id, found)))
    assert 8 == len(found)


# -- installing ------------------------------------------------------------------------


def test_installing_starts_and_leaving_undoes_all() -> None:
    """
    The handler of the signal is memguard's in between.
    """
    before = signal.getsignal(signal.SIGTERM)
    with memguard.install() as guard:
        assert guard.is_running
        assert guard is memguard.current()
        assert before != signal.getsignal(signal.SIGTERM)

    assert before == signal.getsignal(signal.SIGTERM)
    assert not guard.is_running


def test_installing_in_a_loop() -> None:
    """
    As an asynchronous block.
    """

    async def main() -> Guard:
        async with memguard.install() as guard:
            memguard.spawn(asyncio.sleep(20))
            assert guard.is_running
        return guard

    guard = asyncio.run(main())
    assert not guard.is_running
    assert 0 == guard.snapshot().count("task")


def test_installing_twice_with_the_same_settings_does_nothing() -> None:
    """
    Spelled differently or not; other settings are refused by name.
    """
    guard = memguard.install(tick="2s", memory_limit="256MiB")
    assert guard is memguard.install(tick=2, memory_limit=256 << 20)

    with pytest.raises(SettingsConflict, match=r"\(tick\)"):
        memguard.install(tick="3s", memory_limit="256MiB")
    assert 2.0 == guard.settings.tick


def test_wrong_settings_install_nothing() -> None:
    """
    All of them are told at once.
    """
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SettingsError) as caught:
        memguard.install(tick="soon", warning=7)

    assert 2 == len(caught.value.problems)
    assert before == signal.getsignal(signal.SIGTERM)
    assert not default.default_guard().is_running


def test_a_second_installed_guard_is_refused() -> None:
    """
    Until the first is uninstalled.
    """
    first = memguard.install()
    second = Guard("second")

    with pytest.raises(GuardConflict, match=r"'app'.*'second'"):
        default.install_guard(second, second.settings)
    first.shutdown()
    first.uninstall()
    assert second is default.install_guard(second, second.settings)
    second.shutdown()
    second.uninstall()


def test_installing_again_after_a_shutdown() -> None:
    """
    With other settings, once it is uninstalled.
    """
    memguard.install(tick="2s").shutdown()
    default.default_guard().uninstall()
    with memguard.install(tick="3s") as guard:
        assert 3.0 == guard.settings.tick


def test_uninstalling_twice_and_before_installing_does_nothing() -> None:
    """
    There is nothing to undo.
    """
    guard = default.default_guard()
    guard.uninstall()
    memguard.install()
    guard.shutdown()
    guard.uninstall()
    guard.uninstall()

    assert not guard.is_running


def test_a_hundred_installations_leave_the_process_as_it_was() -> None:
    """
    Handlers and threads.
    """
    handler = signal.getsignal(signal.SIGTERM)
    threads = threading.active_count()
    for _ in range(100):
        with memguard.install():
            pass

    assert handler == signal.getsignal(signal.SIGTERM)
    assert threads == threading.active_count()


def test_in_a_prefork_master_nothing_is_started() -> None:
    """
    It configures; threads and handlers are for the workers.
    """
    handler = signal.getsignal(signal.SIGTERM)
    default.prefork_master(True)
    try:
        guard = memguard.install(tick="2s")
        assert not guard.is_running
        assert 2.0 == guard.settings.tick
        assert handler == signal.getsignal(signal.SIGTERM)
    finally:
        default.prefork_master(False)
    assert memguard.install(tick="2s").is_running


def test_integrations_install_the_default_guard_and_start_any_other() -> None:
    """
    And learn whether it was they who did.
    """
    own = Guard("own")
    assert not default.ensure_started(own)
    assert own.is_running
    own.shutdown()

    guard = default.default_guard()
    assert default.ensure_started(guard)
    assert not default.ensure_started(guard)
    assert guard.is_running


def test_a_frameworks_configuration_stands_below_keywords() -> None:
    """
    It is remembered for a later `install`.
    """
    guard = default.default_guard()
    default.configure(guard, {"MEMGUARD_TICK": "3s", "MEMGUARD_GRACE": "40s"})
    installed = memguard.install(tick="2s")

    assert (2.0, 40.0) == (installed.settings.tick, installed.settings.grace)
    default.configure(guard, {"MEMGUARD_GRACE": "40s"})
    with pytest.raises(SettingsConflict, match="grace"):
        default.configure(guard, {"MEMGUARD_GRACE": "50s"})


def test_a_forgotten_default_guard_can_go() -> None:
    """
    Nothing in the process holds on to it.
    """
    memguard.install()
    seen = weakref.ref(default.default_guard())
    default.reset_default()
    gc.collect()

    assert seen() is None
