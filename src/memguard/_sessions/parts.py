"""
The content of a session in pieces, each of which is decoded when it is asked for. Pure.

First comes what every use needs: the data, and how long each of the other pieces is.
Then come the rings and the series, in that order. Who wakes a session up decodes the
first piece alone.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, Protocol

__all__ = ("Content", "Dumped", "Kept", "Numbers", "Opened", "Part", "join", "split")

_LENGTH: Final = struct.Struct(">I")
_KINDS: Final = ("rings", "series")


class Numbers(NamedTuple):
    """
    The pages of a history that its store has: from `low` on, `high` excluded.

    `whole` says that none of it is of use without all of it.
    """

    low: int
    high: int
    whole: bool


class Encoder(Protocol):
    """
    What turns a piece into bytes and back: a codec.
    """

    def dumps(self, content: Any) -> bytes:
        """
        *content* as bytes.
        """

    def loads(self, raw: bytes) -> Any:
        """
        What `dumps` was given.
        """


class Opened(NamedTuple):
    """
    A decoded piece: its head, its newest values, and what of it is in the store.

    `fetched` are pages that have been read already, as the store has them.
    """

    head: dict[str, Any]
    values: list[Any]
    fetched: dict[int, bytes]


class Kept(Protocol):
    """
    The content of a ring or of a series that is not live.
    """

    def part(self, codec: Encoder, paged: bool) -> Part:
        """
        It as a record has it, where older pages may be kept apart if *paged*.
        """

    def paged_bytes(self, part: Part) -> int:
        """
        About how many bytes those entries have that are not in *part*, but in memory.
        """

    def open(self, codec: Encoder) -> Opened:
        """
        It decoded, but for what is kept apart.
        """


class Part:
    """
    What a record has of one ring or series: as it was written, not decoded yet.
    """

    __slots__ = ("fetched", "numbers", "raw")

    def __init__(self, raw: bytes, numbers: Numbers | None = None) -> None:
        self.raw = raw
        self.numbers = numbers
        self.fetched: dict[int, bytes] = {}

    def part(self, codec: Encoder, paged: bool) -> Part:
        """
        Itself: nobody has looked at it.
        """
        del codec, paged
        return self

    def paged_bytes(self, part: Part) -> int:
        """
        None: they are in the store alone.
        """
        del part
        return 0

    def open(self, codec: Encoder) -> Opened:
        """
        It decoded.
        """
        dumped = codec.loads(self.raw)
        return Opened(dumped[0], dumped[1:], self.fetched)


class Dumped:
    """
    A content at one moment that has no pages: a series'.
    """

    __slots__ = ("_dumped",)

    def __init__(self, dumped: list[Any]) -> None:
        self._dumped = dumped

    def part(self, codec: Encoder, paged: bool) -> Part:
        """
        It encoded, in one piece.
        """
        del paged
        return Part(codec.dumps(self._dumped))

    def paged_bytes(self, part: Part) -> int:
        """
        None.
        """
        del part
        return 0

    def open(self, codec: Encoder) -> Opened:
        """
        As it is.
        """
        del codec
        return Opened(self._dumped[0], self._dumped[1:], {})


class Content(NamedTuple):
    """
    A session without its life: its data, and what is kept of its rings and series.
    """

    data: dict[str, Any]
    rings: Mapping[str, Kept]
    series: Mapping[str, Kept]


def join(
    codec: Encoder,
    data: dict[str, Any],
    rings: Mapping[str, Part],
    series: Mapping[str, Part],
) -> bytes:
    """
    All of it in one.
    """
    main: dict[str, Any] = {"data": data}
    if not (rings or series):
        head = codec.dumps(main)
        return b"".join((_LENGTH.pack(len(head)), head))
    pieces: list[bytes] = []
    for kind, parts in zip(_KINDS, (rings, series), strict=True):
        if parts:
            lengths: dict[str, Any] = {}
            for name, part in parts.items():
                length = len(part.raw)
                lengths[name] = (
                    length if part.numbers is None else [length, *part.numbers]
                )
                pieces.append(part.raw)
            main[kind] = lengths
    head = codec.dumps(main)
    return b"".join((_LENGTH.pack(len(head)), head, *pieces))


def split(codec: Encoder, raw: bytes) -> Content:
    """
    What `join` was given, with nothing but the data decoded.
    """
    (length,) = _LENGTH.unpack_from(raw)
    at = _LENGTH.size + length
    main = codec.loads(raw[_LENGTH.size : at])
    found: list[dict[str, Part]] = []
    for kind in _KINDS:
        parts: dict[str, Part] = {}
        for name, known in main.get(kind, {}).items():
            length, numbers = known, None
            if type(known) is not int:
                length, *rest = known
                numbers = Numbers(*rest)
            parts[name] = Part(raw[at : at + length], numbers)
            at += length
        found.append(parts)
    return Content(main["data"], *found)
