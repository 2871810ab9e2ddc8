"""
Reading objects of anybody without running a line of their code.

Attributes are taken from instance dictionaries and slots through the descriptors of C
types; no `getattr`, no `len`, no `==`, no `repr` of a foreign object. Types are told by
identity and by name, so that nothing has to be imported to know them.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

__all__ = (
    "attribute",
    "attributes_of",
    "attributes_read",
    "first_items",
    "full_name",
    "is_any",
    "module_names",
    "module_of",
    "mro_of",
    "namespace_of",
    "qualname_of",
)

mro_of: Final = type.__dict__["__mro__"].__get__
namespace_of: Final = type.__dict__["__dict__"].__get__
_MODULE: Final = type.__dict__["__module__"].__get__
_QUALNAME: Final = type.__dict__["__qualname__"].__get__
_names_of: Final[Any] = vars(types.ModuleType)["__dict__"]
_GETSET: Final = types.GetSetDescriptorType
_MEMBER: Final = types.MemberDescriptorType


def is_any(obj: Any, *kinds: type) -> bool:
    """
    True where *obj* is exactly of one of *kinds*. By identity: a metaclass may compare.
    """
    kind = type(obj)
    return any(kind is one for one in kinds)


def first_items(table: dict[Any, Any], most: int) -> list[tuple[Any, Any]]:
    """
    The first *most* items of a dictionary, in one step of C code.
    """
    try:
        return list(islice(dict.items(table), most))
    except RuntimeError:
        # A collection meanwhile ran a destructor that changed it.
        return list(dict.items(table))[:most]


def module_of(kind: type) -> str:
    """
    The name of the module a class says it is from; "" where that is no text.
    """
    module = _MODULE(kind)
    return module if type(module) is str else ""


def qualname_of(kind: type) -> str:
    """
    The name of a class inside its module.
    """
    return str.__str__(_QUALNAME(kind))


def full_name(kind: type) -> str:
    """
    Module and name of a class.
    """
    return f"{module_of(kind)}.{qualname_of(kind)}"


def module_names(module: Any) -> dict[str, Any] | None:
    """
    The namespace of a module, a lazy one too; None for what only stands among them.
    """
    if not any(base is types.ModuleType for base in mro_of(type(module))):
        return None
    found: Any = _names_of.__get__(module)
    return found if type(found) is dict else None


def attributes_of(obj: Any) -> dict[str, Any] | None:
    """
    The instance dictionary, past a property of that name; None where there is none.
    """
    for base in mro_of(type(obj)):
        found = namespace_of(base).get("__dict__")
        if type(found) is _GETSET or type(found) is _MEMBER:
            own = found.__get__(obj)
            return own if type(own) is dict else None
    return None


def slots_of(obj: Any) -> Iterator[tuple[str, Any]]:
    """
    Names and values of `__slots__` that are set.
    """
    for base in mro_of(type(obj)):
        namespace = namespace_of(base)
        if "__slots__" not in namespace:
            continue
        for name, found in list(namespace.items()):
            if type(found) is _MEMBER and name != "__dict__":
                try:
                    yield name, found.__get__(obj)
                except AttributeError:
                    continue  # it was never set


def attributes_read(obj: Any) -> list[tuple[str, Any]]:
    """
    All attributes of the instance, of its dictionary and its slots.
    """
    own = attributes_of(obj)
    found = [] if own is None else list(own.items())
    found.extend(slots_of(obj))
    return [(name, value) for name, value in found if type(name) is str]


def attribute(obj: Any, name: str, default: Any = None) -> Any:
    """
    One attribute of the instance itself; never a property, nothing of the class.
    """
    own = attributes_of(obj)
    if own is not None and name in own:
        return own[name]
    for base in mro_of(type(obj)):
        found = namespace_of(base).get(name)
        if type(found) is _MEMBER:
            try:
                return found.__get__(obj)
            except AttributeError:
                return default
    return default
