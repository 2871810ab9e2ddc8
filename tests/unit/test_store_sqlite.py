"""
A store of sessions in SQLite: its file, what can go wrong with it, and forks.

What all stores have to do is in test_store_conformance.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import memguard
from memguard import Guard
from memguard._clock import SystemClock
from memguard._probes.identity import identity
from memguard._sessions.stores.space import Claim, Entry, Space
from memguard._sessions.stores.sqlite import database, opening
from memguard.errors import StoreFailed
from memguard.testing import FakeClock

OWNER = f"{identity()}:test"
ID = "an id that nobody is to see"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """
    Where the file is to be.
    """
    return tmp_path / "state" / "sessions.db"


@pytest.fixture
def spaces() -> Iterator[list[Space]]:
    """
    Closed at the end.
    """
    spaces: list[Space] = []
    yield spaces
    for space in spaces:
        space.close()


@pytest.fixture
def make(path: Path, spaces: list[Space]) -> Callable[..., Space]:
    """
    A space that has joined, on a store with those options.
    """

    def make(**options: Any) -> Space:
        store = memguard.SqliteStore(path, **options)
        space = store.space("chat", SystemClock())
        spaces.append(space)
        space.join(OWNER, 1000)
        return space

    return make


def put(space: Space, key: str, record: bytes = b"record", version: int = 1) -> None:
    """
    Claim and write, and give back.
    """
    assert isinstance(space.claim(key, OWNER), Claim)
    one = Entry(key, version, None, record, {}, release=True)
    assert [True] == space.put(OWNER, [one])


def refusal(act: Callable[[], object], *words: str) -> None:
    """
    It fails with a text that names file, state and cure, and no session.
    """
    with pytest.raises(StoreFailed) as caught:
        act()
    text = str(caught.value)
    for word in ("sessions.db", *words):
        assert word in text
    assert ID not in text


# -- options ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"synchronous": "off"}, "synchronous"),
        ({"quota": "10KiB"}, "quota"),
        ({"quota": "much"}, "quota"),
        ({"lease": 0.5}, "lease"),
        ({"lease": "soon"}, "lease"),
        ({"patience": -1}, "patience"),
    ],
)
def test_options_are_checked(options: dict[str, Any], text: str) -> None:
    """
    Each by its name, when the store is made.
    """
    with pytest.raises(ValueError, match=text):
        memguard.SqliteStore("sessions.db", **options)


def test_the_path_is_a_file() -> None:
    """
    A name for memory, a directory and bytes are refused.
    """
    for wrong in (":memory:", "state/"):
        with pytest.raises(ValueError, match="must be a file"):
            memguard.SqliteStore(wrong)
    for nothing in (b"sessions.db", " ", "a\0b"):
        with pytest.raises(TypeError, match="path must be"):
            memguard.SqliteStore(nothing)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_trouble"):
        memguard.SqliteStore("sessions.db", on_trouble=3)  # type: ignore[arg-type]


def test_nothing_is_opened_before_it_is_used(path: Path) -> None:
    """
    Making a store touches no disk; a space of it makes the file, and leaves it empty.
    """
    store = memguard.SqliteStore(path)
    assert not path.parent.exists()
    space = store.space("chat", SystemClock())
    space.close()
    assert 0 == path.stat().st_size
    assert store.persistent
    assert not store.awaits
    assert (15.0, 10.0) == (store.lease_s, store.patience_s)


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A process that changes its directory keeps its sessions.
    """
    monkeypatch.chdir(tmp_path)
    store = memguard.SqliteStore("sessions.db")
    monkeypatch.chdir("/")
    space = store.space("chat", SystemClock())
    space.join(OWNER, 10)
    space.close()
    assert (tmp_path / "sessions.db").exists()


@pytest.mark.parametrize("name", ["50% #1?.db", "a b'c\".db", "ü.db"])
def test_any_name_of_a_file(tmp_path: Path, name: str) -> None:
    """
    What means something in a URI means nothing here.
    """
    space = memguard.SqliteStore(tmp_path / name).space("chat", SystemClock())
    space.join(OWNER, 10)
    assert {name, f"{name}-wal", f"{name}-shm"} == set(os.listdir(tmp_path))
    space.close()


@pytest.mark.parametrize(("level", "number"), [("normal", 1), ("full", 2)])
def test_how_much_is_synchronous(
    make: Callable[..., Any], level: str, number: int
) -> None:
    """
    NORMAL or FULL is what SQLite is told, and a write-ahead log in either case.
    """
    execute = make(synchronous=level)._database._execute
    assert [(number,)] == execute("PRAGMA synchronous").fetchall()
    assert [("wal",)] == execute("PRAGMA journal_mode").fetchall()


