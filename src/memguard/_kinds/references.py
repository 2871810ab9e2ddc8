"""
How a resource refers to its object: weakly, or strongly where it was told to keep it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from weakref import getweakrefs, ref

from memguard._phases import CLOSING

if TYPE_CHECKING:
    from memguard._kinds.resource import Resource
    from memguard._registry import Registry
    from memguard._tree import Node

__all__ = (
    "NOTHING",
    "Kept",
    "Ref",
    "find_resource",
    "not_referenceable",
    "on_collect",
    "registered_before",
)


class Ref(ref):  # type: ignore[type-arg]
    """
    A weak reference that knows its resource.
    """

    __slots__ = ("resource",)
    resource: Resource


class Kept:
    """
    As a weak reference, but strong.
    """

    __slots__ = ("_obj",)

    def __init__(self, obj: Any) -> None:
        self._obj = obj

    def __call__(self) -> Any:
        return self._obj


#: What a resource refers to after its end.
NOTHING: Final = Kept(None)


def on_collect(reference: Ref) -> None:
    """
    Called when the object has died.
    """
    # May run inside any locked section of any thread: append, nothing else.
    resource = reference.resource
    resource.registry.collected.append(resource)


def find_resource(registry: Registry, obj: Any) -> Node | None:
    """
    The live resource of *obj*, the newest if there are several, or None.
    """
    newest: Node | None = registry.objects.get(id(obj))
    for reference in getweakrefs(obj):
        if type(reference) is Ref:
            node = reference.resource
            if node.registry is registry and node.state < CLOSING:
                newest = node if newest is None or newest.seq < node.seq else newest
    return newest


def registered_before(resource: Resource, obj: Any) -> bool:
    """
    True where *obj* has another resource than the one that is being made.
    """
    if resource.registry.objects.get(id(obj)) is not None:
        return True
    others = (one.resource for one in getweakrefs(obj) if type(one) is Ref)
    return any(one is not resource for one in others)


def not_referenceable(obj: object) -> TypeError:
    """
    The error for what can only be kept.
    """
    return TypeError(
        f"a {type(obj).__qualname__} cannot be referenced weakly; register it with"
        " keep=True (memguard then holds it until its scope closes), or adopt a"
        " built-in container by its place"
    )
