"""
The verbs of a container on its part of the file.

Longer than 300 lines because each verb of the protocol is one transaction that is
read as a whole, and all of them have to agree on who is alive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from memguard._probes.identity import has_gone
from memguard._sessions.stores.space import Claim, Entry, Held, StaleOwner, Stored
from memguard._sessions.stores.sqlite import statements as sql
from memguard._sessions.stores.sqlite.trouble import NoRoom

if TYPE_CHECKING:
    from memguard._sessions.stores.sqlite.database import Database, Execute
    from memguard.typing import Clock

__all__ = ("SqliteSpace",)

# How long somebody who asked for a session counts as asking.
_ASKING_S: Final = 60.0
# Who asks again and again is noted as often.
_NOTED_S: Final = 1.0
# Names in one statement; SQLite takes 32,766, older ones 999.
_MOST_MARKS: Final = 500
# How much larger a session may be than before where there is hardly any room.
_GROWTH_BYTES: Final = 4096
# The number of a space that nothing has.
_NOWHERE: Final = -1
#: Records put aside, of all containers.
_MOST_BROKEN: Final = 100


class SqliteSpace:
    """
    The sessions of one container. Thread-safe; each verb is one transaction.
    """

    __slots__ = ("_clock", "_database", "_name", "_number", "_seen")

    paged = True

    def __init__(self, database: Database, name: str, clock: Clock) -> None:
        self._database = database
        self._name = name
        self._clock = clock
        # The number of the space, and on which connection it was looked up.
        self._number = (0, 0)
        # By owner: what the file looked like when nobody wanted anything.
        self._seen: dict[str, tuple[int, int, int]] = {}

    # -- owners ------------------------------------------------------------------------

    def join(self, owner: str, lease_s: float) -> None:
        self._database.write(self._join, owner, lease_s)

    def _join(self, execute: Execute, owner: str, lease_s: float) -> None:
        execute(sql.NEW_SPACE, (self._name, self._name))
        space = self._space(execute)
        execute(sql.JOIN, (space, owner, self._clock.time() + lease_s))

    def beat(self, owner: str, lease_s: float) -> bool:
        return self._database.write(self._beat, owner, lease_s)

    def _beat(self, execute: Execute, owner: str, lease_s: float) -> bool:
        space = self._space(execute)
        # Read now, not before the wait for the lock: a lease that ran out meanwhile
        # has run out.
        now = self._clock.time()
        if execute(sql.BEAT, (now + lease_s, space, owner, now)).rowcount:
            return True
        _end(execute, space, owner)
        return False

    def leave(self, owner: str) -> None:
        self._database.write(self._leave, owner)
        self._seen.pop(owner, None)

    def _leave(self, execute: Execute, owner: str) -> None:
        _end(execute, self._space(execute), owner)

    def reap(self) -> int:
        now = self._clock.time()
        # The processes are looked at before anybody has to wait for the lock.
        owners = self._database.ask(self._owners)
        dead = [name for name, end in owners if end <= now or _gone(name)]
        return self._database.write(self._reap, dead) if dead else 0

    def _owners(self, execute: Execute) -> list[tuple[str, float]]:
        return execute(sql.OWNERS, (self._space(execute),)).fetchall()

    def _reap(self, execute: Execute, dead: list[str]) -> int:
        space = self._space(execute)
        now = self._clock.time()
        freed = 0
        for owner in dead:
            for (end,) in execute(sql.LEASE, (space, owner)).fetchall():
                if end <= now or _gone(owner):  # it may have renewed it meanwhile
                    freed += execute(sql.HAD, (space, owner)).fetchall()[0][0]
                    _end(execute, space, owner)
        execute(sql.FORGET_WANTS, (space, now - _ASKING_S))
        return freed

    # -- one session -------------------------------------------------------------------

    def claim(self, id: str, owner: str, have: int | None = None) -> Claim | Held:
        found = self._database.write(self._claim, id, owner, have)
        if found is None:
            msg = "the lease of the owner has run out, or somebody ended it"
            raise StaleOwner(msg)
        return found

    def _claim(
        self, execute: Execute, id: str, owner: str, have: int | None
    ) -> Claim | Held | None:
        space = self._space(execute)
        now = self._clock.time()
        state = execute(sql.STATE, (space, id, owner, have)).fetchall()[0]
        lease, holder, until, wanted, asked, version, record = state
        if lease is None or lease <= now:
            _end(execute, space, owner)
            return None
        if holder is None:
            execute(sql.CLAIM, (space, id, owner))
        elif holder != owner:
            if until > now and not _gone(holder):
                if asked is None or not 0 <= now - asked < _NOTED_S:
                    execute(sql.WANT, (space, id, owner, now))
                    self._database.noted += 1
                return Held(holder)
            _end(execute, space, holder)
            execute(sql.CLAIM, (space, id, owner))
        if asked is not None:
            execute(sql.UNWANT, (space, id, owner))
        contended = wanted is not None and wanted > now - _ASKING_S
        if contended:
            self._database.noted += 1
        if version is None:
            return Claim(0, None, contended)
        return Claim(version, record, contended)

    def alone(self, owner: str) -> bool:
        return self._database.ask(self._alone, owner)

    def _alone(self, execute: Execute, owner: str) -> bool:
        space = self._space(execute)
        return not execute(sql.OTHERS, (space, owner)).fetchall()[0][0]

    def wanted(self, owner: str) -> list[str]:
        return self._database.ask(self._wanted, owner)

    def _wanted(self, execute: Execute, owner: str) -> list[str]:
        # Tells whether another connection has written; what this one notes is counted.
        (version,) = execute("PRAGMA data_version").fetchall()[0]
        state = (self._database.opened, version, self._database.noted)
        if self._seen.get(owner) == state:
            return []
        since = self._clock.time() - _ASKING_S
        rows = execute(sql.WANTED, (self._space(execute), owner, since)).fetchall()
        if rows:
            self._seen.pop(owner, None)
        else:
            self._seen[owner] = state
        return [one for (one,) in rows]

    def release(self, id: str, owner: str) -> None:
        self._database.ask(self._release, id, owner)

    def _release(self, execute: Execute, id: str, owner: str) -> None:
        execute(sql.RELEASE, (self._space(execute), id, owner))

    def delete(self, id: str, owner: str) -> bool:
        return self._database.write(self._delete, id, owner)

    def _delete(self, execute: Execute, id: str, owner: str) -> bool:
        space = self._space(execute)
        if not self._is_mine(execute, space, id, owner):
            return False
        execute(sql.RELEASE, (space, id, owner))
        for (number,) in execute(sql.NUMBER, (space, id)).fetchall():
            execute(sql.DROP_PAGES, (number,))
            execute(sql.DELETE, (number,))
        return True

    def quarantine(self, id: str, owner: str) -> None:
        self._database.write(self._quarantine, id, owner)

    def _quarantine(self, execute: Execute, id: str, owner: str) -> None:
        space = self._space(execute)
        if not self._is_mine(execute, space, id, owner):
            return
        for (number,) in execute(sql.NUMBER, (space, id)).fetchall():
            aside = execute(sql.PUT_ASIDE, (self._clock.time(), number)).lastrowid
            execute(sql.PAGES_ASIDE, (aside, number))
            execute(sql.DELETE, (number,))
        for (old,) in execute(sql.OLD_BROKEN, (_MOST_BROKEN,)).fetchall():
            execute(sql.DROP_PAGES, (-old,))
            execute(sql.FORGET_BROKEN, (old,))

    # -- writing -----------------------------------------------------------------------

    def put(self, owner: str, entries: Sequence[Entry]) -> list[bool]:
        if len(entries) == 1:
            return [self._database.write(self._put, owner, entries[0])]
        if not entries:
            return []
        return self._database.write(self._put_all, owner, entries)

    def _put(self, execute: Execute, owner: str, entry: Entry) -> bool:
        space = self._space(execute)
        if not self._is_mine(execute, space, entry.id, owner):
            return False
        self._fits(execute, space, entry)
        execute(sql.PUT, _row(space, entry))
        if entry.pages:
            _put_pages(execute, space, entry)
        if entry.release:
            execute(sql.RELEASE, (space, entry.id, owner))
        return True

    def _put_all(
        self, execute: Execute, owner: str, entries: Sequence[Entry]
    ) -> list[bool]:
        space = self._space(execute)
        mine = self._mine_of(execute, space, [one.id for one in entries], owner)
        done, rows, released = [], [], []
        for entry in entries:
            is_mine = entry.id in mine
            done.append(is_mine)
            if is_mine:
                self._fits(execute, space, entry)
                rows.append(_row(space, entry))
                if entry.release:
                    mine.remove(entry.id)
                    released.append((space, entry.id, owner))
        executemany = self._database.executemany
        executemany(sql.PUT, rows)
        executemany(sql.RELEASE, released)
        for entry, is_mine in zip(entries, done, strict=True):
            if is_mine and entry.pages:
                _put_pages(execute, space, entry)
        return done

    def _fits(self, execute: Execute, space: int, entry: Entry) -> None:
        if not self._database.is_tight:
            return
        pages = sum(len(page) for page in entry.pages.values() if page)
        rows = execute(sql.SIZE, (space, entry.id)).fetchall()
        if not rows or len(entry.record) + pages > rows[0][0] + _GROWTH_BYTES:
            raise NoRoom

    def touch(self, owner: str, expiries: Mapping[str, float | None]) -> None:
        if expiries:
            self._database.write(self._touch, owner, expiries)

    def _touch(
        self, execute: Execute, owner: str, expiries: Mapping[str, float | None]
    ) -> None:
        space = self._space(execute)
        mine = self._mine_of(execute, space, list(expiries), owner)
        self._database.executemany(
            sql.TOUCH,
            [(end, space, key) for key, end in expiries.items() if key in mine],
        )

    # -- reading -----------------------------------------------------------------------

    def read(self, id: str) -> Stored | None:
        rows = self._database.ask(self._read, id)
        for version, record, expires_at, size, owner, until in rows:
            lives = owner is not None and until > self._clock.time()
            if lives and _gone(owner):
                lives = False
            return Stored(version, record, expires_at, owner if lives else None, size)
        return None

    def _read(self, execute: Execute, id: str) -> list[Any]:
        return execute(sql.READ, (self._space(execute), id)).fetchall()

    def pages(self, id: str, name: str, numbers: Sequence[int]) -> dict[int, bytes]:
        if not numbers:
            return {}
        return self._database.read(self._pages, id, name, numbers)

    def _pages(
        self, execute: Execute, id: str, name: str, numbers: Sequence[int]
    ) -> dict[int, bytes]:
        space = self._space(execute)
        found: dict[int, bytes] = {}
        for first in range(0, len(numbers), _MOST_MARKS):
            some = numbers[first : first + _MOST_MARKS]
            query = sql.PAGES.format(marks=", ".join("?" * len(some)))
            found.update(execute(query, (space, id, name, *some)).fetchall())
        return found

    def due(self, now: float, most: int) -> list[str]:
        return self._database.ask(self._due, now, most)

    def _due(self, execute: Execute, now: float, most: int) -> list[str]:
        space = self._space(execute)
        rows = execute(sql.DUE, (space, now, self._clock.time(), most)).fetchall()
        return [one for (one,) in rows]

    def next_due(self) -> float | None:
        return self._database.ask(self._next_due)

    def _next_due(self, execute: Execute) -> float | None:
        space = self._space(execute)
        rows = execute(sql.NEXT_DUE, (space, self._clock.time())).fetchall()
        return float(rows[0][0]) if rows else None

    def count(self) -> tuple[int, int]:
        return self._database.read(self._count)

    def _count(self, execute: Execute) -> tuple[int, int]:
        space = self._space(execute)
        ((number, size),) = execute(sql.COUNT, (space,)).fetchall()
        now = self._clock.time()
        ((held, held_size),) = execute(sql.COUNT_HELD, (space, now)).fetchall()
        return number - held, int(size - held_size)

    def ids(self) -> list[str]:
        return self._database.ask(self._ids)

    def _ids(self, execute: Execute) -> list[str]:
        rows = execute(sql.IDS, (self._space(execute),)).fetchall()
        return [one for (one,) in rows]

    def close(self) -> None:
        self._database.close()

    # -- inside of a transaction -------------------------------------------------------

    def _space(self, execute: Execute) -> int:
        opened, number = self._number
        if opened == self._database.opened:
            return number
        rows = execute(sql.SPACE, (self._name,)).fetchall()
        if not rows:
            return _NOWHERE  # nobody ever joined
        number = int(rows[0][0])
        self._number = (self._database.opened, number)
        return number

    def _is_mine(self, execute: Execute, space: int, id: str, owner: str) -> bool:
        rows = execute(sql.MINE, (id, space, owner)).fetchall()
        if rows and rows[0][0] > self._clock.time():
            return bool(rows[0][1])
        _end(execute, space, owner)
        return False

    def _mine_of(
        self, execute: Execute, space: int, ids: Sequence[str], owner: str
    ) -> set[str]:
        """
        Those of *ids* that are the owner's.
        """
        rows = execute(sql.LEASE, (space, owner)).fetchall()
        if not rows or rows[0][0] <= self._clock.time():
            _end(execute, space, owner)
            return set()
        return {one for one in ids if execute(sql.HAS, (space, one, owner)).fetchall()}


def _row(space: int, entry: Entry) -> tuple[Any, ...]:
    record = entry.record
    return space, entry.id, entry.version, entry.expires_at, len(record), record


def _put_pages(execute: Execute, space: int, entry: Entry) -> None:
    ((session,),) = execute(sql.NUMBER, (space, entry.id)).fetchall()
    grown = 0
    for (name, number), page in entry.pages.items():
        key = (session, name, number)
        for (size,) in execute(sql.PAGE_SIZE, key).fetchall():
            grown -= size
        if page is None:
            execute(sql.DROP_PAGE, key)
        else:
            grown += len(page)
            execute(sql.PUT_PAGE, (*key, page))
    if grown:
        execute(sql.PAGED, (grown, grown, session))


def _end(execute: Execute, space: int, owner: str) -> None:
    """
    Fence an owner: whatever its clock says, it has nothing from now on.
    """
    execute(sql.END_CLAIMS, (space, owner))
    execute(sql.END_OWNER, (space, owner))
    execute(sql.END_WANTS, (space, owner))


def _gone(owner: str) -> bool:
    """
    Whether the process of an owner has certainly ended; owners begin with it.
    """
    return has_gone(owner.rpartition(":")[0])
