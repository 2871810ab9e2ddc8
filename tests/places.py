"""
Where stores of sessions keep what they have, for the tests that all of them pass.

A place makes a store as another process would: two stores of one place share what is
in it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests._redis import RedisServer

from memguard._sessions.stores.redis import RedisStore
from memguard._sessions.stores.sqlite import SqliteStore
from memguard.testing import FakeClock

if TYPE_CHECKING:
    from memguard._sessions.stores.space import Space
    from memguard.typing import Clock

NAME = "chat"


class Place:
    """
    Stores that share what they have; everything is closed at the end.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._spaces: list[Space] = []

    def space(self, clock: Clock, name: str = NAME) -> Space:
        """
        The space as a process of its own has it.
        """
        space: Space = self._make().space(name, clock)
        self._spaces.append(space)
        return space

    def close(self) -> None:
        for space in self._spaces:
            space.close()


def sqlite(directory: Path) -> Place:
    """
    One file.
    """
    return Place(lambda: SqliteStore(directory / "sessions.db"))


class RedisPlace(Place):
    """
    One server, whose clock cannot be told anything.

    So what is on it grows older instead, whenever a clock of a space has gone on.
    """

    def __init__(self, directory: Path) -> None:
        import redis

        self._server = RedisServer(directory).start()
        self._client = redis.Redis(unix_socket_path=self._server.path)
        self._seen: dict[FakeClock, float] = {}
        super().__init__(lambda: RedisStore(self._client))

    def space(self, clock: Clock, name: str = NAME) -> Space:
        space = super().space(clock, name)
        if isinstance(clock, FakeClock):
            self._seen.setdefault(clock, clock.monotonic())
            space = Ageing(space, lambda: self._age(clock))  # type: ignore[assignment]
        return space

    def _age(self, clock: FakeClock) -> None:
        now = clock.monotonic()
        ms = round(1000 * (now - self._seen[clock]))
        self._seen[clock] = now
        if not ms:
            return
        client: Any = self._client
        for key in client.keys("*"):
            kind = key.partition(b"}:")[2][:2]
            if kind == b"l:":
                left = client.pttl(key) - ms
                if left > 0:
                    client.pexpire(key, left)
                else:
                    client.delete(key)
            elif kind == b"w:":
                for member in client.zrange(key, 0, -1):
                    client.zincrby(key, -ms, member)
            elif kind == b"s:" and (wants := client.hget(key, "w")):
                rows = (line.split(b":", 1) for line in wants.split(b"\n"))
                aged = (b"%d:%b" % (int(at) - ms, who) for at, who in rows)
                client.hset(key, "w", b"\n".join(aged))

    def close(self) -> None:
        super().close()
        self._client.close()
        self._server.kill()


class Ageing:
    """
    A space for which the time that its clock went on has passed before each verb.
    """

    def __init__(self, space: Space, age: Callable[[], None]) -> None:
        self._space = space
        self._age = age

    def __getattr__(self, verb: str) -> Any:
        self._age()
        return getattr(self._space, verb)


#: All stores, by name.
PLACES: dict[str, Callable[[Path], Place]] = {"sqlite": sqlite, "redis": RedisPlace}
#: Those that processes can share.
SHARED = {name: make for name, make in PLACES.items() if name != "memory"}
