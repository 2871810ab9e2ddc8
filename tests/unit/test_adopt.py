"""
Adopting: handles, places, caps, conflicts, life and end.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from memguard import Guard
from memguard.errors import SpecConflict
from memguard.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    """
    Time that stands still.
    """
    return FakeClock()


@pytest.fixture
def guard(clock: FakeClock) -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=clock)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """
    A module of an application, with a registry.
    """
    made = ModuleType("an_application")
    monkeypatch.setitem(sys.modules, "an_application", made)
    return made


def test_the_same_object_has_one_handle(guard: Guard) -> None:
    """
    Adopting again gives the first handle; another cap is a conflict that says where.
    """

    @functools.lru_cache
    def load(key: int) -> int:
        return key

    handle = guard.adopt(load)
    assert handle is guard.adopt(load)
    assert "cache" == handle.kind
    with pytest.raises(TypeError, match="only measured"):
        guard.adopt(load, max_entries=3)


def test_a_container_is_trimmed_at_its_place(
    guard: Guard, clock: FakeClock, module: ModuleType
) -> None:
    """
    Once a tick the oldest go, also out of a container that came to lie there later.
    """
    module.REGISTRY = {key: str(key) for key in range(50)}  # type: ignore[attr-defined]
    handle = guard.adopt(module, "REGISTRY", max_entries=10)
    with pytest.raises(SpecConflict, match="max_entries"):
        guard.adopt(module, "REGISTRY", max_entries=11)
    with guard:
        clock.advance(1.5)
        assert list(range(40, 50)) == list(module.REGISTRY)
        module.REGISTRY = list(range(30))  # type: ignore[attr-defined]
        clock.advance(1.5)
        assert 10 == handle.info().entries
