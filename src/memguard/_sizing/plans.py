"""
How objects of a type are measured: one plan for each type.

Runs no code of the type: types are compared by identity, and read through the
descriptors of `type`, because a metaclass may override `__mro__` and `__hash__`.
Imports nothing to know a type: the table of foreign types is keyed by name.
"""

from __future__ import annotations

import types
import weakref
from collections import OrderedDict, defaultdict, deque
from enum import EnumMeta
from io import BytesIO
from typing import Final

__all__ = (
    "ARRAY",
    "BAG",
    "BUFFER",
    "BUILT_IN",
    "DECLARED",
    "DICT",
    "FLAT",
    "FUNCTION",
    "LOCAL",
    "NOTHING",
    "OBJECT",
    "OPEN",
    "SEQUENCE",
    "SUBDICT",
    "VIEW",
    "Plan",
    "basic_size",
    "dict_offset",
    "flags",
    "plan_of",
)


class Plan:
    """
    How objects of one type are measured.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"<plan {self.name}>"


NOTHING: Final = Plan("nothing")  # belongs to the process as a whole: 0 bytes
FLAT: Final = Plan("flat")  # its own bytes, and nothing that it refers to
SEQUENCE: Final = Plan("sequence")  # list or tuple
BAG: Final = Plan("bag")  # set, frozenset or deque
DICT: Final = Plan("dict")
SUBDICT: Final = Plan("subdict")  # a subclass of dict
VIEW: Final = Plan("view")  # memoryview: the buffer may be somebody else's
ARRAY: Final = Plan("array")  # numpy.ndarray: the same
BUFFER: Final = Plan("buffer")  # its class declares nbytes
FUNCTION: Final = Plan("function")  # what it closes over, if nobody else holds that
LOCAL: Final = Plan("local")  # what it refers to, if nobody else does
DECLARED: Final = Plan("declared")  # its class declares __sizeof__ in Python
OBJECT: Final = Plan("object")
OPEN: Final = Plan("open")  # an object whose own word on its size is not asked for

_MRO: Final = type.__dict__["__mro__"].__get__
_NAMESPACE: Final = type.__dict__["__dict__"].__get__
_MODULE: Final = type.__dict__["__module__"].__get__
_QUALNAME: Final = type.__dict__["__qualname__"].__get__
flags: Final = type.__dict__["__flags__"].__get__
basic_size: Final = type.__dict__["__basicsize__"].__get__
dict_offset: Final = type.__dict__["__dictoffset__"].__get__

_PLANS: Final[dict[type, Plan]] = {
    **dict.fromkeys(
        (
            bool,
            bytearray,
            bytes,
            complex,
            float,
            int,
            range,
            str,
            type(None),
            type(...),
            type(NotImplemented),
            types.BuiltinFunctionType,
            types.CodeType,
            # Its getsizeof has the buffer, and on 3.12+ the garbage collector too.
            BytesIO,
            # A weak reference does not hold what it refers to.
            weakref.ReferenceType,
            weakref.ProxyType,
            weakref.CallableProxyType,
        ),
        FLAT,
    ),
    types.FunctionType: FUNCTION,
    # Code that runs: the application hangs on it.
    types.AsyncGeneratorType: LOCAL,
    types.CellType: LOCAL,
    types.CoroutineType: LOCAL,
    types.FrameType: LOCAL,
    types.GeneratorType: LOCAL,
    types.TracebackType: LOCAL,
    types.ModuleType: NOTHING,
    type: NOTHING,
    list: SEQUENCE,
    tuple: SEQUENCE,
    set: BAG,
    frozenset: BAG,
    deque: BAG,
    dict: DICT,
    defaultdict: SUBDICT,
    OrderedDict: SUBDICT,
    memoryview: VIEW,
}
# By identity, because hashing a type may run code of its metaclass. Types die.
BUILT_IN: Final = {id(kind): plan for kind, plan in _PLANS.items()}
_known: dict[int, tuple[weakref.ref[type], Plan]] = {}

# Things of the whole process that data often refers to: measuring a session must not
# measure every logger, or the service itself.
_SHARED: Final = {
    "asyncio.events.AbstractEventLoop",
    "concurrent.futures._base.Executor",
    "datetime.tzinfo",
    "logging.Filterer",
    "logging.Manager",
    "memguard._node.Node",
    "memguard._registry.Registry",
    "memguard._tree.Node",
    "threading.Thread",
}
_ARRAYS: Final = {"numpy.ndarray"}
# What these declare is a slow walk of their own; the arrays they hold are found anyway.
_TALKERS: Final = "pandas."


def plan_of(kind: type) -> Plan:
    """
    How instances of *kind* are measured; looked up once a type.
    """
    key = id(kind)
    plan = BUILT_IN.get(key)
    if plan is not None:
        return plan
    known = _known.get(key)
    if known is not None and known[0]() is kind:
        return known[1]
    plan = _look_up(kind)

    def forget(_: weakref.ref[type], key: int = key) -> None:
        _known.pop(key, None)

    _known[key] = (weakref.ref(kind, forget), plan)
    return plan


def _look_up(kind: type) -> Plan:
    mro = _MRO(kind)
    if any(base is type for base in mro):
        return NOTHING  # a class
    if any(base is EnumMeta for base in _MRO(type(kind))):
        return NOTHING  # members belong to their class
    plan = OBJECT
    for base in mro:
        if _full_name(base) in _SHARED or base is types.ModuleType:
            return NOTHING
        if _full_name(base) in _ARRAYS:
            return ARRAY
        if base is dict:
            plan = SUBDICT
        elif BUILT_IN.get(id(base)) is FLAT and _stays_flat(kind, base):
            plan = FLAT
    return _declared(mro) or plan


def _declared(mro: tuple[type, ...]) -> Plan | None:
    """
    The plan for a class that tells its size itself; the nearest declaration counts.
    """
    for base in mro:
        if _full_name(base).startswith(_TALKERS):
            return OPEN
        namespace = _NAMESPACE(base)
        if type(namespace.get("__sizeof__")) is types.FunctionType:
            return DECLARED
        if type(namespace.get("nbytes", _no_size)) is not types.FunctionType:
            return BUFFER
        if "untyped_storage" in namespace:
            return BUFFER
    return None


def _no_size() -> None:
    """
    Stands for a declaration that is not there; being a function, it counts as none.
    """


def _stays_flat(kind: type, base: type) -> bool:
    """
    True for a subclass of a flat type that adds no attributes.
    """
    return bool(
        dict_offset(kind) == dict_offset(base) and basic_size(kind) == basic_size(base)
    )


def _full_name(kind: type) -> str:
    module = _MODULE(kind)
    return f"{module}.{_QUALNAME(kind)}" if type(module) is str else ""