# -- the file --------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_for_its_owner_alone(
    path: Path, make: Callable[..., Space], umask: int
) -> None:
    """
    Directory 0700, files 0600, whatever the umask.
    """
    before = os.umask(umask)
    try:
        put(make(), "a")
    finally:
        os.umask(before)
    modes = {
        one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()
    }
    names = ("sessions.db", "sessions.db-wal", "sessions.db-shm")
    assert dict.fromkeys(names, 0o600) == modes
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)


def test_what_others_could_read_is_closed(
    path: Path, make: Callable[..., Space]
) -> None:
    """
    The rights of a file that is there are taken from others.
    """
    path.parent.mkdir()
    path.touch()
    path.chmod(0o666)
    make()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_the_file_of_another_user(
    path: Path, make: Callable[..., Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Is neither read nor written.
    """
    path.parent.mkdir()
    path.touch()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    refusal(make, "another user", "chown")


def test_a_directory_that_everybody_writes_to(
    path: Path, make: Callable[..., Space]
) -> None:
    """
    Is refused, unless only owners can take away what is in it.
    """
    path.parent.mkdir()
    path.parent.chmod(0o777)
    refusal(make, "chmod")
    path.parent.chmod(0o1777)
    make()


def test_what_is_no_file(path: Path, make: Callable[..., Space]) -> None:
    """
    A directory in its place.
    """
    path.mkdir(parents=True)
    refusal(make, "no regular file")


def test_where_the_directory_should_be(path: Path, make: Callable[..., Space]) -> None:
    """
    A file in the place of the directory.
    """
    path.parent.touch()
    refusal(make, "cannot be made", "state_dir")


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
    Says so when a space is made: then there is time to choose another store.
    """
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    sealed = tmp_path / "sealed"
    sealed.mkdir()
    sealed.chmod(0o555)

    def act() -> str:
        found = []
        for path in (sealed / "sessions.db", sealed / "inner" / "sessions.db"):
            try:
                memguard.SqliteStore(path).space("chat", SystemClock())
            except StoreFailed as error:
                found.append(str(error))
        return "\n".join(found)

    lines = as_nobody(act).splitlines()
    assert 2 == len(lines)
    for line in lines:
        assert "sessions.db' cannot be made: Permission denied" in line
        assert "state_dir" in line


def test_a_directory_that_became_read_only(tmp_path: Path) -> None:
    """
    The file can be read by this user and the log not be made: a clear text as well.
    """
    for directory in (tmp_path, *tmp_path.parents[:2]):
        directory.chmod(0o755)
    place = tmp_path / "state"
    place.mkdir()
    path = place / "sessions.db"
    space = memguard.SqliteStore(path).space("chat", SystemClock())
    space.join(OWNER, 10)
    space.close()
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    place.chmod(0o555)
    acts: list[Callable[[], object]] = [
        lambda: space.join(OWNER, 10),
        lambda: memguard.SqliteStore(path).space("chat", SystemClock()),
    ]

    def act() -> str:
        texts = []
        for one in acts:
            try:
                one()
            except StoreFailed as error:
                texts.append(str(error))
        return "\n".join(texts)

    lines = as_nobody(act).splitlines()
    assert 2 == len(lines)
    for line in lines:
        assert "sessions.db'" in line
        assert "state_dir" in line


def test_moved_aside_and_begun_anew(path: Path, make: Callable[..., Space]) -> None:
    """
    What is no database keeps its bytes under another name, and that is said.
    """
    path.parent.mkdir()
    texts: list[str] = []
    for number in range(1, 6):
        bytes_of = b"no database, number %d" % number * 100
        path.write_bytes(bytes_of)
        space = make(on_trouble=texts.append)
        put(space, ID)
        assert [ID] == space.ids()
        space.close()
        assert number == len(texts)
        assert "sessions.db.broken-" in texts[-1]
        assert ID not in texts[-1]
        aside = [one.read_bytes() for one in path.parent.glob("*.broken-?")]
        assert bytes_of in aside
        assert min(number, 3) == len(aside)
        os.remove(path)
    names = {one.name for one in path.parent.iterdir()}
    assert {f"sessions.db.broken-{number}" for number in (1, 2, 3)} == names


def test_a_header_that_was_overwritten(path: Path, make: Callable[..., Space]) -> None:
    """
    Moved aside together with its log, which a new file must not take for its own.
    """
    space = make()
    put(space, "a")
    copies = {one: one.read_bytes() for one in path.parent.iterdir()}
    space.close()
    for one, content in copies.items():
        one.write_bytes(content)
    path.write_bytes(b"\0" * 100 + path.read_bytes()[100:] + b"\1" * 4096)
    (path.parent / "sessions.db-wal").write_bytes(b"\2" * 5000)
    texts: list[str] = []
    space = make(on_trouble=texts.append)
    assert 1 == len(texts)
    assert [] == space.ids()
    put(space, "b")
    assert ["b"] == space.ids()


def test_the_database_of_another_program(
    path: Path, make: Callable[..., Space]
) -> None:
    """
    Is left alone.
    """
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as theirs:
        theirs.execute("CREATE TABLE accounts (name TEXT)")
        theirs.execute("INSERT INTO accounts VALUES ('ada')")
        theirs.commit()
    refusal(make, "another program", "another path")
    with closing(sqlite3.connect(path)) as theirs:
        assert [("ada",)] == theirs.execute("SELECT * FROM accounts").fetchall()


def test_tables_of_a_newer_version(path: Path, make: Callable[..., Space]) -> None:
    """
    Are not guessed at.
    """
    make().close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 9")
    refusal(make, "version 9", "Update memguard")


def test_a_sqlite_that_is_too_old(
    make: Callable[..., Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The version that is needed, and the one that is there.
    """
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StoreFailed, match=r"3\.35"):
        make()


# -- trouble on the way ----------------------------------------------------------------


def test_a_damaged_page(path: Path, make: Callable[..., Space]) -> None:
    """
    Whatever needs it fails with the cure; the other sessions are served.
    """
    space = make()
    keys = [f"{ID} {number}" for number in range(300)]
    for key in keys:
        put(space, key, bytes(1000))
    space.close()
    content = bytearray(path.read_bytes())
    # The last pages are those of the records that were written last.
    for start in range(len(content) - 10 * 4096, len(content) - 4096, 4096):
        content[start : start + 100] = b"\xff" * 100
    path.write_bytes(content)
    space = make()
    outcomes = set()
    for key in keys:
        try:
            claim = space.claim(key, OWNER)
        except StoreFailed:
            refusal(lambda key=key: space.claim(key, OWNER), "damaged", ".recover")
            outcomes.add("failed")
        else:
            assert Claim(1, bytes(1000)) == claim
            space.release(key, OWNER)
            outcomes.add("served")
    assert {"failed", "served"} == outcomes


def test_a_locked_file(
    path: Path, make: Callable[..., Space], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Somebody else's long transaction is waited for, but not for ever.
    """
    for module in (opening, database):
        monkeypatch.setattr(module, "WAIT_S", 0.05)
    space = make()
    with closing(sqlite3.connect(path, isolation_level=None)) as theirs:
        theirs.execute("BEGIN IMMEDIATE")
        refusal(lambda: put(space, ID), "is locked", "0.05 s")
        assert [] == space.ids()
        theirs.execute("ROLLBACK")
    put(space, ID)
    assert [ID] == space.ids()


def test_a_file_that_was_removed(path: Path, make: Callable[..., Space]) -> None:
    """
    Nothing is written to what nobody will find; the next verb begins anew.
    """
    space = make()
    put(space, "a")
    os.remove(path)
    refusal(lambda: put(space, ID), "has been removed", "Stop the service")
    space.join(OWNER, 10)
    put(space, "b")
    assert ["b"] == space.ids()


def test_a_file_that_was_replaced(path: Path, make: Callable[..., Space]) -> None:
    """
    By a backup that somebody put back, say.
    """
    space = make()
    put(space, "old")
    space.close()
    backup = path.read_bytes()
    put(space, "new")
    space.close()
    assert {"old", "new"} == set(space.ids())
    copy = path.with_name("copy")
    copy.write_bytes(backup)
    os.replace(copy, path)
    refusal(lambda: put(space, ID), "has been replaced")
    put(space, "b")
    assert {"old", "b"} == set(space.ids())


def test_the_quota(path: Path, make: Callable[..., Space]) -> None:
    """
    A write that does not fit changes nothing; what is there is served, and room can
    be made.
    """
    space = make(quota="1MiB")
    keys = []

    def fill() -> None:
        for number in range(100):
            key = f"{ID} {number}"
            put(space, key, bytes(20_000))
            keys.append(key)

    refusal(fill, "quota of 1MiB", "Raise")
    assert 40 < len(keys) < 53
    assert keys == space.ids()
    assert Claim(1, bytes(20_000)) == space.claim(keys[0], OWNER)
    large = Entry(keys[0], 2, None, bytes(200_000), {}, release=False)
    refusal(lambda: space.put(OWNER, [large]), "quota")
    assert Claim(1, bytes(20_000)) == space.claim(keys[0], OWNER)
    for key in keys[:10]:
        space.claim(key, OWNER)
        assert space.delete(key, OWNER)
    put(space, "fits", bytes(20_000))
    space.close()
    assert path.stat().st_size <= 1 << 20


def in_a_child(act: Callable[[], None]) -> int:
    """
    The status of a forked process that does it.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            # Without Python's handler: a child that hangs may hang in SQLite.
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)
            act()
            status = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_limit_of_the_size_of_files(path: Path, make: Callable[..., Space]) -> None:
    """
    The operating system refuses to write on: the same, and it goes on afterwards.
    """

    def act() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        space = make()
        put(space, "a")
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        refusal(lambda: put(space, ID, bytes(300_000)), "refused", "ulimit")
        resource.setrlimit(
            resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        assert ["a"] == space.ids()
        put(space, "b", bytes(300_000))
        space.close()

    assert 0 == in_a_child(act)


def test_a_full_disk(small_disk: Path) -> None:
    """
    Nothing that was acknowledged is lost, all of it can be used, and saving goes on
    when there is room.
    """
    space = memguard.SqliteStore(small_disk / "sessions.db").space(
        "chat", SystemClock()
    )
    space.join(OWNER, 1000)
    keys = []

    def fill() -> None:
        for number in range(100):
            key = f"{ID} {number}"
            put(space, key, bytes(20_000))
            keys.append(key)

    refusal(fill, "full", "Make room")
    assert 5 < len(keys)
    assert keys == space.ids()
    for turn in range(300):
        key = keys[turn % len(keys)]
        assert Claim(1, bytes(20_000)) == space.claim(key, OWNER)
        space.release(key, OWNER)
        assert space.beat(OWNER, 1000)
    subprocess.run(["mount", "-o", "remount,size=8m", small_disk], check=True)
    put(space, "after")
    assert [*keys, "after"] == space.ids()
    space.close()


def test_only_so_many_are_put_aside(make: Callable[..., Any]) -> None:
    """
    The newest hundred records that could not be read are kept, with their pages.
    """
    space = make()
    for number in range(105):
        key = f"session {number}"
        space.claim(key, OWNER)
        pages = {("m", 1): b"page"}
        space.put(OWNER, [Entry(key, 7, None, b"torn", pages, release=False)])
        space.quarantine(key, OWNER)
    execute = space._database._execute
    rows = execute("SELECT id, version, record FROM broken ORDER BY number").fetchall()
    assert [(f"session {n}", 7, b"torn") for n in range(5, 105)] == rows
    assert [(100,)] == execute("SELECT count(*) FROM pages").fetchall()


def test_two_guards_with_one_store(path: Path, make: Callable[..., Space]) -> None:
    """
    They share a connection, and learn of each other's wishes all the same.
    """
    store = memguard.SqliteStore(path)
    first, second = (store.space("chat", SystemClock()) for _ in range(2))
    first.join("first", 1000)
    second.join("second", 1000)
    first.claim("a", "first")
    assert [] == first.wanted("first")
    second.claim("a", "second")
    assert ["a"] == first.wanted("first")
    first.close()
    assert ["a"] == first.wanted("first")
    second.close()


def test_an_id_that_is_no_text(make: Callable[..., Space]) -> None:
    """
    Half of a surrogate pair cannot be written; the text does not show it.
    """
    space = make()
    refusal(lambda: space.claim(f"{ID} \ud800", OWNER), "Unicode")
    put(space, "a")


# -- threads and forks -----------------------------------------------------------------


def test_a_destructor_in_the_middle(path: Path) -> None:
    """
    What runs inside of a verb, in its thread, is refused instead of waiting for itself.
    """
    store = memguard.SqliteStore(path)
    found: list[BaseException] = []

    class Clock(FakeClock):
        def time(self) -> float:
            # As if the collector had come here, with a `__del__` that saves.
            if space is not None:
                try:
                    space.read("a")
                except StoreFailed as error:
                    found.append(error)
            return super().time()

    space: Space | None = None
    space = store.space("chat", Clock())
    space.join(OWNER, 10)
    assert Claim(0, None) == space.claim("a", OWNER)
    assert 2 == len(found)
    assert "destructor" in str(found[0])
    space.close()


def test_threads_wait_with_a_deadline(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Whoever has the connection for too long is named; nobody waits for ever.
    """
    monkeypatch.setattr(database, "_TURN_S", 0.05)
    space = make()
    inside, go_on = threading.Event(), threading.Event()

    def work(execute: Any) -> None:
        inside.set()
        go_on.wait(10)

    thread = threading.Thread(target=space._database.ask, args=(work,))
    thread.start()
    inside.wait(10)
    refusal(lambda: space.read("a"), "busy", "other threads")
    go_on.set()
    thread.join(10)
    assert space.read("a") is None


def test_the_parent_closes_while_the_child_goes_on(
    path: Path, make: Callable[..., Space]
) -> None:
    """
    The child's writes are there afterwards. Were the parent's connection open across
    the fork, SQLite would take the child for somebody who has locked the file, and
    whoever is last would put the log away while the child writes to it.
    """
    space = make()
    put(space, "before")
    gates = [os.pipe() for _ in range(2)]
    child = os.fork()
    if not child:
        status = 1
        try:
            mine = f"{identity()}:child"
            space.join(mine, 1000)
            os.write(gates[0][1], b".")
            os.read(gates[1][0], 1)
            for number in range(20):
                space.claim(f"child {number}", mine)
                one = Entry(f"child {number}", 1, None, bytes(2000), {}, release=True)
                assert [True] == space.put(mine, [one])
            status = 0
        finally:
            os._exit(status)  # as if killed: nothing is closed
    os.read(gates[0][0], 1)
    put(space, "during")
    space.close()
    os.write(gates[1][1], b".")
    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    for gate in gates:
        for end in gate:
            os.close(end)
    reader = memguard.SqliteStore(path).space("chat", SystemClock())
    expected = ["before", "during", *(f"child {number}" for number in range(20))]
    assert expected == reader.ids()
    assert [("ok",)] == reader._database._execute("PRAGMA integrity_check").fetchall()  # type: ignore[attr-defined]
    reader.close()


def test_a_fork_in_the_middle_of_a_verb(path: Path) -> None:
    """
    Another thread's verb is waited for; one's own is the child's to leave alone.
    """
    store = memguard.SqliteStore(path)
    statuses: list[int] = []

    class Clock(FakeClock):
        def time(self) -> float:
            if armed:
                armed.clear()
                statuses.append(in_a_child(child))
            return super().time()

    def child() -> None:
        assert space._database._connection is None

    armed: list[bool] = []
    space = store.space("chat", Clock())
    space.join(OWNER, 10)
    armed.append(True)
    assert Claim(0, None) == space.claim("a", OWNER)
    assert [0] == statuses
    space.close()


def test_a_fork_waits_for_the_verbs_of_others(make: Callable[..., Any]) -> None:
    """
    Threads hammer while the process forks: no child hangs, and the file stays whole.
    """
    space = make()
    ended = threading.Event()

    def hammer(name: str) -> None:
        version = 0
        space.claim(name, OWNER)
        while not ended.is_set():
            version += 1
            one = Entry(name, version, None, bytes(500), {}, release=False)
            assert [True] == space.put(OWNER, [one])

    threads = [threading.Thread(target=hammer, args=(f"{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()

    def child() -> None:
        mine = f"{identity()}:{os.getpid()}"
        space.join(mine, 1000)
        space.claim(f"child {os.getpid()}", mine)
        one = Entry(f"child {os.getpid()}", 1, None, b"", {}, release=True)
        assert [True] == space.put(mine, [one])
        space.close()

    try:
        assert [0] * 8 == [in_a_child(child) for _ in range(8)]
    finally:
        ended.set()
        for thread in threads:
            thread.join(10)
    assert 10 == len(space.ids())
    assert [("ok",)] == space._database._execute("PRAGMA integrity_check").fetchall()


def test_a_state_directory_may_be_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    It is made where the process was then, with what is missing above it.
    """
    monkeypatch.chdir(tmp_path)
    with Guard("app", state_dir="state/of/app") as guard:
        chat = guard.sessions("chat")
        with chat.open("ann") as session:
            session.data["n"] = 1
        monkeypatch.chdir("/")
        assert chat.hibernate("ann")
        assert 1 == chat.stats().hibernated
    assert any((tmp_path / "state/of/app").rglob("*.sqlite3"))
