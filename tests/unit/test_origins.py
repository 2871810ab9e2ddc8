"""
Where things were made: noted while somebody listens, bounded, and never in the way.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memguard._lifecycle import origins as module
from memguard._lifecycle.origins import Origins, origins
from memguard._lifecycle.tempfiles import TempFiles

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    """
    Somebody listens, so that places are noted.
    """
    one = TempFiles()
    one.start()
    yield
    one.stop()


def place(what: str, key: str | int) -> str:
    """
    The place as reports tell it.
    """
    return str(origins.made_at(what, key))


@pytest.mark.parametrize("how", ["text", "bytes", "path", "relative"])
def test_files_by_their_path(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    However the path was given.
    """
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "data.txt"
    given: str | bytes | Path = {
        "text": str(path),
        "bytes": os.fsencode(path),
        "path": path,
        "relative": "data.txt",
    }[how]
    os.close(os.open(given, os.O_CREAT))

    assert "test_origins.py" in place("file", str(path))
    assert how in ("path", "text", "bytes", "relative")


def test_modules_are_not_noted() -> None:
    """
    The import system closes what it opens.
    """
    with open(__file__):
        assert "None" == place("file", __file__)


def test_a_path_only_user_code_can_tell_is_left_alone(tmp_path: Path) -> None:
    """
    No method of an application's class is called in the hook.
    """
    asked = []

    class Named:
        def __fspath__(self) -> str:
            asked.append(1)
            return str(tmp_path / "x")

    with open(Named(), "w"):
        pass

    assert [1] == asked


def test_sockets_by_identity() -> None:
    """
    Also those that were accepted.
    """
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            for one in (server, client, accepted):
                assert "test_origins.py" in place("socket", id(one))


def test_what_a_loop_accepts_was_made_by_nobody() -> None:
    """
    Whoever runs the loop has nothing to do with it.
    """

    async def main() -> None:
        accepted: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sock = writer.get_extra_info("socket")
            accepted.set_result(place("socket", id(sock._sock)))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert "None" == await accepted
        writer.close()
        server.close()

    asyncio.run(main())


def test_threads_by_identity() -> None:
    """
    The line that started them; CPython announces it from 3.12 on.
    """
    over = threading.Event()
    thread = threading.Thread(target=over.wait, args=(20,))
    thread.start()
    over.set()
    thread.join(5)

    known = place("thread", id(thread))
    assert (sys.version_info >= (3, 12)) == ("test_origins.py" in known)


def test_programs_by_name_unless_two_places_start_them() -> None:
    """
    A child is known by the name of its program only.
    """
    for _ in range(2):
        subprocess.run(["true"], check=True)
    assert "test_origins.py" in place("program", "true")
    subprocess.run(["true"], check=True)
    assert "None" == place("program", "true")


def test_databases_by_connection(tmp_path: Path) -> None:
    """
    The file of a connection, and the place of a file.
    """
    path = tmp_path / "data.db"
    first = sqlite3.connect(path)
    second = sqlite3.connect(f"file:{path}?mode=rw", uri=True)

    assert (
        str(path) == origins.database_of(id(first)) == origins.database_of(id(second))
    )
    assert "test_origins.py" in place("file", str(path))
    first.close()
    second.close()


def test_what_is_old_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    A bounded number of places is known, the latest ones.
    """
    monkeypatch.setattr(module, "_KEPT", 4)
    paths = [str(tmp_path / str(number)) for number in range(20)]
    for path in paths:
        os.close(os.open(path, os.O_CREAT))

    known = [path for path in paths if origins.made_at("file", path)]
    assert paths[-len(known) :] == known
    assert 4 <= len(known) <= 8


def test_a_new_beginning_forgets(tmp_path: Path) -> None:
    """
    Places of an earlier time say nothing about later things.
    """
    first, second = TempFiles(), TempFiles()
    fresh = Origins()
    fresh.hear(first)
    fresh._file((str(tmp_path / "a"),))
    fresh.hear(second)
    assert fresh.made_at("file", str(tmp_path / "a"))
    fresh.unhear(first)
    fresh.unhear(second)
    assert fresh.made_at("file", str(tmp_path / "a"))
    fresh.hear(first)
    assert fresh.made_at("file", str(tmp_path / "a")) is None
    fresh.unhear(first)
