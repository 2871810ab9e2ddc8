"""
The public interface is a tracked file: what changes in it shows in a review.

`python tests/test_public_api.py --write` writes it anew.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import Any

import memguard
from memguard import errors
from memguard._tree import Branch, Node

FILE = Path(__file__).with_name("public_api.txt")
MODULES = (
    "memguard",
    "memguard.errors",
    "memguard.testing",
    "memguard.typing",
    "memguard.integrations.asgi",
    "memguard.integrations.flask",
    "memguard.integrations.gunicorn",
    "memguard.integrations.otel",
    "memguard.integrations.wsgi",
)

SPECIAL = {"__call__", "__enter__", "__aenter__", "__await__", "__init__"}
# How nodes work, but for what everybody may ask of one.
INSIDE = (vars(Node).keys() | vars(Branch).keys()) - {"close", "closed", "memory_bytes"}


def parameters(thing: Any) -> str:
    """
    Names, kinds and defaults; annotations differ between versions of Python.
    """
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    shown = [
        parameter.replace(annotation=inspect.Parameter.empty)
        for parameter in signature.parameters.values()
    ]
    text = str(signature.replace(parameters=shown, return_annotation=()))
    return re.sub(r" at 0x[0-9a-f]+", "", text).removesuffix("-> ()").strip()


def attributes(cls: type) -> dict[str, Any]:
    """
    What a class and memguard's bases of it define for its users; the rest is how nodes
    work inside.
    """
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("memguard"):
            found.update(vars(base))
    return {
        name: value
        for name, value in found.items()
        if name in SPECIAL or not (name.startswith("_") or name in INSIDE)
    }


def public(cls: type) -> list[str]:
    """
    The public attributes that a class adds to its public bases, with their signatures.
    """
    known = set()
    for base in bases(cls):
        known |= attributes(base).keys()
    found = []
    for name, value in sorted(attributes(cls).items()):
        if (name in known and name not in vars(cls)) or name == "__init__":
            continue
        function = getattr(value, "__func__", value)
        shown = parameters(function) if inspect.isfunction(function) else ""
        found.append(f"    .{name}{shown}")
    return found


def bases(cls: type) -> list[type]:
    """
    The public classes that a class derives from.
    """
    return [
        base
        for base in cls.__mro__[1:]
        if getattr(memguard, base.__name__, None) is base
        or getattr(errors, base.__name__, None) is base
    ]


def heading(name: str, cls: type) -> str:
    """
    The class with its nearest public base, and with what it is made from.
    """
    base = "".join(f"({one.__name__})" for one in bases(cls)[:1])
    makers = [one for one in cls.__mro__ if "__init__" in vars(one)]
    is_own = makers[0].__module__.startswith("memguard")
    shown = (
        parameters(cls) if is_own and not getattr(cls, "_is_protocol", False) else ""
    )
    return f"  class {name}{base}{': ' + shown if shown else ''}"


def describe() -> str:
    """
    The whole interface as text.
    """
    lines = []
    for name in MODULES:
        module = importlib.import_module(name)
        lines.append(name)
        for public_name in sorted(module.__all__):
            thing = getattr(module, public_name)
            own = getattr(thing, "__module__", "memguard").startswith("memguard")
            if inspect.isclass(thing) and own:
                lines.append(heading(public_name, thing))
                lines += public(thing)
            elif callable(thing) and own:
                lines.append(f"  {public_name}{parameters(thing)}")
            else:
                lines.append(f"  {public_name}")
    return "\n".join(lines) + "\n"


def test_the_public_interface_is_the_tracked_one() -> None:
    """
    Changed on purpose? Run this file with --write and say so in the changelog.
    """
    assert FILE.read_text() == describe()


if __name__ == "__main__":
    if "--write" in sys.argv:
        FILE.write_text(describe())
    else:
        sys.stdout.write(describe())
