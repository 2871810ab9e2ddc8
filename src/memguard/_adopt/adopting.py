"""
How a guard comes to own what another library made.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any
from weakref import getweakrefs

from memguard._adopt.adopted import Adopted
from memguard._adopt.caps import checked_caps
from memguard._adopt.known import BY_PLACE, known_adapter
from memguard._adopt.place import Place
from memguard._adopt.rounds import rounds_of
from memguard._kinds.references import Ref
from memguard._phases import CLOSING, NEW
from memguard._tree import conflict

if TYPE_CHECKING:
    from memguard._registry import Registry
    from memguard._root import Root
    from memguard.typing import Adapter

__all__ = ("adopt",)


def adopt(
    root: Root, obj: Any, name: str | None, caps: Mapping[str, Any], *, keep: bool
) -> Adopted:
    """
    The handle of *obj*, or of what lies at its attribute *name*; made on first call.
    """
    registry = root.registry
    root._refuse_if_ended()
    if registry.collected:
        registry.settle_collected()
    if name is not None and (not isinstance(name, str) or not name):
        msg = f"name must be a non-empty text or None, not {name!r}"
        raise TypeError(msg)
    adapter = known_adapter(obj, registry.failures.record)
    if adapter is None:
        return _by_place(root, obj, name, caps, keep=keep)
    if type(obj) in BY_PLACE and not keep:
        raise TypeError(_by_itself(obj))
    return _own(root, obj, name, adapter, caps, keep=keep)


def _by_place(
    root: Root, holder: Any, attribute: str | None, caps: Mapping[str, Any], keep: bool
) -> Adopted:
    if attribute is None:
        raise TypeError(_unknown(holder))
    if not hasattr(holder, attribute):
        what = _name_of(holder)
        msg = (
            f"{what} has no attribute {attribute!r} and there is no adapter for it;"
            " adopt(holder, 'NAME') adopts what lies at holder.NAME"
        )
        raise TypeError(msg)
    obj = getattr(holder, attribute)
    adapter = known_adapter(obj, root.registry.failures.record)
    if adapter is None:
        raise TypeError(_unknown(obj))
    if type(obj) not in BY_PLACE:
        # It can be held by itself, and is told by the place's name.
        return _own(root, obj, Place(holder, attribute).label, adapter, caps, keep=keep)
    return _own(root, Place(holder, attribute, keep=keep), None, adapter, caps)


def _own(
    root: Root,
    obj: Any,
    name: str | None,
    adapter: Adapter,
    caps: Mapping[str, Any],
    *,
    keep: bool = False,
) -> Adopted:
    place = obj if type(obj) is Place else None
    thing = obj if place is None else place()
    checked: Mapping[str, Any] = checked_caps(adapter, thing, caps) if caps else {}
    first = _find(root.registry, thing, place)
    if first is not None:
        return _same(first, name, checked)
    try:
        node = Adopted(root, obj, name, adapter, checked, keep=keep)
    except TypeError:
        msg = (
            f"a {type(thing).__qualname__} cannot be referenced weakly; adopt it with"
            " keep=True (memguard then holds it until the guard closes)"
        )
        raise TypeError(msg) from None
    first = _attach(root, node, thing, place)
    if first is not None:
        return _same(first, name, checked)
    if checked:
        try:
            adapter.apply(thing, checked)
        except BaseException:
            if node.claim():
                node.settle()
            raise
    if root.registry.running:
        node._arm()
    return node


def _attach(root: Root, node: Adopted, obj: Any, place: Place | None) -> Adopted | None:
    """
    Attach *node*, unless another thread was quicker: then that one's handle.
    """
    registry = root.registry
    if node.adapter.inherited and root.state == NEW:
        node.declared = True
        node.state = NEW
    with registry.lock:
        first = _find(registry, obj, place)
        if first is not None:
            return first
        if node.name is None:
            node.attach()
        else:
            named = root.name_child(node)
            if named is not None:
                raise conflict(named, "another object")
        if place is not None:
            rounds_of(registry).places[place.key] = node
    return None


def _find(registry: Registry, obj: Any, place: Place | None) -> Adopted | None:
    """
    The live handle of the same object or the same place.
    """
    if place is not None:
        rounds = registry.rounds
        known: Any = None if rounds is None else rounds.places.get(place.key)
        same = known is not None and known.state < CLOSING
        return known if same and place.is_same(known.place) else None
    kept: Any = registry.objects.get(id(obj))
    if type(kept) is Adopted:
        return kept
    try:
        references = getweakrefs(obj)
    except TypeError:
        return None
    for reference in references:
        if type(reference) is Ref:
            node: Any = reference.resource
            if (
                type(node) is Adopted
                and node.registry is registry
                and node.state < CLOSING
                and node.seq
            ):
                return node
    return None


def _same(first: Adopted, name: str | None, caps: Mapping[str, Any]) -> Adopted:
    """
    What was adopted before, if it was so in the same words.
    """
    changed = [key for key, value in caps.items() if first.caps.get(key) != value]
    if name is not None and name != first.name:
        changed.append("name")
    if changed:
        raise conflict(first, ", ".join(changed))
    return first


# -- errors ----------------------------------------------------------------------------


def _name_of(obj: Any) -> str:
    if isinstance(obj, ModuleType):
        return f"module {obj.__name__}"
    if isinstance(obj, type):
        return f"class {obj.__qualname__}"
    return f"a {type(obj).__qualname__}"


def _by_itself(obj: Any) -> str:
    return (
        f"a {type(obj).__qualname__} by itself says nothing of who owns it; adopt it"
        " by its place: adopt(module_or_object_or_class, 'REGISTRY'), where REGISTRY is"
        " the attribute it lies at (or with keep=True: memguard then holds it until the"
        " guard closes)"
    )


def _unknown(obj: Any) -> str:
    return (
        f"there is no adapter for {_name_of(obj)}; register() gives any object an owner"
        " and an end, adopt(holder, 'NAME') adopts a container by its place, and the"
        " entry point group 'memguard.adapters' is for adapters of other packages"
    )
