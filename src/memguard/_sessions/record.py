"""
The record of a session: a header that can be checked, then its content. Pure.

The header says which version of the session it is, when it was made, last used and
expires, which schema its content has, how that is written, and who wrote it. A
checksum covers all of it: a record that was torn or changed is refused.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from typing import TYPE_CHECKING, Final

from memguard._records import record

if TYPE_CHECKING:
    from memguard._sessions.words import Words

__all__ = (
    "HEADER_BYTES",
    "Header",
    "Torn",
    "expired",
    "facts_of",
    "read_header",
    "read_page",
    "read_record",
    "version_after",
    "write_page",
    "write_record",
)

_MAGIC: Final = b"mgS1"
_SQUEEZED: Final = 1
_WITH_WORDS: Final = 2  # of the store
# magic, flags, codec, schema, version, born, used, expires, writer; then the checksum.
_HEAD: Final = struct.Struct(">4sBBIQdddI")
_SUM: Final = struct.Struct(">I")
# Where in the header it stands when the session expires.
_END: Final = struct.Struct(">d")
_END_AT: Final = struct.calcsize(">4sBBIQdd")
# From the version to the end.
_FACTS: Final = struct.Struct(">Qddd")
_FACTS_AT: Final = struct.calcsize(">4sBBI")
_PAGE: Final = struct.Struct(">BI")  # flags, checksum
HEADER_BYTES: Final = _HEAD.size + _SUM.size

# Below this zlib's own header and table eat what it saves.
_SQUEEZE_FROM_BYTES: Final = 200
_LEVEL: Final = 1  # three times as fast as 6, for about a tenth more bytes


class Torn(ValueError):
    """
    Raised for a record that is not whole, or that memguard did not write.
    """


@record
class Header:
    """
    What a record says of itself. Times are wall-clock seconds.

    `codec` is a number that stands for how the content is written; `writer` is a
    checksum of the owner who wrote it; `expires_at` is None for never.
    """

    codec: int
    schema: int
    version: int
    born: float
    used: float
    expires_at: float | None
    writer: int


def version_after(version: int) -> int:
    """
    The version of a write that follows the one of *version*.

    It counts in its upper half. The lower one is random: no other write has the same
    version, also where a session was ended and made anew meanwhile.
    """
    return ((version >> 32) + 1) << 32 | int.from_bytes(os.urandom(4), "big")


def write_record(
    raw: bytes,
    *,
    codec: int,
    schema: int,
    version: int,
    born: float,
    used: float,
    expires_at: float | None,
    writer: int,
    words: Words | None = None,
    squeeze: bool = True,
) -> bytes:
    """
    The record of the content *raw*, squeezed if that is shorter and *squeeze* is True.

    With *words* it can be read with these alone.
    """
    raw, flags = _squeezed(raw, words) if squeeze else (raw, 0)
    head = _HEAD.pack(
        _MAGIC,
        flags,
        codec,
        schema,
        version,
        born,
        used,
        math.inf if expires_at is None else expires_at,
        writer,
    )
    return b"".join((head, _SUM.pack(zlib.crc32(raw, zlib.crc32(head))), raw))


def read_header(stored: bytes) -> Header:
    """
    The header alone; its content is not looked at. Raises Torn where there is none.
    """
    return _header(stored)[0]


def facts_of(stored: bytes) -> tuple[int, float | None]:
    """
    Version and end, read alone; 1 and None where there is no header.
    """
    if len(stored) < HEADER_BYTES or stored[:4] != _MAGIC:
        return 1, None
    version, _, _, end = _FACTS.unpack_from(stored, _FACTS_AT)
    return version, None if end == math.inf else end


def expired(stored: bytes, now: float) -> bool:
    """
    True where the header says so; False also where there is none.
    """
    if len(stored) < HEADER_BYTES:
        return False
    (at,) = _END.unpack_from(stored, _END_AT)
    return bool(at <= now)


def read_record(stored: bytes, words: Words | None = None) -> tuple[Header, bytes]:
    """
    The header and the content. Raises Torn unless every byte is as it was written.

    *words* are those of the store that it lies in.
    """
    header, flags = _header(stored)
    (expected,) = _SUM.unpack_from(stored, _HEAD.size)
    raw = stored[HEADER_BYTES:]
    if zlib.crc32(raw, zlib.crc32(stored[: _HEAD.size])) != expected:
        msg = "the checksum of a session's record is wrong: it is not whole"
        raise Torn(msg)
    if flags & _WITH_WORDS:
        if words is None:
            msg = (
                "a session's record can be read in the store alone that it was made in"
            )
            raise Torn(msg)
        raw = words.expand(raw)
    elif flags & _SQUEEZED:
        raw = zlib.decompress(raw)
    return header, raw


def write_page(raw: bytes) -> bytes:
    """
    The page of a history with the content *raw*, squeezed if that is shorter.
    """
    raw, flags = _squeezed(raw)
    return b"".join((_PAGE.pack(flags, zlib.crc32(raw, flags)), raw))


def read_page(stored: bytes) -> bytes:
    """
    The content of a page. Raises Torn unless every byte is as it was written.
    """
    if len(stored) >= _PAGE.size:
        flags, expected = _PAGE.unpack_from(stored)
        raw = stored[_PAGE.size :]
        if zlib.crc32(raw, flags) == expected:
            return zlib.decompress(raw) if flags & _SQUEEZED else raw
    msg = "the checksum of a page of a history is wrong: it is not whole"
    raise Torn(msg)


def _squeezed(raw: bytes, words: Words | None = None) -> tuple[bytes, int]:
    if len(raw) >= _SQUEEZE_FROM_BYTES:
        flags = _WITH_WORDS
        squeezed = None if words is None else words.squeeze(raw)
        if squeezed is None:
            squeezed, flags = zlib.compress(raw, _LEVEL), _SQUEEZED
        if len(squeezed) < len(raw):
            return squeezed, flags
    return raw, 0


def _header(stored: bytes) -> tuple[Header, int]:
    if len(stored) < HEADER_BYTES or stored[:4] != _MAGIC:
        msg = "a session's record does not begin with the header that memguard writes"
        raise Torn(msg)
    _, flags, codec, schema, version, born, used, expires, writer = _HEAD.unpack_from(
        stored
    )
    expires_at = None if expires == math.inf else expires
    return Header(codec, schema, version, born, used, expires_at, writer), flags
