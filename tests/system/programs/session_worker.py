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

from memguard._clock import SystemClock
from memguard._probes.identity import identity
from memguard._sessions.stores.space import Entry, Held, Space, StaleOwner
from memguard.errors import StoreFailed

PAGES = 3


def store_of(kind: str, path: str, lease: float) -> Any:
    if kind == "redis":
        import redis

        from memguard import RedisStore

        client = redis.Redis(unix_socket_path=path, socket_timeout=2.0)
        store: Any = RedisStore(client)
    else:
        from memguard._sessions.stores.sqlite import SqliteStore

        store = SqliteStore(path)
    # Shorter than anybody should have it, and than the stores allow.
    store.lease_s = lease
    return store


class Notes:
    """
    One line for each thing done, written at once: a paused process has noted all.
    """

    def __init__(self, path: str, worker: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._worker = worker
        self._count = 0

    def note(self, kind: str, **values: Any) -> None:
        line = json.dumps({"kind": kind, **values}) + "\n"
        os.write(self._file, line.encode())

    def read(self, session: str, owner: str, start: float, state: Any) -> None:
        seen, number = state
        self.note(
            "read",
            session=session,
            owner=owner,
            start=start,
            end=monotonic(),
            seen=seen,
            number=number,
        )

    def begin(self, session: str, owner: str, since: float, state: Any) -> Any:
        """
        Gives what is to be written: the id of the write and the counter.
        """
        self._count += 1
        base, number = state
        wrote = f"{self._worker}{self._count}"
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
        except StaleOwner:
            self.join()
            return
        except StoreFailed:
            sleep(0.005)
            return
        self.notes.read(session, owner, start, state)
        version = claim.version
        for left in range(self.dice.randint(0, 4), -1, -1):
            sleep(self.dice.choice((0.0, 0.001, 0.004, 0.015)))
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
        return (wrote, number) if page == wrote.encode() else ("torn", number)

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


def main() -> None:
    task = json.loads(sys.argv[1])
    store = store_of(task["store"], task["path"], task["lease"])
    notes = Notes(task["notes"], task["worker"])
    seed = f"{task['seed']}{task['worker']}"
    print("ready", flush=True)
    sys.stdin.readline()
    until = monotonic() + task["seconds"]
    space = store.space("shared", SystemClock())
    Direct(space, task["lease"], notes, seed).run(task["sessions"], until)


if __name__ == "__main__":
    main()
