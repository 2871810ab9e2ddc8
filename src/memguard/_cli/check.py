"""
`memguard check PID`: the footprint of a running process, from outside.
"""

from __future__ import annotations

import argparse
from typing import Any, Final

from memguard._cli.codes import FINDING, OK, UNREADABLE, USAGE
from memguard._cli.terminal import coloured, print_json, print_problem
from memguard._clock import SystemClock
from memguard._footprint import Footprint, footprint_of_process
from memguard._probes.process import ProcessView
from memguard._settings import Settings, format_size
from memguard.errors import SettingsError

__all__ = ("add_to", "findings", "run")

_LARGEST_PID: Final = 1 << 22


def add_to(commands: Any) -> None:
    """
    Add the command to the parser.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="what a running process takes from the system",
        description="Reads what the system tells about a process of the same user:"
        " memory, limit, uptime, descriptors, connections, children, threads. The"
        " process is not touched and need not know memguard. What only the process"
        " itself can tell is said to be off.",
        epilog="Exit code 1 when it is over the setting `warning` (0.70) of its memory"
        " limit or of its limit of descriptors; 2 for wrong usage; 3 when there is no"
        " such process or it cannot be read.",
    )
    parser.add_argument("pid", metavar="PID", help="the number of the process")
    parser.add_argument("--log-dir", metavar="PATH", help="count the files below")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="sum up all pages too, which takes 1 ms for each 100 MB",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """
    Look once and print.
    """
    pid = arguments.pid
    if not (pid.isascii() and pid.isdecimal() and 0 < int(pid) <= _LARGEST_PID):
        print_problem(f"{pid!r} is not the number of a process")
        return USAGE
    try:
        warning = float(Settings.load().warning)
    except SettingsError as error:
        print_problem(str(error))
        return USAGE
    view = ProcessView(int(pid))
    stat = view.stat()
    if stat is None or not view.exists():
        ended = "has ended and waits for its parent" if stat else "does not exist"
        print_problem(f"process {pid} {ended}")
        return UNREADABLE
    found = footprint_of_process(
        view, SystemClock(), log_dir=arguments.log_dir, deep=arguments.deep
    )
    now = view.stat()
    if now is None or now.started_s != stat.started_s:
        print_problem(f"process {pid} ended while it was looked at")
        return UNREADABLE
    if found.rss is None:
        print_problem(f"process {pid} cannot be read: {view.unreadable()}")
        return UNREADABLE
    problems = findings(found, warning)
    if arguments.json:
        print_json({**found.to_dict(), "findings": problems})
    else:
        print(found)
        for problem in problems:
            print(coloured(f"finding: {problem}", "yellow"))
    return FINDING if problems else OK


def findings(found: Footprint, warning: float) -> list[str]:
    """
    What is over the share *warning* of its limit. Pure.
    """
    problems = []
    ratio, size = found.limit_ratio, found.limit.limit_bytes
    if ratio is not None and size and ratio >= warning:
        problems.append(
            f"memory: {ratio:.0%} of the limit of {format_size(size)}"
            f" ({found.limit.source}) is used"
        )
    count, most = found.open_descriptors, found.descriptors_limit
    if count is not None and most and count >= warning * most:
        problems.append(f"descriptors: {count} of {most} are open")
    return problems
