"""
Histories page by page, and whole, without waking their sessions up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from memguard._kinds.caps import count_cap
from memguard._kinds.closers import running_loop
from memguard._kinds.page import Page
from memguard._phases import CLOSING
from memguard._sessions.codec import read_content
from memguard._sessions.histories import History
from memguard._sessions.older import Older, complete
from memguard._sessions.packing import paged, took
from memguard._sessions.parts import Content, Kept
from memguard._sessions.record import Torn, read_record
from memguard._sessions.rings import SessionRing
from memguard._sessions.slots import caller
from memguard._sessions.steps import Steps, Wait
from memguard.errors import ScopeClosed, SessionUnreadable

if TYPE_CHECKING:
    from memguard._sessions.core import Core
    from memguard._sessions.session import Session

__all__ = ("checked_cursor", "prefetch", "read_page", "unfolded")

# Pages of one ring that come along where a loop wakes a session up: nobody can wait
# for the others there.
_ALONG: Final = 100


def checked_cursor(before: Any, n: Any) -> tuple[int | None, int]:
    """
    What a caller passed to `page`, if it can be that.
    """
    most = count_cap(n, "n", least=0)
    if most is None or not (before is None or type(before) is int):
        msg = "page() takes the `next` of another page, or None, and a number"
        raise TypeError(msg)
    return before, most


def read_page(
    core: Core, id: str, name: str, before: int | None, n: int
) -> Steps[Page[Any]]:
    """
    As `Ring.page`, of a ring of any session: live, asleep, or another process's.

    Empty where there is no such session or ring.
    """
    kept: Kept | None = None
    session = yield from _settled(core, id)
    if session is not None:
        ring: Any = session.find(SessionRing.kind, name)
        if ring is not None:
            page: Page[Any] | None = yield from _of_live(core, session, ring, before, n)
            if page is not None:
                return page
            # It has closed meanwhile, and left its content with its session.
        kept = session._kept["ring"].get(name)
    if kept is None and (session is None or session.state >= CLOSING):
        content = yield from _stored(core, id)
        kept = None if content is None else content.rings.get(name)
    if kept is None:
        return Page((), None)
    opened = yield core.call(kept.open, core.options.codec)
    history = History(opened, core.registry.clock.time())
    numbers = history.lacking(before, n)
    if numbers:
        assert history.older is not None
        pages = yield core.ask(core.space.pages, id, name, numbers)
        # What is missing was dropped meanwhile, by whoever has the session.
        history.older.take(numbers, pages)
    page = yield core.call(_page_of, core, history, before, n)
    return page


def _settled(core: Core, id: str) -> Steps[Session | None]:
    """
    The live session of *id*; None where it has to be looked for in the store.
    """
    table = core.table
    while True:
        with table.lock:
            slot = table.slots.get(id)
            if slot is None:
                return None
            session, latch, by = slot.session, slot.busy, slot.busy_by
            if core.leases and not slot.held and slot.lease is None and latch is None:
                return None  # it was given back, and may be another's by now
        if latch is None or latch.is_set or by == caller():
            return session
        # It comes or goes; afterwards it is clear where its history is.
        yield Wait(latch)


def _of_live(
    core: Core, session: Session, ring: Any, before: int | None, n: int
) -> Steps[Page[Any] | None]:
    """
    A page of a live ring; None where its session has gone in the middle of it.
    """
    try:
        older: Older | None = ring.older
        numbers = ring.lacking(before, n)
        if numbers and older is not None:
            pages = yield core.ask(core.space.pages, session.id, ring.label, numbers)
            took(session, older, numbers, pages)
        page: Page[Any] = yield core.call(ring.page, before, n)
    except ScopeClosed:
        if session.state < CLOSING:
            raise
        return None
    return page if ring.state < CLOSING else None


def _stored(core: Core, id: str) -> Steps[Content | None]:
    found = yield core.ask(core.space.read, id)
    if found is None:
        return None
    ends = found.expires_at
    if ends is not None and ends <= core.registry.clock.time():
        return None
    content: Content = yield core.call(_content, core, found.record)
    return content


def _content(core: Core, stored: bytes) -> Content:
    try:
        header, raw = read_record(stored, core.words)
    except Torn as error:
        msg = (
            f"a session of {core.sessions.label!r} cannot be read: its record is not"
            " whole. Open it: the record is put aside then, and it begins anew"
        )
        raise SessionUnreadable(msg) from error
    # Upgrading is for data.
    return read_content(header, raw, core.options, lambda data, _: data)


def _page_of(core: Core, history: History, before: int | None, n: int) -> Page[Any]:
    while True:
        try:
            return history.page(core.options.codec, before, n)
        except Torn as error:
            core.failed("reading an older page of a ring", error)


def unfolded(core: Core, id: str, content: Content) -> Steps[dict[str, Any]]:
    """
    All of a session in values of its codec: data, rings and series as they dump.
    """
    codec = core.options.codec
    rings: dict[str, Any] = {}
    for name, kept in content.rings.items():
        head, values, fetched = yield core.call(kept.open, codec)
        pages = head.get("pages")
        if pages is not None:
            older = Older(pages[0], pages[1], fetched)
            numbers = older.lacking(*pages)
            found = yield core.ask(core.space.pages, id, name, numbers)
            older.take(numbers, found)
            head, values = yield core.call(_whole, core, older, head, values)
        rings[name] = [head, *values]
    series: dict[str, Any] = {}
    for name, kept in content.series.items():
        head, values, _ = yield core.call(kept.open, codec)
        series[name] = [head, *values]
    return {"data": content.data, "rings": rings, "series": series}


def _whole(core: Core, older: Older, head: dict[str, Any], values: list[Any]) -> Any:
    while True:
        try:
            return complete(core.options.codec, older, head, values)
        except Torn as error:
            core.failed("reading an older page of a ring", error)


def prefetch(core: Core, id: str, rings: Mapping[str, Kept]) -> Steps[None]:
    """
    Read older pages of a session that wakes up in a loop, which cannot wait for them.

    They stay as they are in the store until somebody looks for them.
    """
    if running_loop() is None:
        return
    for name, part, numbers in paged(rings):
        low, high, whole = numbers
        if not whole:
            low = max(low, high - _ALONG)
        pages = yield core.ask(core.space.pages, id, name, list(range(low, high)))
        part.fetched.update(pages)
