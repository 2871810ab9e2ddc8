"""
Whether two functions are the same one, made twice.

A lambda, or a function inside a function, is a new object each time its line runs. Who
writes `guard.pool("db", lambda: connect(url))` in a request asks for the same pool.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any

__all__ = ("sameness",)


def sameness(fn: Any) -> object:
    """
    Equal for functions of the same code over the very same values; else by identity.

    Runs no `__eq__` of the application. Good as long as the first of the two lives.
    """
    if type(fn) is FunctionType:
        return (
            id(fn.__code__),
            id(fn.__globals__),
            tuple(map(id, fn.__defaults__ or ())),
            tuple((name, id(one)) for name, one in (fn.__kwdefaults__ or {}).items()),
            tuple(id(_content(cell)) for cell in fn.__closure__ or ()),
        )
    if type(fn) is MethodType:
        return id(fn.__self__), sameness(fn.__func__)
    if type(fn) is partial:
        return (
            sameness(fn.func),
            tuple(map(id, fn.args)),
            tuple((name, id(one)) for name, one in fn.keywords.items()),
        )
    return id(fn)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty yet
        return cell
