"""
The content of sessions as bytes: JSON, and never a pickle unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

from memguard._sessions.parts import Content, split
from memguard.errors import SessionUnreadable

if TYPE_CHECKING:
    from memguard._sessions.options import Options
    from memguard._sessions.record import Header

__all__ = (
    "JSON_NUMBER",
    "Codec",
    "JsonCodec",
    "codec_number",
    "codec_of",
    "read_content",
)

# What the header of a record says of its content. Never change one.
JSON_NUMBER: Final = 1
_NUMBERS: Final = {"json": JSON_NUMBER, "bytes": 2, "pickle": 3}
_OTHER: Final = 255
# What has no keys.
_FLAT: Final = frozenset({str, int, float, bool, type(None)})


class Codec(Protocol):
    """
    Turns the content of a session into bytes and back. No lock is held meanwhile.
    """

    def dumps(self, content: Any) -> bytes:
        """
        *content*, a dictionary of dictionaries and lists, as bytes.
        """

    def loads(self, raw: bytes) -> Any:
        """
        What `dumps` was given.
        """


class JsonCodec:
    """
    JSON. A tuple comes back as a list; a key that is no text is refused.

    JSON would turn such a key into a text without a word, and the session would come
    back with other keys than it went.
    """

    __slots__ = ("_decode", "_encode")

    def __init__(self) -> None:
        import json

        self._encode = json.JSONEncoder(
            ensure_ascii=False, separators=(",", ":")
        ).encode
        self._decode = json.loads

    def dumps(self, content: Any) -> bytes:
        """
        JSON in UTF-8. Raises TypeError for what JSON does not know.
        """
        text = self._encode(content)
        _refuse_odd_keys(content)
        # Half a surrogate pair is no UTF-8, but it may be in a text all the same.
        return text.encode("utf-8", "surrogatepass")

    def loads(self, raw: bytes) -> Any:
        """
        The content that was encoded.
        """
        return self._decode(raw.decode("utf-8", "surrogatepass"))


def codec_number(codec: Any) -> int:
    """
    The number that records of that codec bear.
    """
    return _NUMBERS.get(codec, _OTHER) if isinstance(codec, str) else _OTHER


def codec_of(codec: Any) -> Codec:
    """
    What a caller passed as `codec`, checked.
    """
    if codec == "json":
        return JsonCodec()
    if callable(getattr(codec, "dumps", None)) and callable(
        getattr(codec, "loads", None)
    ):
        return codec  # type: ignore[no-any-return]
    msg = (
        'codec must be "json" or an object with dumps(content) -> bytes and'
        f" loads(bytes), not {codec!r}"
    )
    raise ValueError(msg)


def read_content(
    header: Header,
    raw: bytes,
    options: Options,
    upgrade: Callable[[Any, int], Any] | None,
) -> Content:
    """
    The content of a record, of this program's schema; of it only the data decoded.

    *upgrade* is called with the content and its schema where that is an older one.
    Raises SessionUnreadable where there is nobody to do it, or the schema is newer.
    """
    if header.codec != options.codec_number:
        msg = (
            "a session was written with another codec; ask for the sessions with the"
            " codec they were made with, or end them"
        )
        raise SessionUnreadable(msg)
    if header.schema > options.schema or (
        header.schema < options.schema and upgrade is None
    ):
        msg = (
            f"a session was written with schema {header.schema}, and this program has"
            f" {options.schema}; teach it the other one with @sessions.on_upgrade, or"
            " end the session"
        )
        raise SessionUnreadable(msg)
    content = split(options.codec, raw)
    if header.schema < options.schema and upgrade is not None:
        data = _dictionary(upgrade(content.data, header.schema))
        return Content(data, content.rings, content.series)
    return content


def _dictionary(data: Any) -> dict[str, Any]:
    if isinstance(data, dict):
        return data
    msg = (
        "on_upgrade has to return the data of the session, a dictionary, not"
        f" {type(data).__qualname__}"
    )
    raise TypeError(msg)


def _refuse_odd_keys(content: Any) -> None:
    # Encoding came first: it has proved that nothing contains itself.
    ahead = [content]
    while ahead:
        value = ahead.pop()
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    msg = (
                        "keys of dictionaries in a session must be text, not"
                        f" {type(key).__qualname__}; JSON has no other"
                    )
                    raise TypeError(msg)
            value = value.values()
        elif not isinstance(value, (list, tuple)):
            continue
        ahead.extend([one for one in value if type(one) not in _FLAT])
