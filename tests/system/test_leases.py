"""
Two workers on one store, paused past their leases, the server killed in between: no
session is owned twice, and no acknowledged write is lost.

Each seed is a story of its own, judged from what the workers noted.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest
from tests._redis import DURABLE, RedisServer
from tests.conftest import child_environment
from tests.system.history import Final, History, check

import memguard
from memguard._clock import SystemClock
from memguard._sessions.stores.redis import RedisStore
from memguard._sessions.stores.sqlite import SqliteStore

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

PROGRAM = Path(__file__).parent / "programs" / "session_worker.py"
LEASE_S = 0.3
STORY_S = 1.8
SESSIONS = ["one", "two", "three"]
WORKERS = ("a", "b")
END_WITHIN_S = 20.0


class Story:
    """
    What one seed does: who is paused when and for how long, when the server is killed.

    Moments are seconds from the start. Some pauses are shorter than the lease, and
    most leave the other worker awake to take over.
    """

    def __init__(self, seed: int, restarts: bool) -> None:
        dice = random.Random(seed)
        self.events: list[tuple[float, str, str]] = []
        moment = dice.uniform(0.1, 0.4)
        while moment < STORY_S - 0.5:
            end = moment + LEASE_S * dice.uniform(0.8, 2.0)
            for worker in WORKERS if dice.random() < 0.1 else dice.choices(WORKERS):
                self.events += [(moment, "pause", worker), (end, "resume", worker)]
            moment = end + dice.uniform(0.1, 0.35)
        if restarts:
            start = dice.uniform(0.2, STORY_S - 0.4)
            self.events += [
                (start, "kill", "server"),
                (start + dice.uniform(0.0, 0.15), "start", "server"),
            ]
        self.events.sort()


def told(worker: subprocess.Popen[bytes], notes: Path) -> None:
    """
    Wait until a worker has loaded what it needs.
    """
    assert worker.stdout is not None
    assert b"ready\n" == worker.stdout.readline(), notes


@contextmanager
def workers(task: dict[str, Any], place: Path) -> Iterator[dict[str, Any]]:
    """
    All of them, ready to begin; killed at the end, paused or not.
    """
    running = {}
    try:
        for name in WORKERS:
            notes = place / f"notes-{name}"
            notes.touch()
            told_to = {**task, "worker": name, "notes": str(notes)}
            running[name] = subprocess.Popen(
                [sys.executable, str(PROGRAM), json.dumps(told_to)],
                env=child_environment(None),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        for name, worker in running.items():
            told(worker, place / f"notes-{name}")
        yield running
    finally:
        for worker in running.values():
            worker.kill()
            worker.communicate()


def tell(task: dict[str, Any], story: Story, place: Path, server: Any) -> History:
    """
    One story to its end; gives what its workers noted.
    """
    pause = Event()
    with workers(task, place) as running:
        begun = monotonic()
        for worker in running.values():
            worker.stdin.write(b"go\n")
            worker.stdin.flush()
        for moment, what, whom in story.events:
            pause.wait(max(0.0, begun + moment - monotonic()))
            if what == "pause":
                running[whom].send_signal(signal.SIGSTOP)
            elif what == "resume":
                running[whom].send_signal(signal.SIGCONT)
            elif what == "kill":
                server.kill()
            else:
                server.start()
        for name, worker in running.items():
            _, errors = worker.communicate(timeout=END_WITHIN_S)
            (place / f"errors-{name}").write_bytes(errors)
            assert 0 == worker.returncode, errors.decode()
            # What was refused behind the application's back is reported, no more.
            assert task["way"] == "public" or not errors, errors.decode()
    history = History()
    for name in WORKERS:
        with (place / f"notes-{name}").open() as notes:
            history.add(notes)
    return history


def finals_of(store: Any, way: str) -> dict[str, Final]:
    """
    What there is in the end, when everybody has left.
    """
    name = "shared" if way == "space" else "worker/shared"
    space = store.space(name, SystemClock())
    space.reap()
    assert len(space.ids()) == space.count()[0]
    finals = {}
    if way == "space":
        for one in SESSIONS:
            stored = space.read(one)
            if stored is not None:
                finals[one] = Final(*json.loads(stored.record))
    else:
        guard = memguard.Guard("worker")
        sessions = guard.sessions("shared", store=store)
        for one in SESSIONS:
            with sessions.open(one) as session:
                data = session.data
                finals[one] = Final(data.get("last"), data.get("count", 0))
        guard.shutdown()
    space.close()
    return finals


def run_seed(
    kind: str, way: str, seed: int, place: Path
) -> tuple[History, dict[str, Final]]:
    """
    A store of its own, a story, and what is in the store afterwards.
    """
    place.mkdir()
    with ExitStack() as stack:
        server = None
        path = place / "sessions.db"
        if kind == "redis":
            server = RedisServer(place, *DURABLE).start()
            stack.callback(server.kill)
            path = Path(server.path)
        task = {
            "store": kind,
            "way": way,
            "path": str(path),
            "lease": LEASE_S,
            "seconds": STORY_S,
            "seed": seed,
            "retries": seed % 2 == 0,
            "sessions": SESSIONS,
        }
        story = Story(seed, restarts=server is not None)
        history = tell(task, story, place, server)
        store: Any
        if kind == "redis":
            import redis

            client = redis.Redis(unix_socket_path=str(path))
            stack.callback(client.close)
            store = RedisStore(client)
        else:
            store = SqliteStore(path)
        return history, finals_of(store, way)


@pytest.mark.parametrize("way", ["space", "public"])
@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_paused_past_the_lease(
    kind: str,
    way: str,
    tmp_path: Path,
    long_form: bool,
    record_property: Callable[[str, object], None],
) -> None:
    """
    A hundred seeds in the long form. Late writes are refused, and there are some.
    """
    seen: Counter[str] = Counter()
    for seed in range(100 if long_form else 2):
        history, finals = run_seed(kind, way, seed, tmp_path / f"{seed}")
        assert [] == check(history, finals), f"seed {seed}"
        for outcome in ("acknowledged", "refused", "unknown"):
            seen[outcome] += history.count(outcome)
    record_property("writes", dict(seen))
    assert seen["acknowledged"] > 10
    assert seen["refused"] > 0 or not long_form
