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


def public(thing: Any) -> list[str]:
    """
    The public attributes that a class adds, with their signatures.
    """
    found = []
    for name, value in sorted(vars(thing).items()):
        if name.startswith("_") and name not in ("__init__", "__call__"):
            continue
        function = getattr(value, "__func__", value)
        shown = parameters(function) if inspect.isfunction(function) else ""
        found.append(f"    .{name}{shown}")
    return found


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
                lines.append(f"  class {public_name}")
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
