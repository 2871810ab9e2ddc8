"""
The functions that `cached` returns: real ones, with the signature of what they stand
for, and as little in them as can be.

Their source is made from the parameters, so that the interpreter binds the arguments
and the body is one lookup. A function that does not tell its parameters, and one whose
first argument may or may not be an instance, gets a body that asks `Calls` for the key.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any, Final

from memguard._kinds.cache.keys import Parameters
from memguard._kinds.cache.trust import FLAT

__all__ = ("GENERIC", "make_wrapper")

#: The body for calls whose key has to be worked out.
GENERIC: Final = "GENERIC"

# Names that no parameter has: a middle dot is a letter to Python, and to nobody who
# writes a function.
_FRONT, _KEY, _CALLS, _TOKEN = "front·", "key·", "calls·", "token·"
_MISSING, _LOAD = "missing·", "load·"

_SYNC: Final = """
def make({names}):
    def wrapper({parameters}):
        try:
            return {front}[{key}]
        except TypeError· as error·:
            {calls}.explain({key}, error·)
            raise
    return wrapper
"""
_ASYNC: Final = """
def make({names}):
    async def wrapper({parameters}):
        try:
            value = {front}[{key}]
        except TypeError· as error·:
            {calls}.explain({key}, error·)
            raise
        if value is {missing}:
            return await {load}({key})
        return value
    return wrapper
"""


def make_wrapper(
    parameters: Parameters | str,
    *,
    is_async: bool,
    is_method: bool,
    front: Any,
    calls: Any,
    load: Callable[[Any], Any] | None,
    missing: Any,
) -> FunctionType:
    """
    A function whose body is a lookup in *front* of the key of its arguments.
    """
    if isinstance(parameters, str):
        spelled, key = "*args, **kwargs", f"{_CALLS}.key(args, kwargs)"
    else:
        spelled, key = _spelled(parameters), _key(parameters, is_method=is_method)
    value = "value·"
    source = (_ASYNC if is_async else _SYNC).replace("value", value)
    source = source.format(
        names=f"{_FRONT}, {_CALLS}, {_TOKEN}, {_MISSING}, {_LOAD}",
        parameters=spelled,
        front=_FRONT,
        key=key,
        calls=_CALLS,
        missing=_MISSING,
        load=_LOAD,
    )
    # Nothing but the names of parameters is in there that is not ours.
    scope: dict[str, Any] = {}
    code = compile(source, "<memguard.cached>", "exec")
    exec(code, {"__builtins__": _BUILTINS}, scope)  # noqa: S102
    made: FunctionType = scope["make"](front, calls, calls.token, missing, load)
    return made


# Parameters may be called `type` or `sorted`.
_BUILTINS: Final = {
    "TypeError·": TypeError,
    "flat·": FLAT,
    "sorted·": sorted,
    "tuple·": tuple,
    "type·": type,
}


def _spelled(parameters: Parameters) -> str:
    """
    The parameters as they are written in a `def`; their defaults are set later.
    """
    spelled: list[str] = []
    for at, name in enumerate(parameters.names):
        spelled.append(f"{name}=None" if name in parameters.defaults else name)
        if at + 1 == parameters.only_positional:
            spelled.append("/")
    if parameters.rest:
        spelled.append("*args·")
    elif parameters.keywords:
        spelled.append("*")
    spelled += [
        f"{name}=None" if name in parameters.defaults else name
        for name in parameters.keywords
    ]
    if parameters.extra:
        spelled.append("**kwargs·")
    return ", ".join(spelled)


def _key(parameters: Parameters, *, is_method: bool) -> str:
    """
    The key of a call, as an expression. It is what `Parameters.key` makes of it.
    """
    values = [*parameters.names, *parameters.keywords]
    if is_method:
        values[0] = f"{_TOKEN}({values[0]})"
    if not parameters.is_open:
        if len(values) == 1 and not is_method:
            return values[0]
        return _tuple(values)
    # What is not given is not looked at, nor hashed.
    given = [
        *(["args·"] if parameters.rest else []),
        *(["kwargs·"] if parameters.extra else []),
    ]
    extra = "tuple·(sorted·(kwargs·.items()))" if parameters.extra else "()"
    full = _tuple([*values, "args·" if parameters.rest else "()", extra])
    short = _tuple(values)
    if len(values) == 1 and not is_method:
        short = f"({values[0]} if type·({values[0]}) in flat· else {short})"
    return f"{full} if {' or '.join(given)} else {short}"


def _tuple(values: list[str]) -> str:
    return f"({', '.join(values)},)" if values else "()"
