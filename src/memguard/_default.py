"""
The default guard of the process, and its installation.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from memguard._forks import tell_after_fork
from memguard._guard import Guard, active
from memguard._process import exits
from memguard._process.home import home_of
from memguard._process.signals import Signals
from memguard._settings import Settings
from memguard._telemetry.auto import instrument_if_loaded
from memguard._tree import Branch, current as _current_scope
from memguard.errors import GuardConflict, SettingsConflict

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from memguard._settings import SettingsKwargs
    from memguard._telemetry.instrumentation import Instrumentation

__all__ = (
    "configure",
    "current",
    "current_scope",
    "default_guard",
    "ensure_started",
    "install",
    "prefork_ahead",
    "prefork_master",
)


class _Installation:
    """
    What was installed for one guard, to be undone as a whole.
    """

    def __init__(self, guard: Guard, settings: Settings) -> None:
        self.guard = guard
        self.settings = settings
        self._signals: Signals | None = None
        self._metrics: Instrumentation | None = None

    def put_up(self, *, on_top: bool) -> None:
        if self._signals is None:
            self._signals = Signals(self.guard, self.settings.signals)
            self._signals.install()
            exits.shut_down_at_exit(self.guard)
        elif on_top and threading.current_thread() is threading.main_thread():
            self._signals.install()
        self.guard.start()
        if self._metrics is None:
            self._metrics = instrument_if_loaded(self.guard)

    def take_down(self) -> None:
        exits.forget_exit()
        if self._signals is not None:
            self._signals.uninstall()
            self._signals = None
        metrics, self._metrics = self._metrics, None
        if metrics is not None:
            metrics.shutdown()

    def renew_in_child(self) -> None:
        if self._signals is not None:
            exits.renew_in_child()
            self._signals.renew_in_child()


class _Process:
    """
    What there is once in a process.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.default: Guard | None = None
        self.installation: _Installation | None = None
        # The settings of a framework's own configuration.
        self.framework: Mapping[str, Any] = {}
        # A prefork server loads the application in its master: declarations are fine
        # there; threads, signals and exit hooks belong to the workers. Known by its
        # process id, so that no worker ever takes itself for it; -1 while it is still
        # to come (it may be a daemon, and then is forked once more).
        self.master_pid = 0

    @property
    def is_prefork_master(self) -> bool:
        return self.master_pid in (-1, os.getpid())

    def _after_fork_in_child(self) -> None:
        # Another thread of the parent may have held it.
        self.lock = threading.RLock()
        if self.installation is not None:
            self.installation.renew_in_child()


_process: Final = _Process()


def default_guard() -> Guard:
    """
    The guard of the module-level functions; made on first use, started by `install`.
    """
    found = _process.default
    if found is None:
        # Before the lock: a child may be forked while somebody holds it.
        tell_after_fork(_process, first=True)
        with _process.lock:
            found = _process.default
            if found is None:
                found = _process.default = Guard()
    return found


def current() -> Guard:
    """
    The innermost `with guard:` of this context, else the default guard.
    """
    return active.get() or default_guard()


def current_scope() -> Branch:
    """
    The innermost scope this context has entered, else the current guard.
    """
    scope = _current_scope.get()
    if scope is None or scope.registry.detached:
        return current()
    return scope


def install(**settings: Unpack[SettingsKwargs]) -> Guard:
    """
    Configure and start the default guard; take its place in the process.

    Installs one handler for SIGTERM (in the main thread), an exit hook and a fork
    hook; `guard.uninstall()` undoes all of it. The result is a context manager, sync
    and async: leaving it shuts down and uninstalls. With the same settings a second
    call changes nothing; with others it raises SettingsConflict. In a prefork master
    it only configures: each worker installs itself.
    """
    return install_guard(default_guard(), Settings.load(_process.framework, **settings))


def install_guard(guard: Guard, settings: Settings, *, on_top: bool = False) -> Guard:
    """
    Install *guard*; raises GuardConflict when another one is installed.

    *on_top* puts the signal handlers on top of those a server has installed since.
    """
    with _process.lock:
        found = _process.installation
        if found is not None and found.guard is not guard:
            msg = (
                f"guard {found.guard.label!r} is installed in this process already;"
                f" uninstall() it before guard {guard.label!r} is"
            )
            raise GuardConflict(msg)
        if found is None:
            if not guard.is_running or not guard.settings.same_as(settings):
                guard.apply(settings)
            found = _process.installation = _Installation(guard, settings)
            guard.on_uninstall = _uninstall
            guard.home = _home(guard)
        elif not found.settings.same_as(settings):
            msg = (
                "memguard is installed already with other settings"
                f" ({_differences(found.settings, settings)}); call install() once, or"
                " uninstall() first"
            )
            raise SettingsConflict(msg)
        if not _process.is_prefork_master:
            found.put_up(on_top=on_top)
    return guard


def _home(guard: Guard) -> str | None:
    """
    Where what outlives the process is kept without a setting.

    It is found once: a program may go to another directory later.
    """
    try:
        working = os.getcwd()
    except OSError:
        working = ""  # somebody has removed it
    arguments: list[str] = getattr(sys, "argv", [])
    return home_of(
        guard.label, environ=os.environ, arguments=arguments, working=working
    )


def configure(guard: Guard, framework: Mapping[str, Any]) -> None:
    """
    Settings from a framework's configuration: below the environment and keywords.

    Raises SettingsError, and SettingsConflict when the guard runs with others.
    """
    keywords: Any = {
        one.field: one.value
        for one in guard.settings.describe()
        if one.origin == "keyword"
    }
    settings = Settings.load(framework, **keywords)
    found = _process.installation
    fixed = guard.is_running or (found is not None and found.guard is guard)
    if fixed and not guard.settings.same_as(settings):
        msg = (
            f"guard {guard.label!r} runs already with other settings than the"
            f" framework's configuration asks for"
            f" ({_differences(guard.settings, settings)}); set up the application"
            " before memguard.install(), or leave them out of one of the two"
        )
        raise SettingsConflict(msg)
    if guard is _process.default:
        _process.framework = dict(framework)
    if not fixed:
        guard.apply(settings)


def _differences(first: Settings, second: Settings) -> str:
    return ", ".join(
        one.field
        for one, other in zip(first.describe(), second.describe(), strict=True)
        if one.value != other.value
    )


def ensure_started(guard: Guard) -> bool:
    """
    For integrations: the default guard is installed, any other one started.

    True when this call has installed it: the caller then has to uninstall it.
    """
    if guard is not _process.default:
        guard.start()
        return False
    before = _process.installation
    install_guard(guard, guard.settings, on_top=True)
    return before is None


def _uninstall() -> None:
    with _process.lock:
        found, _process.installation = _process.installation, None
    if found is not None:
        found.take_down()


def prefork_master(is_master: bool) -> None:
    """
    Told by a server's hooks: this process forks workers, or has become one.
    """
    _process.master_pid = os.getpid() if is_master else 0


def prefork_ahead() -> None:
    """
    Told while a prefork server reads its configuration: its master comes next.
    """
    _process.master_pid = -1


def reset_default() -> None:
    """
    For tests: shut the default guard down, uninstall it, and forget it.
    """
    with _process.lock:
        guard, _process.default = _process.default, None
        _process.framework = {}
    if guard is not None:
        if guard.is_running:
            guard.shutdown()
        guard.uninstall()
