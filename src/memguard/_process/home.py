"""
Which directory an installed guard has for what outlives its process.

Pure: takes what it needs to know. Nothing is made before something is kept there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final
from zlib import crc32

__all__ = ("home_of",)

_LONGEST: Final = 40


def home_of(
    name: str, *, environ: Mapping[str, str], arguments: Sequence[str], working: str
) -> str | None:
    """
    The directory of systemd, else one below the user's, by what the service is.

    That is the name of its guard, the directory it was started in, its program, and
    the application that it was told to serve ("shop:app"): the same after a restart
    and in each worker, another one for another service. None where the user has no
    home either.
    """
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if os.path.isabs(given):
        return given
    base = environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(base):  # the standard wants such ones to be ignored
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".local", "state")
    return os.path.join(base, "memguard", _identity(name, arguments, working))


def _identity(name: str, arguments: Sequence[str], working: str) -> str:
    program = arguments[0] if arguments else ""
    if program and not program.startswith("-"):  # that would be `python -c`
        program = os.path.join(working, program)
    served = [one for one in arguments[1:] if _is_application(one)]
    text = "\0".join([name, working, os.path.normpath(program), *served])
    shown = "".join(
        one if one.isascii() and (one.isalnum() or one in "._") else "-" for one in name
    )
    # It tells services of one user apart, and guards against nobody.
    number = crc32(text.encode("utf-8", "surrogatepass"))
    return f"{shown[:_LONGEST]}-{number:08x}"


def _is_application(argument: str) -> bool:
    """
    True for "package.module:object", perhaps with a call at its end.
    """
    module, _, found = argument.partition(":")
    return all(
        part.isidentifier()
        for part in (*module.split("."), *found.partition("(")[0].split("."))
    )
