"""
How the content of sessions is written: JSON, and never a pickle unless it is asked for.
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
    "codec_number",
    "codec_of",
    "read_content",
)

# What the header of a record says of its content. Never change one.
JSON_NUMBER: Final = 1
_NUMBERS: Final = {"json": JSON_NUMBER, "bytes": 2, "pickle": 3}
_OTHER: Final = 255


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


def codec_number(codec: Any) -> int:
    """
    The number that records of that codec bear.
    """
    return _NUMBERS.get(codec, _OTHER) if isinstance(codec, str) else _OTHER


def codec_of(codec: Any) -> Codec:
    """
    What a caller passed as `codec`, checked.
    """
    if isinstance(codec, str) and codec in _NUMBERS:
        return _named(codec)
    if callable(getattr(codec, "dumps", None)) and callable(
        getattr(codec, "loads", None)
    ):
        return codec  # type: ignore[no-any-return]
    msg = (
        'codec must be "json", "bytes", "pickle" or an object with dumps(content) ->'
        f" bytes and loads(bytes), not {codec!r}"
    )
    raise ValueError(msg)


def _named(name: str) -> Codec:
    if name == "bytes":
        from memguard._sessions.bytescodec import BytesCodec

        return BytesCodec()
    if name == "pickle":
        from memguard._sessions.picklecodec import PickleCodec

        return PickleCodec()
    from memguard._sessions.jsoncodec import JsonCodec

    return JsonCodec()


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
