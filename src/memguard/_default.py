"""
The default guard of the process, and its installation.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from memguard._forks import tell_after_fork
from memguard._guard import Guard, active
from memguard._process import exits
from memguard._process.signals import Signals
from memguard._settings import Settings
from memguard._tree import Branch
from memguard._tree import current as _current_scope
from memguard.errors import GuardConflict, SettingsConflict

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from memguard._settings import SettingsKwargs

__all__ = (
    "current",
    "current_scope",
    "default_guard",
    "ensure_started",
    "install",
    "prefork_master",
)

_lock = threading.RLock()
_default: Guard | None = None
_installation: _Installation | None = None
# A prefork server loads the application in its master: declarations are fine there,
# threads, signals and exit hooks belong to the workers.
_is_prefork_master = False


class _Installation:
    """
    What was installed for one guard, to be undone as a whole.
    """

    def __init__(self, guard: Guard, settings: Settings) -> None:
        self.guard = guard
        self.settings = settings
        self._signals: Signals | None = None

    def put_up(self) -> None:
        if self._signals is None:
            self._signals = Signals(self.guard, self.settings.signals)
            self._signals.install()
            exits.shut_down_at_exit(self.guard)
            tell_after_fork(self)
        self.guard.start()

    def take_down(self) -> None:
        exits.forget_exit()
        if self._signals is not None:
            self._signals.uninstall()
            self._signals = None

    def _after_fork_in_child(self) -> None:
        global _lock
        _lock = threading.RLock()
        if self._signals is not None:
            exits.renew_in_child()
            self._signals.renew_in_child()


def default_guard() -> Guard:
    """
    The guard of the module-level functions; made on first use, started by `install`.
    """
    global _default
    if _default is None:
        with _lock:
            if _default is None:
                _default = Guard()
    return _default


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
    return install_guard(default_guard(), Settings.load(**settings))


def install_guard(guard: Guard, settings: Settings) -> Guard:
    """
    Install *guard*; raises GuardConflict when another one is installed.
    """
    global _installation
    with _lock:
        found = _installation
        if found is not None and found.guard is not guard:
            msg = (
                f"guard {found.guard.label!r} is installed in this process already;"
                f" uninstall() it before guard {guard.label!r} is"
            )
            raise GuardConflict(msg)
        if found is None:
            guard.apply(settings)
            found = _installation = _Installation(guard, settings)
            guard.on_uninstall = _uninstall
        elif not found.settings.same_as(settings):
            changed = ", ".join(_differences(found.settings, settings))
            msg = (
                f"memguard is installed already with other settings ({changed}); call"
                " install() once, or uninstall() first"
            )
            raise SettingsConflict(msg)
        if not _is_prefork_master:
            found.put_up()
    return guard


def _differences(first: Settings, second: Settings) -> list[str]:
    return [
        one.field
        for one, other in zip(first.describe(), second.describe(), strict=True)
        if one.value != other.value
    ]


def ensure_started(guard: Guard) -> None:
    """
    For integrations: the default guard is installed, any other one started.
    """
    if guard is _default:
        install_guard(guard, guard.settings)
    else:
        guard.start()


def _uninstall() -> None:
    global _installation
    with _lock:
        found, _installation = _installation, None
    if found is not None:
        found.take_down()


def prefork_master(is_master: bool) -> None:
    """
    Told by a server's hooks: this process forks workers, or has become one.
    """
    global _is_prefork_master
    _is_prefork_master = is_master


def reset_default() -> None:
    """
    For tests: shut the default guard down, uninstall it, and forget it.
    """
    global _default
    with _lock:
        guard, _default = _default, None
    if guard is not None:
        if guard.is_running:
            guard.shutdown()
        guard.uninstall()
