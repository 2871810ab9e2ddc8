"""
What a process holds at one moment, kept as numbers, names and weak references.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from memguard import Guard, Listener
from memguard._lifecycle import inventory
from memguard._lifecycle.inventory import (
    Identities,
    Inventory,
    local_address,
    tasks_of,
    timers_of,
)
from memguard._registry import live_registries


class Equal:
    """
    Equal to everything, and not to be hashed: user code that must not run.
    """

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise AssertionError


def test_identities_compare_nothing_and_keep_nothing() -> None:
    """
    The same object is in, an equal one is not, and a dead one is gone.
    """
    one, other = Equal(), Equal()
    found = Identities([one])
    seen = weakref.ref(one)

    assert one in found
    assert other not in found
    assert 3 not in found
    assert 1 == len(found)
    del one
    gc.collect()
    assert seen() is None


def test_figures_of_this_process() -> None:
    """
    Each kind is counted, and nothing is unseen on Linux.
    """
    child = subprocess.Popen(["sleep", "20"])
    now = Inventory(None)
    child.kill()
    child.wait()

    assert () == now.unseen
    assert now.counts["process"] == len(now.children) >= 1
    assert child.pid in now.children
    assert threading.main_thread() in now.threads
    assert threading.get_ident() in now.idents
    assert now.counts["thread"] >= 1
    assert len(now.fds) == now.counts["fd"] > 2
    assert 0 == now.counts["task"] == now.counts["timer"]


def test_tasks_and_timers_of_a_loop() -> None:
    """
    Those that are still to come, and none of a loop that is closed.
    """

    async def main() -> Any:
        loop = asyncio.get_running_loop()
        assert {asyncio.current_task()} == set(tasks_of(loop))
        assert [] == timers_of(loop)
        later = loop.call_later(20, print)
        gone = loop.call_later(20, print)
        gone.cancel()
        task = loop.create_task(asyncio.sleep(20))
        assert [later] == timers_of(loop)
        assert task in Inventory(loop).tasks
        assert later in Inventory(loop).timers
        assert gone not in Inventory(loop).timers
        task.cancel()
        later.cancel()
        return loop

    loop = asyncio.run(main())
    assert [] == tasks_of(loop) == tasks_of(None)
    assert [] == timers_of(None)


def test_doors_are_the_addresses_somebody_listens_at(tmp_path: Path) -> None:
    """
    Ports and paths of listening sockets; a socket that does not listen has none.
    """
    path = str(tmp_path / "door")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as local,
        socket.socket() as quiet,
    ):
        local.bind(path)
        local.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            with accepted:
                doors = Inventory(None, doors=True).doors
                assert {port, path} <= doors
                assert port == local_address(accepted.fileno())
                assert local_address(accepted.fileno(), listening=True) is None
                assert client.getsockname()[1] not in doors
        assert frozenset() == Inventory(None).doors
        assert not local_address(quiet.fileno())


def test_an_address_of_what_is_no_socket_leaks_no_descriptor(tmp_path: Path) -> None:
    """
    The copy that is made to look is closed in every case.
    """
    with open(tmp_path / "file", "w") as file:
        before = len(os.listdir("/proc/self/fd"))
        assert local_address(file.fileno()) is None
        assert local_address(file.fileno(), listening=True) is None
        assert before == len(os.listdir("/proc/self/fd"))
    assert local_address(file.fileno() if not file.closed else 10**6) is None


def test_other_guards_are_noted_with_their_latest_node() -> None:
    """
    Later listeners are told from earlier ones by their number.
    """
    guard = Guard()
    bus = guard.emitter("bus")
    bus.on("event", print)
    number, live = Inventory(None).listeners[guard.registry]
    bus.on("event", len)
    first, second = sorted(
        one.seq
        for one in gc.get_objects()
        if type(one) is Listener and one.registry is guard.registry
    )

    assert 1 == live
    assert first < number < second
    assert guard.registry in live_registries()


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        ("descriptors", "descriptors"),
        ("native_threads", "native threads"),
        ("children", "children"),
    ],
)
def test_what_the_system_does_not_tell(
    monkeypatch: pytest.MonkeyPatch, reader: str, told: str
) -> None:
    """
    Is empty, named, and no error.
    """
    monkeypatch.setattr(inventory, reader, lambda: None)
    now = Inventory(None, doors=True)

    assert (told,) == now.unseen
    assert now.counts["thread"] >= 1


def test_an_inventory_keeps_no_object_alive() -> None:
    """
    A thread, a task and a scheduled call can go while it is remembered.
    """

    async def main() -> tuple[Inventory, list[weakref.ref[Any]]]:
        loop = asyncio.get_running_loop()
        over = threading.Event()
        thread = threading.Thread(target=over.wait, args=(20,))
        thread.start()
        task = loop.create_task(asyncio.sleep(20))
        handle = loop.call_later(20, print)
        now = Inventory(loop)
        seen = [weakref.ref(one) for one in (thread, task, handle)]
        assert thread in now.threads
        over.set()
        thread.join(5)
        task.cancel()
        handle.cancel()
        return now, seen

    now, seen = asyncio.run(main())
    gc.collect()

    assert [None, None, None] == [one() for one in seen]
    assert now.counts["thread"] >= 2
