"""
Whose a module or a class is: the application's, or a library's.
"""

from __future__ import annotations

import sys
from typing import Any

from memguard._lifecycle.attribution import origin_of_file
from memguard._risks.reading import attribute, module_names, module_of

__all__ = ("is_foreign", "is_library")

_INSIDE = frozenset(("built-in", "frozen"))


def is_library(name: str, names: dict[str, Any]) -> bool:
    """
    True for the standard library, for installed packages, and for memguard.

    What has no file is the application's, unless the package it says to be in is not.
    """
    top = name.partition(".")[0]
    if top == "memguard":
        return True
    file = names.get("__file__")
    if type(file) is not str:
        spec = names.get("__spec__")
        file = None if spec is None else attribute(spec, "origin")
    if type(file) is str and file != "namespace":
        return file in _INSIDE or bool(origin_of_file(file))
    if top in sys.stdlib_module_names:
        return True
    if top == name:
        return False
    above = sys.modules.get(top)
    outer = None if above is None else module_names(above)
    return outer is not None and is_library(top, outer)


def is_foreign(kind: type) -> bool:
    """
    True where a library, or the interpreter, defines the class.
    """
    name = module_of(kind)
    module = sys.modules.get(name)
    names = None if module is None else module_names(module)
    if names is None:
        return name.partition(".")[0] in sys.stdlib_module_names
    return is_library(name, names)
