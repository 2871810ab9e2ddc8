"""
The content of sessions as JSON with bytes in it.

The JSON comes with a place marked for each value of bytes, the bytes follow as they
are. So they take up no more room than they are long, and what has none costs nothing.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from memguard._sessions.jsoncodec import json_decoder, json_encoder, refuse_odd_keys

__all__ = ("BytesCodec",)

_BYTES: Final = (bytes, bytearray, memoryview)
# How long the mark is (0: there are no bytes), then how many there are and the length
# of the JSON; then the length of each.
_HEAD: Final = struct.Struct(">BII")


class BytesCodec:
    """
    JSON, and bytes wherever a value may be. A bytearray and a memoryview come back as
    bytes, a tuple as a list.
    """

    __slots__ = ("_decode",)

    def __init__(self) -> None:
        self._decode = json_decoder(None)

    def dumps(self, content: Any) -> bytes:
        """
        JSON in UTF-8, then the bytes. Raises as `JsonCodec` does.
        """
        found: list[bytes] = []
        mark = "\0"

        def place(value: Any) -> dict[str, int]:
            if not isinstance(value, _BYTES):
                msg = (
                    f"a {type(value).__qualname__} cannot be saved: neither JSON nor"
                    " bytes"
                )
                raise TypeError(msg)
            found.append(bytes(value))
            return {mark: len(found) - 1}

        encode = json_encoder(place)
        text = encode(content)
        refuse_odd_keys(content)
        # The mark has to be the key of nothing else; inside of a text its quotation
        # mark would be escaped.
        while found and text.count('{"' + len(mark) * "\\u0000" + '":') != len(found):
            mark += "\0"
            found.clear()
            text = encode(content)
        raw = text.encode("utf-8", "surrogatepass")
        head = _HEAD.pack(len(mark) if found else 0, len(found), len(raw))
        if not found:
            return head[:1] + raw
        lengths = struct.pack(f">{len(found)}I", *map(len, found))
        return b"".join((head, lengths, raw, *found))

    def loads(self, raw: bytes) -> Any:
        """
        The content that was encoded.
        """
        if not raw[0]:
            return self._decode(raw[1:].decode("utf-8", "surrogatepass"))
        length, many, size = _HEAD.unpack_from(raw)
        mark = "\0" * length
        lengths = struct.unpack_from(f">{many}I", raw, _HEAD.size)
        start = _HEAD.size + 4 * many
        at = start + size
        found = []
        for one in lengths:
            found.append(raw[at : at + one])
            at += one

        def filled(value: dict[str, Any]) -> Any:
            if len(value) == 1 and mark in value:
                return found[value[mark]]
            return value

        text = raw[start : start + size].decode("utf-8", "surrogatepass")
        return json_decoder(filled)(text)
