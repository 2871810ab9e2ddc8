"""
The program that a command is to work on: `module`, `module:function` or `script.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

__all__ = ("BadTarget", "find", "load")


class BadTarget(Exception):
    """
    Raised when there is nothing of that name; the text says what is missing.
    """


def load(target: str) -> Callable[[], Any] | None:
    """
    Import the module or the script and return the function that was named, if any.

    As `find`; what is named has to be callable.
    """
    found = find(target)
    if ":" not in target:
        return None
    if not callable(found):
        msg = f"{target} is a {type(found).__qualname__}; name a function"
        raise BadTarget(msg)
    return found  # type: ignore[no-any-return]


def find(target: str) -> Any:
    """
    Import the module or the script and return it, or what was named in it.

    A script is imported as well, so what stands under `if __name__ == "__main__":`
    is not run. What the program raises while it is imported passes through.
    """
    place, colon, name = target.partition(":")
    if not place or (colon and not name):
        msg = f"{target!r} must be module, module:function or script.py[:function]"
        raise BadTarget(msg)
    if place.endswith(".py") or os.sep in place:
        found = _script(place)
    else:
        found = _module(place)
    for part in name.split(".") if name else ():
        try:
            found = getattr(found, part)
        except AttributeError:
            msg = f"{place} has no attribute {name!r}"
            raise BadTarget(msg) from None
    return found


def _module(name: str) -> Any:
    # As `python -m` does; the script of a console command has another first entry.
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        # Only when it is the module that was named, or its package, that is missing.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        msg = f"there is no module {error.name!r} on the path or in {here}"
        raise BadTarget(msg) from None


def _script(path: str) -> Any:
    if not os.path.isfile(path):
        msg = f"there is no file {path!r}"
        raise BadTarget(msg)
    full = os.path.abspath(path)
    directory, file = os.path.split(full)
    if directory not in sys.path:
        sys.path.insert(0, directory)
    name = file.removesuffix(".py")
    spec = spec_from_file_location(name, full)
    if spec is None or spec.loader is None:
        msg = f"{path!r} is not a Python file"
        raise BadTarget(msg)
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
