"""
Counts in shared sessions until its time is up, and notes all it does for `history`.

Each session holds a counter and the id of the write that set it last, and a page of a
history with the same id: whoever is given one without the other has a torn record.
"""

import json
import os
import random
import sys
import threading
from time import monotonic, sleep
from typing import Any

import memguard
from memguard._clock import SystemClock
from memguard._probes.identity import identity
from memguard._sessions.stores.space import Entry, Held, Space, StaleOwner
from memguard.errors import SessionElsewhere, SessionLost, StoreFailed

PAGES = 3
TORN = "torn"
#: What each write adds to a history that is kept in pages.
LINES = 40


def store_of(task: dict[str, Any]) -> tuple[Any, Any]:
    """
    The store, and the client that has to be closed after it, if there is one.
    """
    client: Any = None
    if task["store"] == "redis":
        import redis

        options: dict[str, Any] = {} if task["retries"] else {"retry": None}
        client = redis.Redis(
            unix_socket_path=task["path"], socket_timeout=2.0, **options
        )
        store: Any = memguard.RedisStore(client)
    else:
        store = memguard.SqliteStore(task["path"])
    # Shorter than anybody should have it, and than the stores allow.
    store.lease_s = task["lease"]
    return store, client


class Notes:
    """
    One line for each thing done, written at once: a paused process has noted all.
    """

    def __init__(self, path: str, worker: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.worker = worker
        self._count = 0

    def note(self, kind: str, **values: Any) -> None:
        line = json.dumps({"kind": kind, **values}) + "\n"
        os.write(self._file, line.encode())

    def read(
        self, session: str, owner: str, start: float, end: float, state: Any
    ) -> None:
        seen, number = state
        self.note(
            "read",
            session=session,
            owner=owner,
            start=start,
            end=end,
            seen=seen,
            number=number,
        )

    def begin(self, session: str, owner: str, since: float, state: Any) -> Any:
        """
        Gives what is to be written: the id of the write and the counter.
        """
        self._count += 1
        base, number = state
        wrote = f"{self.worker}{self._count}"
        self.note(
            "begin",
            session=session,
            id=wrote,
            owner=owner,
            since=since,
            start=monotonic(),
            base=base,
            number=number + 1,
        )
        return wrote, number + 1

    def end(self, wrote: str, outcome: str) -> None:
        self.note("write", id=wrote, end=monotonic(), outcome=outcome)


class Direct:
    """
    A worker that asks the store itself, as a container of sessions does.
    """

    def __init__(self, space: Space, lease: float, notes: Notes, seed: str) -> None:
        self.space = space
        self.lease = lease
        self.notes = notes
        self.dice = random.Random(seed)
        self.joined = 0
        self.owner = ""
        self.known: dict[str, tuple[int, Any]] = {}  # version and state, in memory
        self.over = threading.Event()

    def join(self) -> None:
        self.joined += 1
        owner = f"{identity()}:{self.joined}"
        try:
            self.space.join(owner, self.lease)
        except StoreFailed:
            sleep(0.01)
            return
        self.owner = owner

    def keep(self) -> None:
        """
        The heart beat of whoever the owner is.
        """
        while not self.over.wait(self.lease / 4):
            try:
                if self.owner:
                    self.space.beat(self.owner, self.lease)
                    self.space.wanted(self.owner)
            except StoreFailed:
                continue

    def work(self, session: str) -> None:
        owner = self.owner
        start = monotonic()
        version, state = self.known.pop(session, (None, None))
        try:
            claim = self.space.claim(session, owner, version)
            if isinstance(claim, Held):
                return
            since = monotonic()
            if claim.version != version:
                state = self.state(session, claim.record)
                if state[0] == TORN and self.overtaken(session, owner, claim.version):
                    return
        except StaleOwner:
            self.join()
            return
        except StoreFailed:
            sleep(0.005)
            return
        self.notes.read(session, owner, start, monotonic(), state)
        version = claim.version
        for left in range(self.dice.randint(0, 4), -1, -1):
            sleep(self.dice.choice((0.0, 0.002, 0.01, 0.03)))
            release = left == 0 and self.dice.random() < 0.5
            version += 1
            wrote, number = self.notes.begin(session, owner, since, state)
            entry = Entry(
                id=session,
                version=version,
                expires_at=None,
                record=json.dumps([wrote, number]).encode(),
                pages={("log", number % PAGES): wrote.encode()},
                release=release,
            )
            try:
                done = self.space.put(owner, [entry]) == [True]
            except StoreFailed:
                self.notes.end(wrote, "unknown")
                return
            self.notes.end(wrote, "acknowledged" if done else "refused")
            if not done:
                return
            state = wrote, number
        if self.dice.random() < 0.7:
            self.known[session] = version, state
        try:
            self.space.release(session, owner)
        except StoreFailed:
            self.known.pop(session, None)

    def state(self, session: str, record: bytes | None) -> Any:
        if record is None:
            return None, 0
        wrote, number = json.loads(record)
        place = number % PAGES
        page = self.space.pages(session, "log", [place]).get(place)
        return (wrote, number) if page == wrote.encode() else (TORN, number)

    def overtaken(self, session: str, owner: str, version: int) -> bool:
        """
        Whether another owner was there between the record and its page: they are read
        by two verbs, and a pause may fall between them.
        """
        again = self.space.claim(session, owner)
        return isinstance(again, Held) or again.version != version

    def run(self, sessions: list[str], until: float) -> None:
        while not self.owner:
            self.join()
        heart = threading.Thread(target=self.keep)
        heart.start()
        try:
            while monotonic() < until:
                self.work(self.dice.choice(sessions))
                sleep(self.dice.choice((0.0, 0.0, 0.002, 0.01)))
                if self.dice.random() < 0.02:
                    self.reap()
        finally:
            self.over.set()
            heart.join()
        self.space.leave(self.owner)
        self.space.close()

    def reap(self) -> None:
        try:
            self.space.reap()
        except StoreFailed:
            sleep(0.005)


class Public:
    """
    A worker that is a program: a guard, sessions, blocks that are durable.
    """

    def __init__(self, store: Any, client: Any, notes: Notes, seed: str) -> None:
        self.store = store
        self.client = client
        self.notes = notes
        self.dice = random.Random(seed)

    def run(self, sessions: list[str], until: float) -> None:
        with memguard.Guard("worker") as guard:
            if self.client is not None:
                guard.register(self.client, close="close", phase="clients")
            shared = guard.sessions(
                "shared", store=self.store, ttl=None, hibernate_after="100ms"
            )
            while monotonic() < until:
                self.work(shared, self.dice.choice(sessions))
                sleep(self.dice.choice((0.0, 0.0, 0.005, 0.1)))

    def work(self, shared: memguard.Sessions, session: str) -> None:
        owner = self.notes.worker
        pauses = self.dice.choices((0.0, 0.002, 0.01, 0.04), k=2)
        start = monotonic()
        wrote = None
        try:
            with shared.open(session, durable=True) as mine:
                since = monotonic()
                log = mine.ring("log", of=str, max_entries=LINES * 20)
                state = mine.data.get("last"), mine.data.get("count", 0)
                if not whole(log, state):
                    state = TORN, state[1]
                sleep(pauses[0])
                wrote, number = self.notes.begin(session, owner, since, state)
                mine.data["last"], mine.data["count"] = wrote, number
                log.extend(f"{wrote} {number}" for number in range(LINES))
                sleep(pauses[1])
        except SessionElsewhere:
            return
        except SessionLost:
            if wrote is not None:
                self.notes.end(wrote, "refused")
        except StoreFailed:
            sleep(0.005)
            if wrote is not None:
                self.notes.end(wrote, "unknown")
        else:
            self.notes.end(wrote, "acknowledged")
            # What it was given was in force: it is only known now.
            self.notes.read(session, owner, start, since, state)


def whole(log: Any, state: Any) -> bool:
    """
    Whether all lines of the newest writes are there, in the pages of their history.
    """
    last, count = state
    lines = log.recent(LINES * min(count, 10))
    writes = lines[::LINES]
    if len(lines) != LINES * min(count, 10) or (writes and writes[-1] != f"{last} 0"):
        return False
    made = [f"{one[:-2]} {number}" for one in writes for number in range(LINES)]
    return bool(lines == made)


def main() -> None:
    task = json.loads(sys.argv[1])
    store, client = store_of(task)
    notes = Notes(task["notes"], task["worker"])
    seed = f"{task['seed']}{task['worker']}"
    print("ready", flush=True)
    sys.stdin.readline()
    until = monotonic() + task["seconds"]
    if task["way"] == "public":
        Public(store, client, notes, seed).run(task["sessions"], until)
        return
    space = store.space("shared", SystemClock())
    Direct(space, task["lease"], notes, seed).run(task["sessions"], until)


if __name__ == "__main__":
    main()
