"""
Which sockets are those of exporters.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from socket import socket, socketpair
from types import SimpleNamespace
from typing import Any
from weakref import ref

import pytest

from memguard._telemetry.connections import held_by_exporters


@pytest.fixture
def pair() -> Iterator[tuple[socket, socket]]:
    """
    Two sockets, closed afterwards.
    """
    first, second = socketpair()
    yield first, second
    first.close()
    second.close()


def test_what_a_provider_reaches_is_held(pair: tuple[socket, socket]) -> None:
    """
    Through objects, containers and slots, cycles included.
    """

    class Session:
        __slots__ = ("pools",)

    session = Session()
    session.pools = {"host": [SimpleNamespace(sock=pair[0])]}
    provider = SimpleNamespace(exporter=SimpleNamespace(session=session))
    provider.exporter.provider = provider
    assert held_by_exporters(provider) >= {pair[0].fileno()}
    assert pair[1].fileno() not in held_by_exporters(provider)


def test_functions_and_weak_references_lead_nowhere(
    pair: tuple[socket, socket],
) -> None:
    """
    Callbacks of the application are not the exporter's.
    """

    def callback() -> Any:
        return pair

    provider = SimpleNamespace(callbacks=[callback, partial(print, pair), ref(pair[0])])
    assert not held_by_exporters(provider) & {one.fileno() for one in pair}


def test_a_request_under_way_is_in_the_hands_of_a_thread(
    pair: tuple[socket, socket],
) -> None:
    """
    While an exporter waits for an answer its connection is a variable of its call;
    variables of the callers are not looked at.
    """
    code = """
def export(sock, wait):
    request(SimpleNamespace(sock=sock), wait)

def request(connection, wait):
    inside.set()
    wait(10)
"""
    space: dict[str, Any] = {
        "SimpleNamespace": SimpleNamespace,
        "inside": threading.Event(),
    }
    exec(compile(code, "/lib/opentelemetry/exporter/some/__init__.py", "exec"), space)
    go_on = threading.Event()

    def application() -> None:
        mine = pair[1]
        space["export"](pair[0], go_on.wait)
        assert mine

    thread = threading.Thread(target=application)
    thread.start()
    assert space["inside"].wait(5)
    held = held_by_exporters(None)
    go_on.set()
    thread.join()
    assert pair[0].fileno() in held
    assert pair[1].fileno() not in held
    assert pair[0].fileno() not in held_by_exporters(None)
