"""
Adopted sockets: listening ones are closed first, all of them once.
"""

from __future__ import annotations

import os
import socket
import warnings

import pytest

from memguard import Guard
from memguard.errors import MemguardResourceWarning


class Line(socket.socket):
    """
    A subclass of an application's.
    """


@pytest.mark.parametrize("kind", [socket.socket, Line])
def test_it_is_told_open_until_it_is_closed(kind: type[socket.socket]) -> None:
    """
    With its family and its type, by name.
    """
    sock = kind(socket.AF_INET, socket.SOCK_DGRAM)
    handle = Guard().adopt(sock)
    info = handle.info()
    assert ("socket", 1) == (info.kind, info.entries)
    assert {"family": "AF_INET", "type": "SOCK_DGRAM", "listens": False} == info.details
    sock.close()
    assert 0 == handle.info().entries
    assert not handle.is_open()


def test_one_that_listens_is_closed_before_the_others() -> None:
    """
    Nobody comes in any more while connections are still served.
    """
    with Guard() as guard:
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        for sock in (client, accepted, server):
            guard.adopt(sock)
        assert guard.adopt(server).info().details["listens"]
        report = guard.shutdown()
    assert report.clean, report
    assert ["stop_intake", "clients", "clients"] == [
        str(row.phase) for row in report.resources
    ]
    assert [-1, -1, -1] == [one.fileno() for one in (server, client, accepted)]


def test_one_that_is_collected_unclosed_is_told() -> None:
    """
    With the place of its adoption, besides what the interpreter says.
    """
    guard = Guard()
    sock = socket.socket()
    guard.adopt(sock)
    with warnings.catch_warnings():
        # A recorded warning would keep the socket.
        warnings.simplefilter("ignore", ResourceWarning)
        del sock
    with pytest.warns(MemguardResourceWarning, match="test_adopt_sockets"):
        assert 0 == guard.snapshot().count("socket")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_closes_nothing() -> None:
    """
    A shutdown of the socket in the child would end the parent's connection.
    """
    one, other = socket.socketpair()
    with Guard() as guard, one, other:
        guard.adopt(one)
        pid = os.fork()
        if not pid:
            guard.shutdown()
            os._exit(int(one.fileno() == -1))
        assert 0 == os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        other.sendall(b"still there")
        assert b"still there" == one.recv(20)


def test_it_takes_no_cap() -> None:
    """
    The sentence says what bounds a socket.
    """
    with socket.socket() as sock:
        handle = Guard().adopt(sock)
        with pytest.raises(TypeError, match="SO_RCVBUF"):
            handle.resize(max_bytes=1)
