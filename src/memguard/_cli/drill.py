"""
`memguard drill`: a shutdown on trial, with its report.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from memguard._cli.codes import FINDING, OK, USAGE
from memguard._cli.target import BadTarget, load
from memguard._cli.terminal import coloured, print_json, print_problem
from memguard._default import default_guard, ensure_started
from memguard._events import Event, ShutdownFinished
from memguard._kinds.closers import is_coroutine
from memguard._settings import parse_duration
from memguard.errors import BackgroundFailures, SettingsError

if TYPE_CHECKING:
    from memguard._guard import Guard
    from memguard._lifecycle.report import ShutdownReport

__all__ = ("add_to", "run")

_REASON = "memguard drill"


def add_to(commands: Any) -> None:
    """
    Add the command to the parser.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "drill",
        help="start a program's guard, shut it down, and print the report",
        description="Imports a module or a script, starts the default guard, calls the"
        " function if one is named (`async def` on a loop of its own), shuts down, and"
        " prints the report: a test of the shutdown for continuous integration.",
        epilog="Exit code 1 when the audit is not clean, or the function failed.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--timeout",
        metavar="DURATION",
        type=_duration,
        help="the budget of the shutdown, such as 5s (the setting shutdown_timeout)",
    )
    parser.add_argument(
        "target", metavar="TARGET", help="module, module:function or script.py"
    )
    parser.add_argument(
        "arguments", metavar="ARG", nargs="*", help="arguments for the program"
    )
    parser.set_defaults(run=run)


def _duration(text: str) -> float:
    try:
        return parse_duration(text, what="--timeout")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(arguments: argparse.Namespace) -> int:
    """
    Hold the drill; with --json what the program prints goes to stderr.
    """
    sys.argv = [arguments.target, *arguments.arguments]
    with redirect_stdout(sys.stderr if arguments.json else sys.stdout):
        try:
            function = load(arguments.target)
            guard = default_guard()
        except (BadTarget, SettingsError) as error:
            print_problem(str(error))
            return USAGE
        except Exception:
            traceback.print_exc()
            print_problem(f"{arguments.target} cannot be imported")
            return USAGE
        drill = _Drill(guard, arguments.timeout)
        drill.hold(function)
    return drill.told(arguments.target, as_json=arguments.json)


class _Drill:
    """
    One drill and what came of it.
    """

    def __init__(self, guard: Guard, timeout: float | None) -> None:
        self._guard = guard
        self._timeout = timeout
        self.error: BaseException | None = None
        self.failures: tuple[BaseException, ...] = ()
        self._reports: list[ShutdownReport] = []

    def hold(self, function: Callable[[], Any] | None) -> None:
        """
        Start, call, shut down; the guard is uninstalled afterwards, whatever happens.
        """
        unsubscribe = self._guard.subscribe(self._on_event)
        try:
            if is_coroutine(function):
                import asyncio

                asyncio.run(self._on_loop(function))
            else:
                self._in_thread(function)
        except BackgroundFailures as failures:
            self.failures = failures.exceptions
        finally:
            unsubscribe()
            self._guard.uninstall()

    def _on_event(self, event: Event) -> None:
        # Strict mode raises from shutdown(), so the report is taken from here.
        if isinstance(event, ShutdownFinished):
            self._reports.append(event.report)

    @property
    def report(self) -> ShutdownReport | None:
        """
        The report that matters: the first that is not clean, else the longest.

        There may be several, for the program may shut the guard down by itself.
        """
        for report in self._reports:
            if not report.clean:
                return report
        return max(self._reports, key=lambda one: len(one.resources), default=None)

    def _in_thread(self, function: Callable[[], Any] | None) -> None:
        ensure_started(self._guard)
        try:
            if function is not None:
                function()
        except (Exception, SystemExit) as error:
            self._note(error)
        finally:
            if self._guard.is_running or not self._reports:
                self._guard.shutdown(self._timeout, reason=_REASON)

    async def _on_loop(self, function: Any) -> None:
        ensure_started(self._guard)
        async with self._guard:
            try:
                await function()
            except (Exception, SystemExit) as error:
                self._note(error)
            finally:
                if self._guard.is_running or not self._reports:
                    await self._guard.ashutdown(self._timeout, reason=_REASON)

    def _note(self, error: BaseException) -> None:
        """
        Keep what the function raised; `sys.exit(0)` is a way to end well.
        """
        if isinstance(error, SystemExit) and error.code in (None, 0):
            return
        self.error = error
        traceback.print_exception(type(error), error, error.__traceback__)

    def told(self, target: str, *, as_json: bool) -> int:
        """
        Print what came of it, and return the exit code.
        """
        report = self.report
        error = None if self.error is None else type(self.error).__qualname__
        failures = [type(failure).__qualname__ for failure in self.failures]
        clean = report is not None and report.clean and not error and not failures
        if as_json:
            print_json(
                {
                    "schema": "memguard.drill/1",
                    "target": target,
                    "clean": clean,
                    "error": error,
                    "background_failures": failures,
                    "report": None if report is None else report.to_dict(),
                }
            )
        else:
            print(report)
            if error:
                print(coloured(f"  {target} failed with {error}", "red"))
            if failures:
                listed = ", ".join(failures)
                print(coloured(f"  failed in the background: {listed}", "red"))
        return OK if clean else FINDING
