"""
One handler for each signal in the whole process, whatever is installed how often.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest

import memguard
from memguard import _default


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """
    What a host's own handler of SIGTERM, put up before memguard's, is called with.
    """
    _default.reset_default()
    numbers: list[int] = []

    def of_the_host(number: int, frame: Any) -> None:
        numbers.append(number)

    before = signal.signal(signal.SIGTERM, of_the_host)
    yield numbers
    _default.reset_default()
    assert of_the_host is signal.signal(signal.SIGTERM, before)


def test_installing_again_adds_nothing_and_the_previous_handler_is_called(
    heard: list[int],
) -> None:
    """
    21 times installed: one handler, and the host's is called once for each signal.
    """
    guard = memguard.install()
    ours = signal.getsignal(signal.SIGTERM)
    for _ in range(20):
        assert guard is memguard.install()
    assert ours is signal.getsignal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert [signal.SIGTERM] == heard


def test_uninstalling_puts_the_previous_handler_back(heard: list[int]) -> None:
    """
    Install and uninstall, as test suites do, fifty times: nothing piles up.
    """
    before = signal.getsignal(signal.SIGTERM)
    for _ in range(50):
        with memguard.install():
            assert before is not signal.getsignal(signal.SIGTERM)
        assert before is signal.getsignal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)
    assert [signal.SIGTERM] == heard


@pytest.mark.usefixtures("heard")
def test_interrupts_are_not_hooked_unless_asked_for() -> None:
    """
    Ctrl-C stays Python's.
    """
    before = signal.getsignal(signal.SIGINT)
    with memguard.install():
        assert before is signal.getsignal(signal.SIGINT)
