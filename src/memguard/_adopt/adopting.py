"""
How a guard comes to own what another library made.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import FrameType, MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, Final
from weakref import getweakrefcount, getweakrefs, ref

from memguard._adopt.adopted import Adopted
from memguard._adopt.caps import checked_caps
from memguard._adopt.known import BY_PLACE, container_adapter, known_adapter, quick
from memguard._adopt.place import Place
from memguard._kinds.closers import identity
from memguard._kinds.references import Ref
from memguard._phases import CLOSING, DRAINING
from memguard._tree import Node, conflict

if TYPE_CHECKING:
    from memguard._registry import Registry
    from memguard._root import Root
    from memguard.typing import Adapter

__all__ = ("adopt",)

_NOTHING: Final = object()
_NO_CAPS: Final[Mapping[str, Any]] = MappingProxyType({})


def adopt(
    root: Root,
    obj: Any,
    name: str | None,
    caps: Mapping[str, Any],
    frame: FrameType,
    *,
    keep: bool,
) -> Adopted:
    """
    The handle of *obj*, or of what lies at its attribute *name*; made on first call.

    *frame* is the caller's, which the handle is said to be made in.
    """
    adapter = quick.get(identity(type(obj)))
    if adapter is None or name is not None or caps or keep:
        return _adopt(root, obj, name, caps, frame, keep=keep)
    # The way of thousands, all in one place: what has no name, no caps and no place.
    registry = root.registry
    if root.state > DRAINING or registry.detached:
        root._refuse_if_ended()
    if registry.collected:
        registry.settle_collected()
    with registry.lock:
        first = _find(registry, obj, None) if getweakrefcount(obj) else None
        if first is not None or registry.objects:
            return first or _own(root, obj, None, adapter, caps, frame)
        try:
            node = Adopted(root, obj, None, adapter, _NO_CAPS, frame)
        except TypeError:
            raise _not_referenceable(obj) from None
        _take(root, node, adapter.kind)
    if registry.running:
        node._arm()
    return node


def _adopt(
    root: Root,
    obj: Any,
    name: str | None,
    caps: Mapping[str, Any],
    frame: FrameType,
    *,
    keep: bool,
) -> Adopted:
    registry = root.registry
    root._refuse_if_ended()
    if registry.collected:
        registry.settle_collected()
    failed = registry.failures.record
    held = _NOTHING
    adapter: Adapter | None
    if name is not None:
        if not isinstance(name, str) or not name:
            msg = f"name must be a non-empty text or None, not {name!r}"
            raise TypeError(msg)
        held = getattr(obj, name, _NOTHING)
        if type(held) in BY_PLACE:
            adapter = container_adapter(failed)
            place = Place(obj, name, keep=keep)
            return _own(root, held, None, adapter, caps, frame, place=place)
    adapter = known_adapter(obj, failed)
    if adapter is None:
        if name is None:
            raise TypeError(_unknown(obj))
        return _by_place(root, obj, name, held, caps, frame, keep=keep)
    if type(obj) in BY_PLACE and not keep:
        raise TypeError(_by_itself(obj))
    return _own(root, obj, name, adapter, caps, frame, keep=keep)


def _by_place(  # noqa: PLR0917
    root: Root,
    holder: Any,
    attribute: str,
    obj: Any,
    caps: Mapping[str, Any],
    frame: FrameType,
    *,
    keep: bool,
) -> Adopted:
    """
    What lies at a place and is no container of Python's.
    """
    if obj is _NOTHING:
        what = _name_of(holder)
        msg = (
            f"{what} has no attribute {attribute!r}, and there is no adapter for it;"
            " adopt(holder, 'NAME') adopts what lies at holder.NAME"
        )
        raise TypeError(msg)
    adapter = known_adapter(obj, root.registry.failures.record)
    if adapter is None:
        raise TypeError(_unknown(obj))
    place = Place(holder, attribute, keep=keep, only=type(obj))
    if not (keep or _is_referenceable(obj)):
        return _own(root, obj, None, adapter, caps, frame, place=place)
    # It can be held by itself, and is called what the place is called.
    node = _own(root, obj, None, adapter, caps, frame, keep=keep)
    node.entitle(place.label)
    return node


def _own(  # noqa: PLR0917
    root: Root,
    obj: Any,
    name: str | None,
    adapter: Adapter,
    caps: Mapping[str, Any],
    frame: FrameType,
    *,
    keep: bool = False,
    place: Place | None = None,
) -> Adopted:
    registry = root.registry
    checked = checked_caps(adapter, obj, caps) if caps else _NO_CAPS
    target = obj if place is None else place
    node = named = None
    # Nothing foreign is called with the lock held: two threads must not both adopt it.
    with registry.lock:
        first = _find(registry, obj, place)
        if first is None:
            try:
                node = Adopted(root, target, name, adapter, checked, frame, keep=keep)
            except TypeError:
                raise _not_referenceable(obj) from None
            if name is None:
                _take(root, node, adapter.kind)
                if keep or place is not None:
                    node.note_kept()
            else:
                named = root.name_child(node)
                if named is not None:
                    node.seq = 0  # so that its weak reference is nobody's
    if named is not None:
        raise conflict(named, "another object")
    if node is None:
        return _same(first, name, checked)
    if checked:
        try:
            adapter.apply(obj, checked)
        except BaseException:
            if node.claim():
                node.settle()
            raise
    if registry.running:
        node._arm()
    return node


def _take(root: Root, node: Adopted, kind: str) -> None:
    """
    As `Branch.take`, written out for many nodes without a name.
    """
    children = root._children
    if children is None or root.state > DRAINING:
        root.take(node)
        return
    registry = root.registry
    root._mixed = True
    tally = registry.unnamed.get(kind)
    if tally is None:
        tally = registry.tally(kind, "")
    node.tally = tally
    tally.made()
    children[node] = None
    if root.state > DRAINING:
        root._refuse(node, children)


def _find(registry: Registry, obj: Any, place: Place | None) -> Adopted | None:
    """
    The live handle of the same object or the same place.
    """
    if place is not None:
        rounds = registry.rounds
        known: Any = None if rounds is None else rounds.places.get(place.key)
        same = known is not None and known.state < CLOSING
        return known if same and place.is_same(known.place) else None
    if registry.objects:
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
                found: Adopted = node
                return found
    return None


def _same(first: Adopted | None, name: str | None, caps: Mapping[str, Any]) -> Adopted:
    """
    What was adopted before, if it was so in the same words.
    """
    assert first is not None
    changed = [key for key, value in caps.items() if first.caps.get(key) != value]
    if name is not None and name != first.name:
        changed.append("name")
    if changed:
        raise conflict(first, ", ".join(changed))
    return first


# -- errors ----------------------------------------------------------------------------


def _is_referenceable(obj: Any) -> bool:
    try:
        ref(obj)
    except TypeError:
        return False
    return True


def _not_referenceable(obj: Any) -> TypeError:
    return TypeError(
        f"a {type(obj).__qualname__} cannot be referenced weakly; adopt it with"
        " keep=True (memguard then holds it until the guard closes), or by its place:"
        " adopt(module_or_object_or_class, 'NAME')"
    )


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
    if isinstance(obj, Node):
        return f"{obj.kind} {obj.label!r} is memguard's own, and has an owner already"
    return (
        f"there is no adapter for {_name_of(obj)}; register() gives any object an owner"
        " and an end, adopt(holder, 'NAME') adopts a container by its place, and the"
        " entry point group 'memguard.adapters' is for adapters of other packages"
    )
