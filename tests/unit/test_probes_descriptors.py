from __future__ import annotations

import os
import select
import socket
import tempfile
from pathlib import Path

import pytest

from memguard._probes.descriptors import Descriptor, count, describe, descriptors
from memguard._probes.files import FileEntry, deleted_files, temp_entries
from memguard._probes.procfs import ProcessProbe, held
from memguard._probes.readings import Count

TARGETS = [
    ("socket:[123]", "socket", "socket", 123),
    ("pipe:[45]", "pipe", "pipe", 45),
    ("anon_inode:[eventfd]", "eventfd", "eventfd", None),
    ("anon_inode:[eventpoll]", "epoll", "eventpoll", None),
    ("anon_inode:[timerfd]", "anon", "timerfd", None),
    ("anon_inode:inotify", "anon", "inotify", None),
    ("net:[4026531840]", "other", "net", 4026531840),
    ("what:ever", "other", "what", None),
    ("/memfd:secret (deleted)", "memfd", "memfd", None),
    ("/dev/pts/3", "pty", "terminal", None),
    ("/dev/ptmx", "pty", "terminal", None),
    ("/dev/null", "other", "/dev/null", None),
    ("/dev/shm/sem.alice", "file", "/dev/.../*", None),
    ("/var/lib/tenants/acme.db", "file", "/var/.../*.db", None),
    ("/tmp/x9k.tmp (deleted)", "file", "/tmp/*.tmp (deleted)", None),
    ("/home/alice/letter.for-bob", "file", "/home/.../*", None),
    ("/srv/db", "file", "/srv/*", None),
    ("/swapfile", "file", "/*", None),
    ("/", "file", "/*", None),
]


@pytest.mark.parametrize(("target", "kind", "shown", "inode"), TARGETS)
def test_a_target_has_a_type_and_a_class(
    target: str, kind: str, shown: str, inode: int | None
) -> None:
    """
    What reports show holds no name that a user may have chosen.
    """
    found = describe(7, target)
    assert (7, kind, shown, inode) == (
        found.fd,
        found.type,
        found.target_class,
        found.inode,
    )
    assert target == found.target
    for name in ("secret", "alice", "acme", "bob", "x9k"):
        assert name not in repr(found)


def test_every_kind_of_open_descriptor_is_recognised(tmp_path: Path) -> None:
    """
    Real ones, opened here and gone after they were closed.
    """
    before = descriptors()
    assert before is not None
    left, right = socket.socketpair()
    pipe = os.pipe()
    poll = select.epoll()
    file = os.open(tmp_path / "a.log", os.O_CREAT | os.O_RDWR)
    memory = os.memfd_create("m")
    master, slave = os.openpty()
    opened = [left.detach(), right.detach(), *pipe, file, memory, master, slave]
    try:
        after = descriptors()
        assert after is not None
        new = sorted(after[number].type for number in set(after) - set(before))
        expected = ["epoll", "file", "memfd", "pipe", "pipe", "pty", "pty"]
        assert [*expected, "socket", "socket"] == new
    finally:
        poll.close()
        for number in opened:
            os.close(number)
    assert before == descriptors()


def test_a_number_used_again_is_another_descriptor() -> None:
    """
    Two pipes on the same number differ by their inode.
    """
    first = os.pipe()
    before = descriptors() or {}
    for number in first:
        os.close(number)
    second = os.pipe()
    after = descriptors() or {}
    for number in second:
        os.close(number)
    assert first == second
    assert before[first[0]] != after[first[0]]
    assert before[first[0]].inode != after[first[0]].inode


def test_what_probes_hold_is_nobodys_leak() -> None:
    """
    The listing itself and the open statm file are left out; the count counts them.
    """
    before = descriptors()
    counted = count().value
    probe = ProcessProbe()
    probe.memory()
    assert before == descriptors()
    assert counted is not None
    assert counted + 1 == count().value
    probe.close()


def test_the_count_is_the_length_of_the_listing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    By both ways of counting, and its source says which it was.
    """
    listed = len(descriptors() or {})
    found = count()
    monkeypatch.setattr("memguard._probes.descriptors._release", lambda: (5, 15))
    assert Count(found.value, "listing") == count()
    assert found.value is not None
    # Probes of guards that nobody has collected yet are in the number alone.
    assert listed <= found.value <= listed + len(held)


def test_listing_works_on_a_tree_of_links(tmp_path: Path) -> None:
    """
    The root is an argument.
    """
    directory = tmp_path / "proc/self/fd"
    directory.mkdir(parents=True)
    for number, target in enumerate(("/dev/null", "socket:[9]")):
        (directory / str(number)).symlink_to(target)
    assert {
        0: Descriptor(0, "other", "/dev/null", None, "/dev/null"),
        1: Descriptor(1, "socket", "socket", 9, "socket:[9]"),
    } == descriptors(str(tmp_path))
    assert Count(2, "listing") == count(str(tmp_path))


def test_without_proc_nobody_can_tell(tmp_path: Path) -> None:
    """
    None, which is not the same as no descriptor.
    """
    assert descriptors(str(tmp_path)) is None
    assert deleted_files(str(tmp_path)) is None
    assert Count(None, "unavailable") == count(str(tmp_path))


def test_an_open_file_without_a_name_is_found(tmp_path: Path) -> None:
    """
    It holds its space until it is closed, and no listing shows it.
    """
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        numbers = [one.fd for one in deleted_files() or ()]
        assert file.fileno() in numbers
    assert [] == list(tmp_path.iterdir())


def test_files_below_a_directory_are_listed(tmp_path: Path) -> None:
    """
    By prefix, with sizes, in sub-directories too, and no link is followed.
    """
    (tmp_path / "sub").mkdir()
    (tmp_path / "spill-1").write_bytes(b"123")
    (tmp_path / "sub/spill-2").write_bytes(b"")
    (tmp_path / "other").write_bytes(b"1")
    (tmp_path / "spill-loop").symlink_to(tmp_path, target_is_directory=True)
    found = temp_entries(str(tmp_path), "spill-")
    assert found is not None
    names = ["spill-1", "spill-loop", "sub/spill-2"]
    assert names == [entry.path for entry in found]
    assert FileEntry("spill-1", 3) == found[0]
    assert 4 == len(temp_entries(str(tmp_path)) or ())
    assert 2 == len(temp_entries(str(tmp_path), limit=2) or ())


def test_a_directory_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """
    An unreadable one is another matter: then nobody can tell.
    """
    assert [] == temp_entries(str(tmp_path / "none"))
    (tmp_path / "file").touch()
    assert temp_entries(str(tmp_path / "file")) is None
