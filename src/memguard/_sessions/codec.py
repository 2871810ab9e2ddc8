"""
Sessions as bytes: JSON, squeezed where it pays. Pure, and never a pickle.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

__all__ = ("Codec", "JsonCodec", "codec_of", "pack", "unpack")

# The first byte of a record says how the rest is written.
_PLAIN: Final = b"p"
_SQUEEZED: Final = b"z"
# Below this zlib's own header and table eat what it saves.
_SQUEEZE_FROM_BYTES: Final = 200
_LEVEL: Final = 1  # three times as fast as 6, for about a tenth more bytes


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


def pack(raw: bytes) -> bytes:
    """
    The record for *raw*: squeezed if that is shorter.
    """
    if len(raw) >= _SQUEEZE_FROM_BYTES:
        import zlib

        squeezed = zlib.compress(raw, _LEVEL)
        if len(squeezed) < len(raw):
            return _SQUEEZED + squeezed
    return _PLAIN + raw


def unpack(record: bytes) -> bytes:
    """
    What was packed. Raises ValueError for a record of another make.
    """
    how, rest = record[:1], record[1:]
    if how == _PLAIN:
        return rest
    if how == _SQUEEZED:
        import zlib

        return zlib.decompress(rest)
    msg = "a session's record starts with a byte that memguard does not write"
    raise ValueError(msg)


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
            ahead.extend(value.values())
        elif isinstance(value, (list, tuple)):
            ahead.extend(value)
