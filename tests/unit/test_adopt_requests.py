"""
Adopted `requests.Session`s: the connections in their pools.
"""

from __future__ import annotations

import gc
import threading
import weakref
from typing import TYPE_CHECKING

import pytest
import requests
from requests.adapters import HTTPAdapter

from memguard import Guard

if TYPE_CHECKING:
    from tests._http import HttpServer

WITHIN = 5.0


class Api(requests.Session):
    """
    A subclass of an application's.
    """


@pytest.mark.parametrize("kind", [requests.Session, Api])
def test_connections_move_with_use(
    kind: type[requests.Session], http_server: HttpServer
) -> None:
    """
    In use while a request is on its way, idle after it.
    """
    with kind() as session:
        handle = Guard().adopt(session)
        assert ("client", 0) == (handle.kind, handle.info().entries)
        session.get(http_server.url, timeout=WITHIN)
        info = handle.info()
        assert 1 == info.entries
        assert {"in_use": 0, "idle": 1, "hosts": 1} == info.details
        threads = [
            threading.Thread(
                target=lambda: session.get(f"{http_server.url}/hold", timeout=WITHIN)
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        http_server.wait_for(held=2)
        info = handle.info()
        assert 2 == info.entries == http_server.open
        assert {"in_use": 2, "idle": 0, "hosts": 1} == info.details
        http_server.release()
        for thread in threads:
            thread.join(WITHIN)
        assert {"in_use": 0, "idle": 2, "hosts": 1} == handle.info().details
    assert 0 == handle.info().entries
    http_server.wait_for(open=0)


def test_looking_leaves_the_order_of_the_pools_alone(http_server: HttpServer) -> None:
    """
    Of many hosts the least recently used pool goes: reading must not count as use.
    """
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_connections=2))
        handle = Guard().adopt(session)
        hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
        by_host = [f"http://{host}:{http_server.port}" for host in hosts]
        session.get(by_host[0], timeout=WITHIN)
        adapter = session.get_adapter(by_host[0])
        pools = adapter.poolmanager.pools  # type: ignore[attr-defined]
        before = list(pools._container)
        assert 1 == handle.info().details["hosts"]
        assert before == list(pools._container)


def test_a_shutdown_closes_what_is_idle(http_server: HttpServer) -> None:
    """
    The server sees them go, and the audit is clean.
    """
    with Guard() as guard:
        session = requests.Session()
        handle = guard.adopt(session)
        session.get(http_server.url, timeout=WITHIN)
        assert handle.is_open()
        report = guard.shutdown()
    assert report.clean, report
    http_server.wait_for(open=0)


def test_its_bound_is_told_where_it_keeps_to_one() -> None:
    """
    A pool that does not block makes more connections than its size.
    """
    with requests.Session() as session:
        handle = Guard().adopt(session)
        assert handle.info().limit is None
        for prefix in ("http://", "https://"):
            blocks = HTTPAdapter(pool_maxsize=3, pool_connections=2, pool_block=True)
            session.mount(prefix, blocks)
        assert 12 == handle.info().limit


def test_an_adapter_of_another_kind_has_no_pool() -> None:
    """
    Nothing to count, nothing to fail at.
    """

    class Local(requests.adapters.BaseAdapter):
        def close(self) -> None:
            pass

    with requests.Session() as session:
        session.adapters.clear()
        session.mount("local://", Local())
        assert 0 == Guard().adopt(session).info().entries


def test_a_cap_is_refused_with_the_way_to_have_one() -> None:
    """
    The sentence names the argument that makes a pool keep to its size.
    """
    with requests.Session() as session:
        handle = Guard().adopt(session)
        with pytest.raises(TypeError, match="pool_block=True"):
            handle.resize(max_connections=3)
        assert "pool_block=True" in handle.info().cannot


def test_one_that_is_gone_vanishes() -> None:
    """
    urllib3 closes the pools of a session that is collected: no fault.
    """
    guard = Guard()
    session = requests.Session()
    guard.adopt(session)
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None
    assert 0 == guard.snapshot().count("client")
