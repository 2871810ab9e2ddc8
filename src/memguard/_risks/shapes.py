"""
What an object is to the list of risks, by its type: one shape for each type.
"""

from __future__ import annotations

import types
from collections import deque
from contextvars import ContextVar
from typing import Any, Final

from memguard._risks.reading import full_name, module_of, mro_of
from memguard._sizing.plans import FLAT, NOTHING, VIEW, plan_of

__all__ = ("Shape", "Shapes", "base_length")


class Shape:
    """
    How things of a type are looked at. `kind` is what people call it.
    """

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<shape {self.kind}>"


ATOM: Final = Shape("atom")  # nothing in it can grow
DICT: Final = Shape("dict")
LIST: Final = Shape("list")
SET: Final = Shape("set")
DEQUE: Final = Shape("deque")
BYTES: Final = Shape("bytearray")
LRU: Final = Shape("lru_cache")
QUEUE: Final = Shape("queue")
SIMPLE_QUEUE: Final = Shape("simple queue")
ASYNC_QUEUE: Final = Shape("asyncio queue")
PROCESS_QUEUE: Final = Shape("multiprocessing queue")
EXECUTOR: Final = Shape("executor")
WEAK: Final = Shape("weak container")
SIGNAL: Final = Shape("signal")
EVENTS: Final = Shape("event emitter")
CAPPED: Final = Shape("capped cache")
FUNCTION: Final = Shape("function")
METHOD: Final = Shape("method")
CLASS: Final = Shape("class")
CONTEXT: Final = Shape("context variable")
OBJECT: Final = Shape("object")

_BASES: Final = (
    (dict, DICT),
    (list, LIST),
    (set, SET),
    (deque, DEQUE),
    (bytearray, BYTES),
    (types.FunctionType, FUNCTION),
    (staticmethod, METHOD),
    (classmethod, METHOD),
    (ContextVar, CONTEXT),
)
_NAMES: Final = {
    "_queue.SimpleQueue": SIMPLE_QUEUE,
    "queue.SimpleQueue": SIMPLE_QUEUE,
    "queue.Queue": QUEUE,
    "asyncio.queues.Queue": ASYNC_QUEUE,
    "multiprocessing.queues.Queue": PROCESS_QUEUE,
    "concurrent.futures.thread.ThreadPoolExecutor": EXECUTOR,
    "concurrent.futures.process.ProcessPoolExecutor": EXECUTOR,
    "functools._lru_cache_wrapper": LRU,
    "weakref.WeakValueDictionary": WEAK,
    "weakref.WeakKeyDictionary": WEAK,
    "_weakrefset.WeakSet": WEAK,
    "weakref.WeakSet": WEAK,
    "blinker.base.Signal": SIGNAL,
    "pyee.base.EventEmitter": EVENTS,
    "cachetools.Cache": CAPPED,
    # For each thread its own attributes, and its __init__ runs in each new one.
    "_thread._local": ATOM,
}
#: What the interpreter can say of a length by itself, whatever the class declares.
_LENGTHS: Final = {
    id(DICT): dict.__len__,
    id(LIST): list.__len__,
    id(SET): set.__len__,
    id(DEQUE): deque.__len__,
    id(BYTES): bytearray.__len__,
}


def base_length(obj: Any, shape: Shape) -> int:
    """
    The length of a built-in container, or of a subclass of one; 0 of others.
    """
    length: Any = _LENGTHS.get(id(shape))
    return 0 if length is None else int(length(obj))


class Shapes:
    """
    The shapes of types, for the time of one look: it holds the types it has seen.
    """

    __slots__ = ("_types", "known")

    def __init__(self) -> None:
        #: Shapes by the identity of the type: to look one up is half of a call.
        self.known: dict[int, Shape] = {}
        # Held, so that no other type gets the identity of one.
        self._types: list[type] = []

    def of(self, kind: type) -> Shape:
        """
        The shape of instances of *kind*. By identity: a metaclass may hash as it likes.
        """
        shape = self.known.get(id(kind))
        if shape is None:
            shape = _shape_of(kind)
            self._types.append(kind)
            self.known[id(kind)] = shape
        return shape


def _shape_of(kind: type) -> Shape:
    mro = mro_of(kind)
    if any(base is type for base in mro):
        return CLASS
    if module_of(kind).partition(".")[0] == "memguard":
        return ATOM  # what memguard made is in its tree
    plan = plan_of(kind)
    for base in mro:
        for known, shape in _BASES:
            if base is known:
                return shape
        named = _NAMES.get(full_name(base))
        if named is not None:
            return named
    is_atom = plan is NOTHING or plan is FLAT or plan is VIEW or id(kind) in _ATOMS
    return ATOM if is_atom else OBJECT


# By identity, because hashing a type may run code of its metaclass.
_ATOMS: Final = frozenset(
    id(kind)
    for kind in (
        types.BuiltinFunctionType,
        types.MethodType,
        types.GeneratorType,
        types.CoroutineType,
        types.AsyncGeneratorType,
        types.MappingProxyType,
        types.GenericAlias,
        property,
        tuple,
        frozenset,
    )
)
