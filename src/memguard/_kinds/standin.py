"""
Stand-ins: what a pool lends in strict mode, so that a use after the release is noticed.

A stand-in does what the member does, its operators included, and says that it is of its
type; only `type()` and functions written in C that look at the exact type can tell. It
holds the member until the lease ends. After that each use raises, with the places of
both: a member that somebody else has by then is the error that is hardest to find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from memguard._registry import Registry
from memguard._sites import RawSite, Site, call_site
from memguard.errors import UseAfterRelease

__all__ = ("Ticket", "bare", "stand_in")

#: What the interpreter looks up on the type and not on the object.
_SPECIAL: Final = (
    *("__repr__", "__str__", "__bytes__", "__format__", "__sizeof__", "__hash__"),
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__bool__"),
    *("__call__", "__enter__", "__exit__", "__aenter__", "__aexit__", "__await__"),
    *("__iter__", "__next__", "__aiter__", "__anext__", "__reversed__"),
    *("__len__", "__length_hint__", "__contains__", "__missing__"),
    *("__getitem__", "__setitem__", "__delitem__", "__buffer__", "__release_buffer__"),
    *("__int__", "__float__", "__complex__", "__index__", "__round__", "__trunc__"),
    *("__floor__", "__ceil__", "__neg__", "__pos__", "__abs__", "__invert__"),
    *("__fspath__", "__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__"),
    *("__divmod__", "__rdivmod__"),
    *(
        f"__{kind}{name}__"
        for name in (
            *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow"),
            *("lshift", "rshift", "and", "xor", "or"),
        )
        for kind in ("", "r", "i")
    ),
)
_get: Final = object.__getattribute__

#: The class of the stand-ins for each type. It does not keep the type alive.
_classes: Final[WeakKeyDictionary[type, type]] = WeakKeyDictionary()


class Ticket:
    """
    One lending: the member until it is given back, then where that was.
    """

    __slots__ = ("lent_at", "member_type", "pool", "registry", "released_at", "value")

    def __init__(self, value: Any, pool: str, registry: Registry) -> None:
        self.value = value
        self.member_type = type(value)
        self.pool = pool
        self.registry = registry
        self.lent_at: RawSite = registry.sites.here(3)
        self.released_at: RawSite = None

    @property
    def is_over(self) -> bool:
        return self.value is self

    @property
    def place(self) -> str:
        """
        Where it was lent.
        """
        return _text(self.lent_at)

    def end(self) -> None:
        """
        The member is on its way back: note who gave it.
        """
        self.released_at = self.registry.sites.here(3)
        self.value = self  # nothing else is sure to be no member

    def open(self) -> Any:
        """
        The member; raises UseAfterRelease when the lease is over.
        """
        value = self.value
        if value is not self:
            return value
        msg = (
            f"a {self.member_type.__qualname__} of pool {self.pool!r} was used at"
            f" {_text(self.registry.sites.here(3))} after it had been given back at"
            f" {_text(self.released_at)} (it was lent at {self.place});"
            " somebody else may have it by now: use it inside its block only"
        )
        raise UseAfterRelease(msg)


def _text(site: RawSite) -> str:
    return call_site(Site(*site) if isinstance(site, tuple) else site)


class _StandIn:
    """
    Forwards everything; see the module.
    """

    __slots__ = ("__weakref__", "_memguard_ticket")

    def __getattribute__(self, name: str) -> Any:
        ticket: Ticket = _get(self, "_memguard_ticket")
        if name == "__class__":
            return ticket.member_type
        return getattr(ticket.open(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_ticket(self).open(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_ticket(self).open(), name)

    def __dir__(self) -> Any:
        return dir(_ticket(self).open())


def _ticket(standin: Any) -> Ticket:
    ticket: Ticket = _get(standin, "_memguard_ticket")
    return ticket


def bare(value: Any) -> Any:
    """
    The member behind *value* if that is a stand-in, else *value* itself.

    One whose lease is over is returned as it is: nobody's member.
    """
    if issubclass(type(value), _StandIn):
        ticket = _ticket(value)
        return value if ticket.is_over else ticket.value
    return value


def stand_in(ticket: Ticket) -> Any:
    """
    A stand-in for the member of *ticket*.
    """
    kind = ticket.member_type
    made = _classes.get(kind)
    if made is None:
        made = _classes.setdefault(kind, _class_for(kind))
    standin: Any = object.__new__(made)
    object.__setattr__(standin, "_memguard_ticket", ticket)
    return standin


def _class_for(kind: type) -> type:
    defined = {name for base in kind.__mro__ for name in vars(base)}
    methods: dict[str, Any] = {"__slots__": ()}
    for name in _SPECIAL:
        if name in defined:
            # None says that a protocol is not there although a base has it.
            there = getattr(kind, name) is not None
            methods[name] = _forward(name) if there else None
    methods["__repr__"] = _repr
    return type(f"Lent[{kind.__name__}]", (_StandIn,), methods)


def _forward(name: str) -> Callable[..., Any]:
    def method(self: Any, /, *args: Any, **keywords: Any) -> Any:
        ticket = _ticket(self)
        value = ticket.open()
        result = getattr(ticket.member_type, name)(
            value, *[bare(one) for one in args], **keywords
        )
        # `with member as same:` and `member += more` must not get past the stand-in.
        return self if result is value else result

    method.__name__ = name
    return method


def _repr(self: Any) -> str:
    # For logs and debuggers: never an error.
    ticket = _ticket(self)
    if ticket.is_over:
        kind = ticket.member_type.__qualname__
        return f"<{kind} of pool {ticket.pool!r}, given back>"
    return repr(ticket.value)
