"""
Sessions whose disk lets them down: a clear report, and the rest is served.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from memguard import Guard, Sessions
from memguard._events import BackgroundFailure
from memguard.errors import SessionUnreadable, StoreFailed
from memguard.testing import capture_events

pytestmark = pytest.mark.system

FILE = "sessions.sqlite3"
USERS = [f"user {number}" for number in range(10)]


@contextmanager
def service(directory: Path, **options: Any) -> Iterator[Sessions]:
    """
    The sessions of one run of a service.
    """
    guard = Guard("service", state_dir=str(directory), audit_ignore=("fd",))
    guard.start()
    try:
        yield guard.sessions("chat", **options)
    finally:
        guard.shutdown()


def write(chat: Sessions, user: str, **data: Any) -> None:
    """
    One block that changes a session, and relies on it.
    """
    with chat.open(user, durable=True) as session:
        session.data.update(data)


def content(chat: Sessions, user: str) -> dict[str, Any]:
    """
    What a session has.
    """
    with chat.open(user) as session:
        return dict(session.data)


def filled(directory: Path, **options: Any) -> None:
    """
    An earlier run of the service, with ten users.
    """
    with service(directory, **options) as chat:
        for user in USERS:
            write(chat, user, name=user, pad="x" * 2000)


def failures(events: list[Any]) -> list[tuple[str, str]]:
    """
    What went wrong in the background: where, and the type of the error.
    """
    return [
        (one.where, one.error_type)
        for one in events
        if isinstance(one, BackgroundFailure)
    ]


def unmentioned(caplog: pytest.LogCaptureFixture) -> None:
    """
    No user is named in any log record.
    """
    assert not [one for one in caplog.messages if "user " in one]


# -- a full disk -----------------------------------------------------------------------


def test_a_full_disk(small_disk: Path, caplog: pytest.LogCaptureFixture) -> None:
    """
    Who relies on a save is told; who does not goes on in memory, and that is reported.

    Everything saved before is served, and what waits is saved when there is room.
    """
    saved = []
    with service(small_disk / "state", max_live=5) as chat:

        def fill() -> None:
            for number in range(100):
                user = f"user {number}"
                write(chat, user, number=number, pad=os.urandom(10_000).hex())
                saved.append(user)

        with pytest.raises(StoreFailed, match=f"{FILE}' is full.*Make room") as caught:
            fill()
        assert "user " not in str(caught.value)
        assert 5 < len(saved) < 100
        for number, user in enumerate(saved[:3]):
            assert number == content(chat, user)["number"]

        with capture_events(chat.owner) as events, chat.open("late") as session:  # type: ignore[arg-type]
            session.data["pad"] = os.urandom(100_000).hex()
            session.data["kept"] = True
        assert {"StoreFailed"} == {error for _, error in failures(events)}
        assert any("is full: its disk" in one for one in caplog.messages)
        assert content(chat, "late")["kept"]

        subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
        write(chat, "late", more=True)
    unmentioned(caplog)
    with service(small_disk / "state") as chat:
        assert {*saved, "late"} <= set(chat.ids())
        for number, user in enumerate(saved):
            assert number == content(chat, user)["number"]
        assert content(chat, "late")["kept"]
        assert content(chat, "late")["more"]


def test_a_full_disk_at_the_end(small_disk: Path) -> None:
    """
    The report of the shutdown names what could not be saved.
    """
    guard = Guard("service", state_dir=str(small_disk / "state"), audit_ignore=("fd",))
    guard.start()
    chat = guard.sessions("chat")
    write(chat, "user 1", number=1)
    with chat.open("user 2") as session:
        session.data["pad"] = os.urandom(1_000_000).hex()
    tag = chat.tag("user 2")
    report = guard.shutdown()
    text = str(report)
    assert tag in text
    assert "its drain failed: StoreFailed" in text
    assert "user 2" not in text
    with service(small_disk / "state") as chat:
        assert 1 == content(chat, "user 1")["number"]
        assert "user 2" not in chat


# -- a directory that cannot be used ---------------------------------------------------


def as_nobody(act: Callable[[], str]) -> str:
    """
    What *act* returns in a process without any privilege.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(65534)
            os.write(writing, act().encode())
        except BaseException as error:
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as stream:
        text = stream.read().decode()
    os.waitpid(child, 0)
    return text


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """
    Sessions are kept in memory, and a report says so with path and cure.
    """
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    sealed = tmp_path / "sealed"
    sealed.mkdir()
    sealed.chmod(0o555)

    class Texts(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.texts: list[str] = []

        def emit(self, record: logging.LogRecord) -> None:
            self.texts.append(record.getMessage())

    handler = Texts()

    def act() -> str:
        logging.getLogger("memguard").addHandler(handler)
        with service(sealed / "state") as chat:
            write(chat, "user 1", number=1)
            assert chat.hibernate("user 1")
            assert 1 == content(chat, "user 1")["number"]
        return "\n".join(handler.texts)

    text = as_nobody(act)
    assert "keeping" in text
    assert "they are in memory" in text
    assert f"{sealed / 'state' / FILE}' cannot be made: Permission denied" in text
    assert "state_dir" in text
    assert "user 1" not in text


# -- what is wrong inside --------------------------------------------------------------


def change(path: Path, statement: str, *values: object) -> list[Any]:
    """
    What somebody does to the file behind the service's back.
    """
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(statement, values).fetchall()
        connection.commit()
    return rows


@pytest.mark.parametrize(
    "damage",
    [
        "'a text'",
        "substr(record, 1, length(record) / 2)",
        "record || x'00'",
        "zeroblob(length(record))",
        "x''",
        "cast(substr(record, 1, 60) || x'ff' || substr(record, 62) as blob)",
    ],
)
def test_a_record_that_is_not_whole(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Is put aside and reported: its session is as new, and all others are served.
    """
    filled(tmp_path)
    statement = f"UPDATE sessions SET record = {damage} WHERE id = ?"
    change(tmp_path / FILE, statement, "user 3")
    with service(tmp_path) as chat:
        with capture_events(chat.owner) as events:  # type: ignore[arg-type]
            assert {} == content(chat, "user 3")
        assert 1 == len(failures(events))
        assert "its record was put aside" in failures(events)[0][0]
        for user in USERS:
            if user != "user 3":
                assert user == content(chat, user)["name"]
        write(chat, "user 3", name="new")
    unmentioned(caplog)
    with service(tmp_path) as chat:
        assert "new" == content(chat, "user 3")["name"]
    rows = change(tmp_path / FILE, "SELECT id, length(record) FROM broken")
    assert ["user 3"] == [key for key, _ in rows]


def test_an_older_schema(tmp_path: Path) -> None:
    """
    Nothing is guessed: without a hook a session is refused, with it brought up to date.
    """
    filled(tmp_path, schema=1)
    with service(tmp_path, schema=2) as chat:
        with pytest.raises(SessionUnreadable, match=r"schema 1.*on_upgrade"):
            content(chat, "user 1")
        write(chat, "new user", name="new")
        assert "new" == content(chat, "new user")["name"]
    with service(tmp_path, schema=2) as chat:

        @chat.on_upgrade
        def upgrade(data: dict[str, Any], schema: int) -> dict[str, Any]:
            assert 1 == schema
            return {"full name": data["name"]}

        for user in USERS:
            assert {"full name": user} == content(chat, user)
        write(chat, "user 1", seen=True)
    with service(tmp_path, schema=1) as chat:
        with pytest.raises(SessionUnreadable, match="schema 2"):
            content(chat, "user 1")
        assert "user 2" == content(chat, "user 2")["name"]


def test_a_file_that_is_no_database(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Is moved aside, which is reported, and the service begins anew.
    """
    (tmp_path / FILE).write_bytes(b"user data, but no database\n" * 400)
    with service(tmp_path) as chat:
        write(chat, "user 1", number=1)
    assert any(f"{FILE}.broken-1" in one for one in caplog.messages)
    unmentioned(caplog)
    assert (tmp_path / f"{FILE}.broken-1").read_bytes().startswith(b"user data")
    with service(tmp_path) as chat:
        assert 1 == content(chat, "user 1")["number"]


def test_a_damaged_page(tmp_path: Path) -> None:
    """
    The sessions on it fail with a clear text; the others are served.
    """
    path = tmp_path / FILE
    with service(tmp_path) as chat:
        for number in range(200):
            write(chat, f"user {number}", pad=os.urandom(500).hex())
    text = bytearray(path.read_bytes())
    for start in range(len(text) - 10 * 4096, len(text) - 4096, 4096):
        text[start : start + 100] = b"\xff" * 100
    path.write_bytes(text)
    outcomes = set()
    with service(tmp_path) as chat:
        for number in range(200):
            try:
                found = content(chat, f"user {number}")
            except StoreFailed as error:
                told = str(error)
                outcomes.add("damaged" in told and FILE in told and ".recover" in told)
            else:
                assert 1000 == len(found["pad"])
                outcomes.add("served")
    assert {True, "served"} == outcomes


def test_a_file_that_was_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The service goes on with a new one, after it has said so.
    """
    with service(tmp_path) as chat:
        write(chat, "user 1", number=1)
        os.remove(tmp_path / FILE)
        told = ""
        try:
            write(chat, "user 2", number=2)
        except StoreFailed as error:
            told = str(error)
        write(chat, "user 3", number=3)
    # The thread that prolongs the lease may have been the first to notice.
    assert any("has been removed" in one for one in (told, *caplog.messages))
    unmentioned(caplog)
    with service(tmp_path) as chat:
        assert 3 == content(chat, "user 3")["number"]
