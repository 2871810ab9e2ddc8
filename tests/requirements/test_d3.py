"""
A tenant's configuration is cached for five minutes, and forgotten when it changes.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import memguard
from memguard.testing import FakeClock

CONFIGS = {"acme": {"plan": "basic"}, "initech": {"plan": "free"}}


def cached_loader(guard: memguard.Guard, **options: Any) -> tuple[Any, list[str]]:
    """
    A cached function that looks tenants up, and the list of what it has loaded.
    """
    loads: list[str] = []

    @guard.cached(max_entries=1000, max_bytes="16MiB", ttl="5m", **options)
    def tenant_config(tenant: str) -> dict[str, str] | None:
        loads.append(tenant)
        if tenant == "broken":
            raise ConnectionError
        return CONFIGS.get(tenant)

    return tenant_config, loads


def test_for_five_minutes() -> None:
    """
    Loaded once in that time; then it is gone, asked for or not.
    """
    clock = FakeClock()
    with memguard.Guard(clock=clock) as guard:
        tenant_config, loads = cached_loader(guard)
        assert tenant_config("acme") is tenant_config("acme")
        clock.advance("4m59s")
        tenant_config("acme")
        assert ["acme"] == loads
        clock.advance("1s")
        assert 0 == tenant_config.info().entries
        tenant_config("acme")
        assert ["acme", "acme"] == loads


def test_one_tenant_or_all_are_forgotten() -> None:
    """
    `invalidate` takes the arguments of the call, `clear` takes none.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        tenant_config, loads = cached_loader(guard)
        for tenant in ("acme", "initech"):
            tenant_config(tenant)
        assert (True, False) == (
            tenant_config.invalidate("acme"),
            tenant_config.invalidate("nobody"),
        )
        for tenant in ("acme", "initech"):
            tenant_config(tenant)
        assert ["acme", "initech", "acme"] == loads
        tenant_config.clear()
        tenant_config("initech")
        assert ["acme", "initech", "acme", "initech"] == loads


def test_what_is_not_there_is_not_stored_unless_asked() -> None:
    """
    A tenant that is created a second later is found; errors are never stored.
    """
    with memguard.Guard(clock=FakeClock()) as guard:
        tenant_config, loads = cached_loader(guard)
        assert [None, None] == [tenant_config("new"), tenant_config("new")]
        assert ["new", "new"] == loads
        for _ in range(2):
            with pytest.raises(ConnectionError):
                tenant_config("broken")
        assert 0 == tenant_config.info().entries
        keeping, loads = cached_loader(guard, store=lambda value: True, name="keeping")
        assert [None, None] == [keeping("new"), keeping("new")]
        assert ["new"] == loads


def test_threads_that_want_the_same_tenant_load_it_once() -> None:
    """
    Eight come at once; one loads, the others wait for it.
    """
    loads: list[str] = []
    inside, done = threading.Event(), threading.Event()
    found: list[Any] = []
    with memguard.Guard() as guard:

        @guard.cached(ttl="5m")
        def tenant_config(tenant: str) -> object:
            loads.append(tenant)
            inside.set()
            assert done.wait(10)
            return object()

        threads = [
            threading.Thread(target=lambda: found.append(tenant_config("acme")))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        assert inside.wait(10)
        done.set()
        for thread in threads:
            thread.join(10)
    assert (1, 8, 1) == (len(loads), len(found), len(set(map(id, found))))


def test_tasks_that_want_the_same_tenant_load_it_once() -> None:
    """
    The same with `async def`.
    """
    loads: list[str] = []

    async def main() -> list[object]:
        async with memguard.Guard() as guard:

            @guard.cached(ttl="5m")
            async def tenant_config(tenant: str) -> object:
                loads.append(tenant)
                await asyncio.sleep(0)
                return object()

            return await asyncio.gather(*(tenant_config("acme") for _ in range(50)))

    found = asyncio.run(main())
    assert (1, 1) == (len(loads), len(set(map(id, found))))
