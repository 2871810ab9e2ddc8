"""
Keys of cached calls: the same call in another spelling has the same key.

`f(1, b=2)`, `f(1, 2)` and, where 2 is the default, `f(1)` are one call. The parameters
are read off the function's code at the first call; `inspect` is only imported for what
has no code of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, Final

from memguard._kinds.callbacks import name_of

__all__ = ("Parameters", "unhashable")

_VARARGS: Final = 0x04  # inspect.CO_VARARGS
_VARKEYWORDS: Final = 0x08  # inspect.CO_VARKEYWORDS


class Parameters:
    """
    The parameters of one function.

    `names` can be given by position, the first `only_positional` of them in no other
    way; `keywords` cannot. `rest` and `extra` tell of `*args` and `**kwargs`.
    """

    __slots__ = ("defaults", "extra", "keywords", "names", "only_positional", "rest")

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.only_positional = 0
        self.keywords: tuple[str, ...] = ()
        self.defaults: dict[str, Any] = {}
        self.rest = False
        self.extra = False

    @classmethod
    def of(cls, fn: Callable[..., Any]) -> Parameters:
        """
        What *fn* takes; anything at all where it does not tell.
        """
        if (
            isinstance(fn, FunctionType)
            and not hasattr(fn, "__wrapped__")
            and not hasattr(fn, "__signature__")
        ):
            return cls._of_code(fn)
        import inspect

        try:
            signature = inspect.signature(fn)
        except (TypeError, ValueError):  # many built-in functions
            parameters = cls()
            parameters.rest = parameters.extra = True
            return parameters
        return cls._of_signature(signature)

    @classmethod
    def _of_code(cls, fn: FunctionType) -> Parameters:
        code = fn.__code__
        count, last = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
        found = cls()
        found.names = code.co_varnames[:count]
        found.only_positional = code.co_posonlyargcount
        found.keywords = code.co_varnames[count:last]
        given = fn.__defaults__ or ()
        found.defaults = dict(
            zip(found.names[count - len(given) :], given, strict=True)
        )
        found.defaults.update(fn.__kwdefaults__ or {})
        found.rest = bool(code.co_flags & _VARARGS)
        found.extra = bool(code.co_flags & _VARKEYWORDS)
        return found

    @classmethod
    def _of_signature(cls, signature: Any) -> Parameters:
        found = cls()
        for one in signature.parameters.values():
            kind = one.kind
            if kind is one.VAR_POSITIONAL:
                found.rest = True
            elif kind is one.VAR_KEYWORD:
                found.extra = True
            elif kind is one.KEYWORD_ONLY:
                found.keywords += (one.name,)
            else:
                found.names += (one.name,)
                found.only_positional += kind is one.POSITIONAL_ONLY
            if one.default is not one.empty:
                found.defaults[one.name] = one.default
        return found

    @property
    def is_open(self) -> bool:
        """
        True where there may be more arguments than parameters.
        """
        return self.rest or self.extra

    def key(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, ...] | None:
        """
        The arguments of a call in one order, or None if it cannot be called like that.
        """
        exactly = len(args) == len(self.names)
        if exactly and not (self.is_open or self.keywords or kwargs):
            return args
        left = dict(kwargs)
        values = self._values(args, left)
        if values is None or (left and not self.extra):
            return None
        rest = args[len(self.names) :]
        if not rest and not left:
            return tuple(values)
        return (*values, rest, tuple(sorted(left.items())))

    def _values(self, args: tuple[Any, ...], left: dict[str, Any]) -> list[Any] | None:
        """
        The values of all named parameters; takes what it uses out of *left*.
        """
        names, given = self.names, len(args)
        if given > len(names) and not self.rest:
            return None
        if any(name in left for name in names[self.only_positional : given]):
            return None  # given twice
        values = list(args[: len(names)])
        for name in names[given:] + self.keywords:
            if name in left and name not in names[: self.only_positional]:
                values.append(left.pop(name))
            elif name in self.defaults:
                values.append(self.defaults[name])
            else:
                return None
        return values

    def call(self, key: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """
        The arguments that have this key.
        """
        count = len(self.names)
        last = count + len(self.keywords)
        kwargs = dict(zip(self.keywords, key[count:last], strict=True))
        if len(key) == last:
            return key[:count], kwargs
        rest, extra = key[last:]
        kwargs.update(extra)
        return (*key[:count], *rest), kwargs

    def named(self, key: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
        """
        The arguments in a key, each with what to call it.
        """
        names = self.names + self.keywords
        yield from zip(names, key, strict=False)
        if len(key) > len(names):
            rest, extra = key[len(names) :]
            for at, value in enumerate(rest):
                yield f"*args[{at}]", value
            yield from extra


def unhashable(fn: Any, parameters: Parameters, key: tuple[Any, ...]) -> TypeError:
    """
    The error that names the argument of *key* that cannot be part of one.
    """
    name = name_of(fn)
    for label, value in parameters.named(key):
        try:
            hash(value)
        except TypeError:
            kind = type(value).__qualname__
            return TypeError(
                f"argument {label!r} of cached function {name} is a {kind}, which"
                " cannot be hashed and so cannot be part of a key; pass something"
                " hashable (a tuple, a frozenset, an id), or call the function without"
                f" its cache as {name}.__wrapped__(...)"
            )
    return TypeError(f"the arguments of cached function {name} cannot be hashed")
