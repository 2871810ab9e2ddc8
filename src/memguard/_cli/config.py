"""
`memguard config`: every setting with its value and where it comes from.
"""

from __future__ import annotations

import argparse
from typing import Any

from memguard._cli.codes import FINDING, OK
from memguard._cli.terminal import print_json, print_problem, print_table
from memguard._settings import Settings
from memguard.errors import SettingsError

__all__ = ("add_to", "run")


def add_to(commands: Any) -> None:
    """
    Add the command to the parser.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        "config",
        help="every setting with its value and its origin",
        description="Prints the settings that a process would have that is started"
        " here, from the environment and from the TOML file that --file or"
        " MEMGUARD_CONFIG names. What a program passes as keywords comes before both"
        " and is not known here.",
        epilog="Exit code 1 when a setting is wrong.",
    )
    parser.add_argument(
        "--file", metavar="PATH", help="a TOML file with a table [tool.memguard]"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """
    Print the settings; every problem at once when some are wrong.
    """
    try:
        settings = Settings.load(pyproject=arguments.file)
    except SettingsError as error:
        if arguments.json:
            print_json({"settings": {}, "warnings": [], "problems": error.problems})
        else:
            for problem in error.problems:
                print_problem(problem)
        return FINDING
    described = settings.describe()
    if arguments.json:
        print_json(
            {
                "settings": {
                    one.field: {
                        "value": one.value,
                        "text": one.text,
                        "origin": one.origin,
                    }
                    for one in described
                },
                "warnings": settings.warnings,
                "problems": [],
            }
        )
        return OK
    print_table(
        [(one.field, one.text, one.origin) for one in described], ("bold", None, "dim")
    )
    for warning in settings.warnings:
        print_problem(warning, "yellow")
    return OK
