"""
What of a session is written, and what is read again when somebody looks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memguard._sessions.data import SessionData
from memguard._sessions.parts import Content, Encoder, Kept, Numbers, Part, join
from memguard._sessions.record import Torn, write_page
from memguard._sessions.shelf import Shelf
from memguard._sessions.steps import Refusal

if TYPE_CHECKING:
    from memguard._sessions.older import Older
    from memguard._sessions.session import Session

__all__ = ("Packed", "content_of", "fetch", "fill", "pack", "paged", "took")

_READ: Final[Refusal] = (
    "reading older entries of a ring from the store",
    "`await sessions.apage(id, ring, before, n)`",
)
_READING: Final = "reading older entries of a ring"


class Packed(NamedTuple):
    """
    What is to be saved: the content of the record, the pages of histories that change
    (None: that go), and about how many bytes all of it has, squeezed by nothing.
    """

    raw: bytes
    pages: dict[tuple[str, int], bytes | None]
    size: int


def content_of(session: Session) -> Content:
    """
    All of a session; its rings and series are marked as saved.
    """
    kept = session._freeze()
    return Content(session.data.plain(), kept["ring"], kept["series"])


def pack(session: Session, codec: Encoder, *, paged: bool, version: int) -> Packed:
    """
    What is to be saved as *version*, marked as saved.
    """
    # Marked before it is read: what comes in between is saved once more.
    session.data.dirty = False
    content = content_of(session)
    rings = {name: one.part(codec, paged) for name, one in content.rings.items()}
    series = {name: one.part(codec, False) for name, one in content.series.items()}
    raw = join(codec, content.data, rings, series)
    pages: dict[tuple[str, int], bytes | None] = {}
    size = len(raw)
    wanted = {
        name: one.numbers for name, one in rings.items() if one.numbers is not None
    }
    if wanted and session._shelf is None:
        session._shelf = Shelf()
    if session._shelf is not None:
        missing, gone = session._shelf.plan(wanted, version, session._slot.version)
        for name, number in missing:
            ring: Any = content.rings[name]
            pages[name, number] = write_page(ring.page(codec, number))
        pages.update(dict.fromkeys(gone))
        size += sum(content.rings[name].paged_bytes(rings[name]) for name in wanted)
    return Packed(raw, pages, size)


def fill(session: Session, content: Content) -> None:
    """
    Give a restored session what was saved of it.
    """
    session.data = SessionData(content.data)
    session._kept = {"ring": dict(content.rings), "series": dict(content.series)}
    for name, _, numbers in paged(content.rings):
        if session._shelf is None:
            session._shelf = Shelf()
        session._shelf.has(name, numbers)


def paged(rings: Mapping[str, Kept]) -> list[tuple[str, Part, Numbers]]:
    """
    Those that nobody has asked for, and that have pages in the store.
    """
    return [
        (name, part, part.numbers)
        for name, part in rings.items()
        if isinstance(part, Part) and part.numbers is not None
    ]


def fetch(session: Session, name: str, older: Older, low: int, high: int) -> None:
    """
    Get those entries of a ring from the store, where they are not in memory.

    Inside a loop that raises WouldBlockLoop, unless they came when it woke up.
    """
    numbers = older.lacking(low, high)
    core = session._core_of()
    if numbers:
        pages = core.ask(core.space.pages, session.id, name, numbers).perform(_READ)
        took(session, older, numbers, pages)
    try:
        older.decode(core.options.codec, low, high)
    except Torn as error:
        core.failed(_READING, error)


def took(
    session: Session, older: Older, asked: list[int], pages: dict[int, bytes]
) -> None:
    """
    Note pages that the store was *asked* for, and tell of those that it has lost.
    """
    older.take(asked, pages)
    lost = len(asked) - len(pages)
    if lost:
        error = Torn(f"{lost} pages of a ring are not in the store of its session")
        session._core_of().failed(_READING, error)
