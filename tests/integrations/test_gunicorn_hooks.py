"""
gunicorn's hooks without gunicorn's processes: chaining, arities, who starts what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from gunicorn.config import Config

import memguard
from memguard import _default
from memguard.integrations import gunicorn

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("on_starting", "post_fork", "post_worker_init", "worker_abort", "worker_exit")


class Worker:
    """
    A worker of a synchronous class.
    """


class UvicornWorker(Worker):
    """
    A worker that runs an ASGI server, known by its name or its package.
    """


@pytest.fixture(autouse=True)
def no_signals(fresh_default: None) -> Iterator[None]:
    """
    A default guard that hooks no signal of the process that runs the tests.
    """
    memguard.current().apply(memguard.Settings(signals=()))
    yield
    _default.prefork_master(False)


def test_gunicorn_accepts_every_hook() -> None:
    """
    It checks how many arguments each takes: alone, and chained with one's own.
    """
    chained: dict[str, Any] = {
        "on_starting": lambda server: None,
        "post_fork": lambda server, worker: None,
        "post_worker_init": lambda worker: None,
        "worker_abort": lambda worker: None,
        "worker_exit": lambda server, worker: None,
    }
    alone: dict[str, Any] = {}
    for namespace in (chained, alone):
        gunicorn.hooks(namespace)
        config = Config()
        for name in NAMES:
            config.set(name, namespace[name])
            assert namespace[name] is config.settings[name].get()


def test_star_import_brings_the_hooks() -> None:
    """
    And nothing else that gunicorn would take for a setting.
    """
    namespace: dict[str, Any] = {}
    exec("from memguard.integrations.gunicorn import *", namespace)
    assert {*NAMES, "hooks"} == namespace.keys() - {"__builtins__"}


def test_ones_own_hooks_come_first_when_starting_and_last_when_ending(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    What is set up in them finds the guard not started, and what they end closed.
    """
    calls: list[tuple[str, bool]] = []

    def noting(name: str, *arguments: Any) -> None:
        calls.append((name, memguard.current().is_running))

    namespace: dict[str, Any] = {
        "post_fork": lambda server, worker: noting("post_fork"),
        "post_worker_init": lambda worker: noting("post_worker_init"),
        "worker_exit": lambda server, worker: noting("worker_exit"),
    }
    gunicorn.hooks(namespace)
    worker = Worker()
    namespace["on_starting"](None)
    namespace["post_fork"](None, worker)
    namespace["post_worker_init"](worker)
    assert memguard.current().is_running
    namespace["worker_exit"](None, worker)
    assert not memguard.current().is_running
    assert [
        ("post_fork", False),
        ("post_worker_init", False),
        ("worker_exit", True),
    ] == calls


def test_chaining_twice_changes_nothing() -> None:
    """
    A conf file that is read again (SIGHUP) or says it twice.
    """
    namespace: dict[str, Any] = {"post_fork": lambda server, worker: None}
    gunicorn.hooks(namespace)
    first = dict(namespace)
    gunicorn.hooks(namespace)
    assert first == namespace


def test_asgi_workers_leave_it_to_the_lifespan() -> None:
    """
    Their server starts and stops the guard; the hooks stand aside.
    """
    gunicorn.post_worker_init(UvicornWorker())
    assert not memguard.current().is_running


def test_master_declares_and_never_arms() -> None:
    """
    In the master `install()` only configures; the worker that it becomes is armed.
    """
    gunicorn.on_starting(None)
    guard = memguard.install(signals=())
    assert not guard.is_running
    gunicorn.worker_exit(
        None, Worker()
    )  # the master calls it for workers that are gone
    gunicorn.post_fork(None, Worker())
    gunicorn.post_worker_init(Worker())
    assert guard.is_running
    guard.shutdown()
    guard.uninstall()


def test_aborted_worker_has_a_second() -> None:
    """
    Gunicorn kills a worker about a second after it has aborted it.
    """
    worker = Worker()
    gunicorn.post_worker_init(worker)
    gunicorn.worker_abort(worker)
    reports: list[Any] = []
    memguard.current().subscribe(
        lambda event: reports.append(event.report) if hasattr(event, "report") else None
    )
    gunicorn.worker_exit(None, worker)
    assert [1.0] == [report.budget_s for report in reports]


def test_exit_of_a_worker_that_never_started() -> None:
    """
    An application that failed to load leaves nothing to shut down.
    """
    gunicorn.worker_exit(None, Worker())
    assert not memguard.current().is_running
