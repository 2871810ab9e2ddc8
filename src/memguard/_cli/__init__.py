"""
The command `memguard`: one file a command, the standard library only.

Exit codes: 0 all is well, 1 something was found, 2 wrong usage, 3 no connection to
the process that was named.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from memguard._cli import check, config, drill, risks
from memguard._cli.codes import INTERRUPTED, OK

__all__ = ("main",)

_COMMANDS: Final = (check, config, drill, risks)


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run the command line *argv* (that of the process) and return the exit code.
    """
    try:
        arguments = _parser().parse_args(argv)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except SystemExit as asked:  # argparse, for --help and for wrong usage
        return asked.code if isinstance(asked.code, int) else OK
    except BrokenPipeError:
        # The reader has seen enough (`memguard config | head`). What is still in the
        # buffer must not fail again when the interpreter flushes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="memguard",
        description="Looks after the memory and the resources of Python services.",
        epilog="Exit codes: 0 all is well, 1 something was found, 2 wrong usage,"
        " 3 no connection.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    return parser


class _Version(argparse.Action):
    """
    Reads the version when it is asked for: the metadata are slow to find.
    """

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"memguard {version('memguard')}")
        parser.exit()
