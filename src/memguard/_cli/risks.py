"""
`memguard risks`: what may grow without bound in a program.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from contextlib import redirect_stdout
from typing import Any, Final

from memguard._cli.codes import FINDING, OK, USAGE
from memguard._cli.target import BadTarget, find
from memguard._cli.terminal import coloured, print_json, print_problem
from memguard._default import default_guard
from memguard.errors import SettingsError

__all__ = ("add_to", "run")

_COLOURS: Final = {"high": "red", "medium": "yellow", "low": "dim"}


def add_to(commands: Any) -> None:
    """
    Add the command to the parser.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "risks",
        help="what may grow without bound in a program",
        description="Imports modules or scripts and lists what may grow without bound:"
        " what the default guard owns, and what modules, classes, functions, queues,"
        " executors and logging hold. Nothing is called. A running program calls"
        " memguard.risks(), which knows sizes and growth too.",
        epilog="Exit code 1 when something is at a high or medium risk.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "targets",
        metavar="TARGET",
        nargs="+",
        help="module, module:attribute or script.py, to be imported",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """
    Import, look, print; with --json what the program prints goes to stderr.
    """
    with redirect_stdout(sys.stderr if arguments.json else sys.stdout):
        for target in arguments.targets:
            try:
                find(target)
            except BadTarget as error:
                print_problem(str(error))
                return USAGE
            except Exception:
                traceback.print_exc()
                print_problem(f"{target} cannot be imported")
                return USAGE
        try:
            report = default_guard().risks()
        except SettingsError as error:
            print_problem(str(error))
            return USAGE
    if arguments.json:
        print_json(report.to_dict())
    else:
        print(_painted(str(report)))
    return OK if report.clean else FINDING


def _painted(text: str) -> str:
    """
    The report with the first line of each finding in the colour of its impact.
    """
    lines = []
    for line in text.splitlines():
        word = line.strip().partition(" ")[0]
        lines.append(coloured(line, _COLOURS[word]) if word in _COLOURS else line)
    return "\n".join(lines)
