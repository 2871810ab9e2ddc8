"""
Messages wait in a bounded buffer until the consumer is ready.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import memguard
from memguard.testing import FakeClock

if TYPE_CHECKING:
    import pytest


def test_the_oldest_make_room_and_the_loss_is_told_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    Of 250 messages the newest 100 wait; two warnings count the 150 that were dropped.
    """
    caplog.set_level(logging.WARNING, "memguard")
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        early = guard.ring("early messages", max_entries=100)
        for number in range(250):
            early.append(number)
        assert 1 == len(caplog.records)
        clock.advance("1m")
        assert 2 == len(caplog.records)
        assert "(150 in all" in caplog.records[-1].getMessage()
        assert list(range(150, 250)) == early.drain()
        assert (0, 150) == (len(early), early.info().dropped)


def test_what_was_read_is_no_loss(caplog: pytest.LogCaptureFixture) -> None:
    """
    A consumer that keeps up is never warned about.
    """
    caplog.set_level(logging.WARNING, "memguard")
    with memguard.Guard(clock=FakeClock()) as guard:
        messages = guard.ring("messages", max_entries=100)
        for number in range(1000):
            messages.append(number)
            messages.recent(1)
    assert [] == caplog.records
