"""
The resource interface: close, memory_bytes, force_close.
"""

from __future__ import annotations

import threading

import pytest

import memguard


class Buffer:
    """
    A class of an application; it knows nothing of memguard.
    """

    def __init__(self, way: str) -> None:
        self.way = way
        self.calls: list[str] = []
        self.let_go = threading.Event()

    def close(self) -> None:
        self.calls.append("close")
        if self.way == "raises":
            raise ConnectionError
        if self.way == "hangs":
            self.let_go.wait(10)

    def memory_bytes(self) -> int:
        return 4096

    def force_close(self) -> None:
        self.calls.append("force_close")
        self.let_go.set()


def test_any_class_can_take_part() -> None:
    """
    It is the protocol by its methods alone, and its bytes are in the snapshot.
    """
    buffer = Buffer("closes")
    assert isinstance(buffer, memguard.ManagedResource)
    with memguard.Guard() as guard:
        guard.register(buffer)
        (node,) = guard.snapshot().nodes
        assert 4096 == node.bytes_held
    assert ["close"] == buffer.calls


@pytest.mark.parametrize("way", ["raises", "hangs"])
def test_force_close_is_for_what_does_not_close(way: str) -> None:
    """
    A close that raises, or that outlives its time, is followed by force_close, once.
    """
    guard = memguard.Guard().start()
    buffer = guard.register(Buffer(way), timeout="50ms")
    report = guard.shutdown()
    assert ["close", "force_close"] == buffer.calls
    (row,) = report.resources
    assert ("forced", 4096) == (row.outcome, row.bytes_held)
    assert report.clean
