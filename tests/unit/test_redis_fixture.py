"""
The Redis server of the tests: real, restartable, and never silently missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis
from tests import _redis

if TYPE_CHECKING:
    from pathlib import Path

    from tests._redis import RedisServer


def test_it_answers_on_both_doors_and_after_a_restart(
    redis_server: RedisServer,
) -> None:
    """
    On its socket and on its port, which stays the same.
    """
    with redis.Redis(unix_socket_path=redis_server.path) as by_path:
        assert by_path.set("key", "value")
    port = redis_server.port
    redis_server.kill()
    redis_server.start()
    assert port == redis_server.port
    with redis.Redis(port=port) as by_port:
        assert by_port.get("key") is None


def test_what_a_durable_one_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    """
    As the tests of leases need it.
    """
    server = _redis.RedisServer(tmp_path, *_redis.DURABLE).start()
    try:
        with redis.Redis(port=server.port) as client:
            assert client.set("key", "value")
            server.kill()
            server.start()
            assert b"value" == client.get("key")
    finally:
        server.kill()


@pytest.mark.parametrize(
    ("environment", "outcome"),
    [({"CI": "true"}, pytest.fail.Exception), ({"CI": ""}, pytest.skip.Exception)],
    ids=["in CI it fails", "elsewhere it is skipped aloud"],
)
def test_a_missing_binary_is_told(
    environment: dict[str, str],
    outcome: type[BaseException],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Never a silent pass.
    """
    monkeypatch.setattr(_redis, "BINARIES", ("no-such-server",))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(outcome, match="no-such-server is installed"):
        _redis.binary()
