"""
Cold storage for old conversations, Redis for several instances, pagination.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis

import memguard
from memguard.testing import FakeClock

if TYPE_CHECKING:
    from tests._redis import RedisServer


def talk(session: memguard.Session, *texts: str) -> None:
    """
    Some more messages.
    """
    session.ring("messages", of=str, max_entries=1000).extend(texts)


def test_expired_conversations_go_to_a_file_of_json_lines(tmp_path: Path) -> None:
    """
    Live ones and those that slept, whole, before anything of them is deleted.
    """
    clock = FakeClock()
    cold = tmp_path / "cold.jsonl"
    with memguard.Guard(clock=clock, state_dir=tmp_path) as guard:
        chat = guard.sessions("chat", ttl="1h", archive=cold)
        for user in ("ann", "ben"):
            with chat.open(user) as session:
                session.data["plan"] = "free"
                talk(session, "hello", f"I am {user}")
        clock.advance("59m")
        assert not cold.exists()
        with chat.open("ben"):  # is used, and lives on
            pass
        clock.advance("2m")
        assert ("ben",) == chat.ids()
        (ann,) = lines_of(cold)
        assert ("chat", "ann") == (ann["sessions"], ann["id"])
        assert {"plan": "free"} == ann["data"]
        assert "I am ann" in json.dumps(ann["rings"])
        clock.advance("1h")
        assert ["ann", "ben"] == [one["id"] for one in lines_of(cold)]
        assert 0 == len(chat)


def lines_of(path: Path) -> list[dict[str, Any]]:
    """
    The records of a file of JSON lines.
    """
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_several_instances_share_conversations_in_redis(
    redis_server: RedisServer,
) -> None:
    """
    Whichever instance is asked goes on where the other one was.
    """
    clients = [redis.Redis(port=redis_server.port) for _ in range(2)]
    guards = [memguard.Guard() for _ in range(2)]
    try:
        instances = [
            guard.sessions("chat", store=memguard.RedisStore(client))
            for guard, client in zip(guards, clients, strict=True)
        ]
        for number in range(6):
            with instances[number % 2].open("ann", durable=True) as session:
                talk(session, f"message {number}")
        messages = instances[0].page("ann", "messages", n=100)
        assert [f"message {number}" for number in range(6)] == list(messages)
    finally:
        for guard, client in zip(guards, clients, strict=True):
            guard.shutdown()
            client.close()


def test_old_conversations_are_read_in_pages(tmp_path: Path) -> None:
    """
    A hundred messages at a time, newest page first, without waking the session up.
    """
    with memguard.Guard(state_dir=tmp_path) as guard:
        chat = guard.sessions("chat")
        with chat.open("ann") as session:
            talk(session, *(f"message {number}" for number in range(1000)))
        assert chat.hibernate("ann")
        pages = [chat.page("ann", "messages", n=100)]
        while (older := pages[-1].next) is not None:
            pages.append(chat.page("ann", "messages", older, 100))
        assert [100] * 10 == [len(one) for one in pages]
        assert ("message 999", "message 0") == (pages[0][-1], pages[-1][0])
        assert (0, 1) == (chat.live, chat.stats().hibernated)
