"""
The options of `sessions(...)`, each checked once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from memguard._kinds.caps import byte_cap, count_cap, lifetime
from memguard._records import record
from memguard._sessions.codec import Codec, codec_number, codec_of
from memguard._sessions.expiry import Clocks
from memguard._sessions.stores import Store, store_of
from memguard._settings import parse_duration

if TYPE_CHECKING:
    from memguard.typing import Duration, Size

__all__ = ("Options", "checked_id", "tag_of")

_LONGEST_ID: Final = 512


@record
class Options:
    """
    What one container of sessions was asked for. Sizes in bytes.

    `max_live` is the smaller of both limits on live sessions. `store` is None for the
    default: SQLite under the state directory, or memory where there is none. `archive`
    is where expired sessions are written to: a path, a Sink, or None.
    """

    max_live: int
    max_bytes: int | None
    clocks: Clocks
    durable: bool
    store: Store | None
    codec: Codec
    codec_number: int
    schema: int
    archive: Any
    spec: dict[str, object]

    @classmethod
    def check(
        cls,
        *,
        max_sessions: int,
        max_bytes: Size | None,
        max_live: int | None,
        ttl: Duration | None,
        max_age: Duration | None,
        hibernate_after: Duration | None,
        backup_every: Duration | None,
        grace: Duration,
        durable: bool,
        store: Any,
        codec: Any,
        schema: int = 1,
        archive: Any = None,
    ) -> Options:
        """
        The options, or ValueError or TypeError that names the wrong one.
        """
        sessions = count_cap(max_sessions, "max_sessions")
        live = count_cap(max_live, "max_live")
        if sessions is None:
            msg = "max_sessions must be a whole number: sessions are never unbounded"
            raise ValueError(msg)
        if type(durable) is not bool:
            msg = f"durable must be True or False, not {durable!r}"
            raise TypeError(msg)
        clocks = Clocks(
            ttl=lifetime(ttl, "ttl"),
            max_age=lifetime(max_age, "max_age"),
            hibernate_after=lifetime(hibernate_after, "hibernate_after"),
            grace=parse_duration(grace, what="grace"),
            backup_every=lifetime(backup_every, "backup_every"),
        )
        size = byte_cap(max_bytes, "max_bytes")
        spec: dict[str, object] = {
            "max_sessions": sessions,
            "max_bytes": size,
            "max_live": live,
            "ttl": clocks.ttl,
            "max_age": clocks.max_age,
            "hibernate_after": clocks.hibernate_after,
            "backup_every": clocks.backup_every,
            "grace": clocks.grace,
            "durable": durable,
            "store": store,
            "codec": codec,
            "schema": schema,
            "archive": archive,
        }
        return cls(
            max_live=sessions if live is None else min(sessions, live),
            max_bytes=size,
            clocks=clocks,
            durable=durable,
            store=store_of(store),
            codec=codec_of(codec),
            codec_number=codec_number(codec),
            schema=_checked_schema(schema),
            archive=_checked_archive(archive),
            spec=spec,
        )


def _checked_schema(schema: Any) -> int:
    if type(schema) is int and 0 < schema < 2**32:
        return schema
    msg = f"schema must be a whole number from 1 on, not {schema!r}"
    raise ValueError(msg)


def _checked_archive(archive: Any) -> Any:
    if archive is None or isinstance(archive, (str, os.PathLike)):
        return archive
    if callable(getattr(archive, "write", None)) and callable(
        getattr(archive, "flush", None)
    ):
        return archive
    msg = (
        "archive must be the path of a file of JSON lines, or a sink, not"
        f" {type(archive).__qualname__}"
    )
    raise TypeError(msg)


def tag_of(id: str) -> str:
    """
    Eight hexadecimal digits that stand for an id where it must not be told.
    """
    from hashlib import blake2s

    return blake2s(id.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()


def checked_id(id: Any) -> str:
    """
    The id of a session, if it can be one. The errors do not repeat it.
    """
    if not isinstance(id, str):
        msg = f"the id of a session must be a text, not {type(id).__qualname__}"
        raise TypeError(msg)
    if not id or len(id) > _LONGEST_ID:
        msg = (
            f"the id of a session must have 1 to {_LONGEST_ID} characters, not"
            f" {len(id)}; hash longer ones"
        )
        raise ValueError(msg)
    if not id.isascii():
        _refuse_halves(id)
    return id


def _refuse_halves(id: str) -> None:
    try:
        id.encode()
    except UnicodeEncodeError:
        msg = (
            "the id of a session has half of a surrogate pair in it, which no store"
            " can keep; it was decoded wrongly where it came from"
        )
        raise ValueError(msg) from None
