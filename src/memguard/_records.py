"""
Frozen, slotted records that cost next to nothing to define.

`dataclass(frozen=True, slots=True)` writes source code and compiles it while its module
is imported, about half a millisecond a class; for all records of memguard that would be
most of the time its import takes. `record` gives the same methods, shares what can be
shared, and compiles `__init__` when the first instance is made. For the standard
library's `dataclasses` the result is a dataclass: `asdict` and `fields` work.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

__all__ = ("changed", "field", "fields_of", "record")

_T = TypeVar("_T")


class _Missing:
    """
    No value: shown in signatures where a field makes a fresh one.
    """

    def __repr__(self) -> str:
        return "<factory>"


_MISSING: Final[Any] = _Missing()


class Field:
    """
    One field of a record: its default and how it takes part.
    """

    __slots__ = ("compare", "default", "default_factory", "init", "metadata", "repr")

    def __init__(
        self,
        default: Any,
        default_factory: Callable[[], Any] | None,
        *,
        init: bool = True,
        repr: bool = True,
        compare: bool = True,
        metadata: Mapping[str, Any] = {},
    ) -> None:
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.compare = compare
        self.metadata = metadata


def field(
    *,
    default: Any = _MISSING,
    default_factory: Callable[[], Any] | None = None,
    init: bool = True,
    repr: bool = True,
    compare: bool = True,
    metadata: Mapping[str, Any] = {},
) -> Any:
    """
    As `dataclasses.field`. One with `init=False` is set by an `__init__` of its class.
    """
    return Field(
        default,
        default_factory,
        init=init,
        repr=repr,
        compare=compare,
        metadata=metadata,
    )


if TYPE_CHECKING:
    from typing_extensions import dataclass_transform

    @dataclass_transform(frozen_default=True, field_specifiers=(field,))
    def record(cls: type[_T]) -> type[_T]: ...

else:

    def record(cls: type) -> type:
        """
        Make *cls* a frozen record with slots; what it defines itself stays as it is.

        Fields are its annotated names after those of its bases. As with slotted
        dataclasses the result is a new class, so that a method must not call `super()`
        without arguments.
        """
        space = dict(vars(cls))
        own = {
            name: _as_field(space.pop(name, _MISSING))
            for name, kind in space.get("__annotations__", {}).items()
            if not str(kind).startswith(("ClassVar", "typing.ClassVar"))
        }
        whole = own
        for base in cls.__mro__[1:]:
            whole = {**vars(base).get("__record__", {}), **whole}
        for name in ("__dict__", "__weakref__"):
            space.pop(name, None)
        space = {
            **_SHARED,
            "__init__": _first_init(whole),
            "__slots__": tuple(own),
            "__match_args__": tuple(whole),
            "__record__": whole,
            **space,
        }
        return type(cls)(cls.__name__, cls.__bases__, space)


def fields_of(cls: type) -> Mapping[str, Field]:
    """
    The fields of a record by name, in their order.
    """
    found: Mapping[str, Field] = cls.__record__  # type: ignore[attr-defined]
    return found


def changed(one: _T, **changes: Any) -> _T:
    """
    The same record with other values in some fields.
    """
    fields = fields_of(type(one))
    given = {name: getattr(one, name) for name, row in fields.items() if row.init}
    return type(one)(**{**given, **changes})


def _as_field(value: Any) -> Field:
    if isinstance(value, Field):
        return value
    return Field(value, None)


# -- making ----------------------------------------------------------------------------


def _first_init(fields: Mapping[str, Field]) -> Callable[..., None]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        # The class that was defined with these fields, not a subclass of it.
        owner: Any = next(
            cls for cls in type(self).__mro__ if vars(cls).get("__record__") is fields
        )
        if owner.__init__ is __init__:
            owner.__init__ = _compiled(owner, fields)
        owner.__init__(self, *args, **kwargs)

    return __init__


def _compiled(owner: type, fields: Mapping[str, Field]) -> Callable[..., None]:
    """
    An `__init__` as one would write it by hand, past the frozen `__setattr__`.
    """
    names: dict[str, Any] = {"_missing": _MISSING}
    arguments, lines = [], []
    for name, one in fields.items():
        names[f"_set_{name}"] = getattr(owner, name).__set__
        value = name
        if one.default_factory is not None:
            names[f"_make_{name}"] = one.default_factory
            arguments.append(f"{name}=_missing")
            value = f"_make_{name}() if {name} is _missing else {name}"
        elif one.default is _MISSING:
            arguments.append(name)
        else:
            names[f"_default_{name}"] = one.default
            arguments.append(f"{name}=_default_{name}")
        lines.append(f" _set_{name}(self, {value})\n")
    head = f"def __init__({', '.join(['self', *arguments])}):\n"
    source = head + ("".join(lines) or " pass")
    exec(source, names)  # noqa: S102 - the names of fields, nothing else
    made: Callable[..., None] = names["__init__"]
    made.__qualname__ = f"{owner.__qualname__}.__init__"
    made.__module__ = owner.__module__
    hints: dict[str, Any] = {}
    for cls in reversed(owner.__mro__):
        hints.update(vars(cls).get("__annotations__", {}))
    made.__annotations__ = {name: hints[name] for name in fields}
    return made


# -- what all records share ------------------------------------------------------------


def _compared(one: Any) -> tuple[Any, ...]:
    return tuple(
        getattr(one, name) for name, row in one.__record__.items() if row.compare
    )


def _repr(self: Any) -> str:
    shown = ", ".join(
        f"{name}={getattr(self, name)!r}"
        for name, row in self.__record__.items()
        if row.repr
    )
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _setattr(self: Any, name: str, _: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    msg = f"a {type(self).__qualname__} is frozen: {name!r} cannot be set"
    raise FrozenInstanceError(msg)


def _delattr(self: Any, name: str) -> NoReturn:
    _setattr(self, name, None)


def _getstate(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__record__]


def _setstate(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__record__, state, strict=True):
        object.__setattr__(self, name, value)


class _Signature:
    """
    The signature, computed when `inspect` or `help` asks for it.
    """

    def __get__(self, instance: object, owner: type) -> Any:
        import inspect

        init = owner.__init__  # type: ignore[misc]
        if init.__module__ == __name__:
            init = _compiled(owner, fields_of(owner))  # none was made so far
        whole = inspect.signature(init)
        return whole.replace(
            parameters=list(whole.parameters.values())[1:],
            return_annotation=inspect.Signature.empty,
        )


class _Dataclass:
    """
    What the standard library's `dataclasses` looks for, made when it looks.
    """

    def __get__(self, instance: object, owner: type) -> Any:
        import dataclasses

        rows = []
        for name, one in fields_of(owner).items():
            options: dict[str, Any] = {
                "init": one.init,
                "repr": one.repr,
                "compare": one.compare,
            }
            if one.default_factory is not None:
                options["default_factory"] = one.default_factory
            elif one.default is not _MISSING:
                options["default"] = one.default
            rows.append((name, Any, dataclasses.field(kw_only=True, **options)))
        made = dataclasses.make_dataclass(owner.__name__, rows)
        return made.__dataclass_fields__  # type: ignore[attr-defined]


_SHARED: Final[dict[str, Any]] = {
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__getstate__": _getstate,
    "__setstate__": _setstate,
    "__replace__": changed,
    "__signature__": _Signature(),
    "__dataclass_fields__": _Dataclass(),
}
