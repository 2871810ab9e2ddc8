"""
The room that CPython 3.11 to 3.13 set aside for the attributes of an instance.

From 3.11 on attribute values lie beside the instance instead of in a dict, in a block
with room for those that the class may still get: a new class has room for 30, and no
call tells how much there is. The interpreter keeps it in a byte of the block, and one
pointer before the instance says where that is. Both are read through ctypes; asking for
`__dict__` instead would make one for each instance that is measured.
"""

from __future__ import annotations

import gc
import sys
from typing import Any, Final

from memguard._probes.interpreter import memory_readers
from memguard._sizing.plans import basic_size, flags

__all__ = ("values_bytes",)

_POINTER: Final[int] = basic_size(type("_", (), {"__slots__": ("a",)})) - basic_size(
    object
)
_MANAGED_DICT: Final = 1 << 4  # Py_TPFLAGS_MANAGED_DICT
_INLINE_VALUES: Final = 1 << 2  # Py_TPFLAGS_INLINE_VALUES, from 3.13 on
_DICT_BYTES: Final = sys.getsizeof({})


def values_bytes(obj: Any) -> int:
    """
    Bytes that the attributes of *obj* take beside it and apart from a dict of their
    own, as far as `getsizeof` leaves them out. 0 before 3.11.
    """
    if sys.version_info < (3, 11) or not flags(type(obj)) & _MANAGED_DICT:
        return 0
    readers = memory_readers()
    if readers is None:
        return _at_least(obj)
    byte, pointer = readers
    if sys.version_info >= (3, 13):
        if not flags(type(obj)) & _INLINE_VALUES:
            return 0
        room = byte(id(obj) + basic_size(type(obj)))
        # A dict that was made for it has its values in the block.
        made = _DICT_BYTES if pointer(id(obj) - 3 * _POINTER) else 0
        return _rounded(room) + int(room + 1) * _POINTER + made
    if sys.version_info >= (3, 12):
        block = pointer(id(obj) - 3 * _POINTER) + 1
        if block & 1:
            return 0  # the address of a dict, which is found as any other
    else:
        block = pointer(id(obj) - 4 * _POINTER)
    if block <= 1:
        return 0
    # The bytes before the values: one for each there is room for, and two, rounded up.
    head = byte(block - 1)
    room = len(gc.get_referents(obj))  # with its class, for one that is to come
    if _rounded(room + 2) != head:
        room = head - 5  # about
    return int(head + room * _POINTER)


def _rounded(size: int) -> int:
    return int(-(-size // _POINTER) * _POINTER)


def _at_least(obj: Any) -> int:
    """
    The least that the block can have, by the values that are in it.
    """
    kind = type(obj)
    if object.__sizeof__(obj) > basic_size(kind):
        return 0
    things = [one for one in gc.get_referents(obj) if one is not kind]
    if len(things) == 1 and type(things[0]) is dict:
        return 0  # its attributes are in a dict by now
    return int(_POINTER * (len(things) + 2))
