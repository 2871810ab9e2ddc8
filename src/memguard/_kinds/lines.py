"""
Records as lines of JSON.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn

__all__ = ("encoded",)

_encoders: Final[list[Any]] = []


def encoded(record: Any, label: str) -> bytes:
    """
    *record* as one line of UTF-8. Runs code of the record's types, so: without a lock.

    Raises TypeError that names the type which is not JSON, and ValueError for NaN and
    infinities, which JSON does not have, and for what refers to itself.
    """
    plain, ascii_only = _encoders or _make_encoders()
    try:
        text = plain.encode(record)
        try:
            return text.encode() + b"\n"  # type: ignore[no-any-return]
        except UnicodeEncodeError:  # half of a surrogate pair: escaped, it is JSON
            return ascii_only.encode(record).encode() + b"\n"  # type: ignore[no-any-return]
    except TypeError as error:
        raise TypeError(_text(label, _type_problem(error))) from None
    except ValueError as error:
        raise ValueError(_text(label, _value_problem(str(error)))) from None
    except RecursionError:
        raise ValueError(_text(label, "it is nested too deeply")) from None


def _text(label: str, problem: str) -> str:
    return f"sink {label!r} cannot write this record: {problem}"


def _type_problem(error: TypeError) -> str:
    """
    Our own text, or the one json has for keys: both name types, never values.
    """
    text = str(error)
    if isinstance(error, _NotJSON) or text.startswith("keys must be "):
        return text
    return f"reading it raised {type(error).__qualname__}"


def _value_problem(text: str) -> str:
    if text.startswith("Circular"):
        return "it contains itself"
    if "float" in text:
        return "JSON has no NaN and no infinities; put None instead"
    return "one of its values cannot be put into JSON"


class _NotJSON(TypeError):
    """
    Raised by our encoder, with the name of a type.
    """


def _make_encoders() -> list[Any]:
    from json import JSONEncoder

    class Encoder(JSONEncoder):
        def default(self, o: Any) -> NoReturn:
            msg = f"a {type(o).__qualname__} is not JSON"
            raise _NotJSON(msg)

    options: dict[str, Any] = {"separators": (",", ":"), "allow_nan": False}
    made = [Encoder(ensure_ascii=False, **options), Encoder(**options)]
    _encoders[:] = made
    return made
