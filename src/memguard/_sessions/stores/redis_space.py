"""
One container of sessions in Redis or Valkey.

Each verb is a plan: it yields commands and is given their answers. A plain client
performs them at once, an asynchronous one when the verb is awaited.

Longer than 300 lines because a store has many verbs, each of a few lines.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from os import urandom
from typing import Any, Final, TypeAlias, TypeVar

from memguard._probes.identity import has_gone
from memguard._sessions.stores import redis_scripts as scripts
from memguard._sessions.stores.redis_errors import failed, not_known
from memguard._sessions.stores.redis_loop import Home
from memguard._sessions.stores.space import Claim, Entry, Held, StaleOwner, Stored

__all__ = ("RedisSpace",)

_T = TypeVar("_T")
_Arg: TypeAlias = bytes | int
_Plan: TypeAlias = Generator[tuple[Any, ...], Any, _T]

#: So much at most is asked of the server in one go: it serves nobody else meanwhile.
_ENTRIES, _BYTES, _FREED, _TOUCHED = 100, 1 << 20, 200, 1000


class RedisSpace:
    """
    One container on the server; see `space.Space`.

    Verbs of an asynchronous client return awaitables of what is annotated.
    """

    __slots__ = ("_base", "_execute", "_home")

    paged = True

    def __init__(self, client: Any, base: str, home: Home | None) -> None:
        self._execute: Callable[..., Any] = client.execute_command
        self._base = _bytes(base)
        self._home = home

    # -- performing --------------------------------------------------------------------

    def _do(self, plan: _Plan[_T]) -> _T:
        if self._home is None:
            return self._now(plan)
        return self._home.perform(lambda: self._later(plan))  # type: ignore[return-value]

    def _now(self, plan: _Plan[_T]) -> _T:
        try:
            command = next(plan)
            while True:
                try:
                    answer = self._execute(*command, NEVER_DECODE=True)
                except Exception as error:
                    command = plan.throw(error)
                else:
                    command = plan.send(answer)
        except StopIteration as done:
            value: _T = done.value
            return value

    async def _later(self, plan: _Plan[_T]) -> _T:
        try:
            command = next(plan)
            while True:
                try:
                    answer = await self._execute(*command, NEVER_DECODE=True)
                except Exception as error:
                    command = plan.throw(error)
                else:
                    command = plan.send(answer)
        except StopIteration as done:
            value: _T = done.value
            return value

    def _run(self, text: str, *args: _Arg) -> _Plan[Any]:
        """
        One script: by its name, and whole where the server does not know it.
        """
        script = scripts.loaded(text)
        try:
            try:
                return (yield ("EVALSHA", script.sha, 1, self._base, *args))
            except Exception as error:
                if not not_known(error):
                    raise
            return (yield ("EVAL", script.text, 1, self._base, *args))
        except Exception as error:
            if (failure := failed(error)) is None:
                raise
            raise failure from error

    # -- owners ------------------------------------------------------------------------

    def join(self, owner: str, lease_s: float) -> None:
        """
        Let *owner* own sessions, for *lease_s* seconds from now.
        """
        return self._do(self._join(_bytes(owner), _ms(lease_s)))

    def _join(self, owner: bytes, lease: int) -> _Plan[None]:
        while not (yield from self._run(scripts.JOIN, owner, lease)):
            yield from self._drain(owner)

    def beat(self, owner: str, lease_s: float) -> bool:
        """
        Begin the lease of *owner* anew; False where it has ended or was ended.
        """
        return self._do(self._beat(_bytes(owner), _ms(lease_s)))

    def _beat(self, owner: bytes, lease: int) -> _Plan[bool]:
        return bool((yield from self._run(scripts.BEAT, owner, lease)))

    def leave(self, owner: str) -> None:
        """
        End the lease of *owner*; what it still has is nobody's.
        """
        return self._do(self._leave(_bytes(owner)))

    def _leave(self, owner: bytes) -> _Plan[None]:
        yield from self._run(scripts.UNLEASE, owner)
        yield from self._drain(owner)

    def reap(self) -> int:
        """
        End what is left of owners that are dead; gives how many sessions came free.
        """
        return self._do(self._reap())

    def _reap(self) -> _Plan[int]:
        found = yield from self._run(scripts.OWNERS)
        freed = 0
        for owner, alive in zip(found[::2], found[1::2], strict=True):
            gone = _gone(_text(owner))
            if gone or not alive:
                freed += yield from self._drain(owner, gone=gone)
        return freed

    def _drain(self, owner: bytes, *, gone: bool = False) -> _Plan[int]:
        freed, left = 0, 1
        while left:
            some, left = yield from self._run(scripts.DRAIN, owner, int(gone), _FREED)
            freed += some
        return freed

    # -- one session -------------------------------------------------------------------

    def claim(self, id: str, owner: str, have: int | None = None) -> Claim | Held:
        """
        Make the session of *id* the owner's, unless another one has it.
        """
        return self._do(self._claim(_bytes(id), _bytes(owner), have))

    def _claim(self, id: bytes, owner: bytes, have: int | None) -> _Plan[Claim | Held]:
        version = b"" if have is None else b"%d" % have
        gone = b""
        while True:
            answer = yield from self._run(scripts.CLAIM, id, owner, version, gone)
            if answer[0] < 0:
                raise StaleOwner
            if answer[0]:
                return Claim(int(answer[1]), answer[2], bool(answer[3]))
            holder = _text(answer[1])
            if gone == answer[1] or not _gone(holder):
                return Held(holder)
            gone = answer[1]

    def release(self, id: str, owner: str) -> None:
        """
        Give a session back as it is stored; nothing happens if it is not the owner's.
        """
        return self._do(self._told(scripts.RELEASE, _bytes(id), _bytes(owner)))

    def quarantine(self, id: str, owner: str) -> None:
        """
        Put aside the record of a session of the owner's, which is as new then.

        The newest 100 are kept for 30 days, in hashes that the list `:q` names.
        """
        return self._do(self._told(scripts.QUARANTINE, _bytes(id), _bytes(owner)))

    def _told(self, text: str, *args: _Arg) -> _Plan[None]:
        yield from self._run(text, *args)

    def delete(self, id: str, owner: str) -> bool:
        """
        Forget a session of the owner's, with its pages; False if it is not.
        """
        return self._do(self._delete(_bytes(id), _bytes(owner)))

    def _delete(self, id: bytes, owner: bytes) -> _Plan[bool]:
        return bool((yield from self._run(scripts.DELETE, id, owner, urandom(8))))

    def read(self, id: str) -> Stored | None:
        """
        What there is of *id*, without claiming it.
        """
        return self._do(self._read(_bytes(id)))

    def _read(self, id: bytes) -> _Plan[Stored | None]:
        found = yield from self._run(scripts.READ, id)
        if found is None:
            return None
        version, body, ends, holder, size = found
        owner = None if holder is None else _text(holder)
        return Stored(
            version=int(version),
            record=body,
            expires_at=float(ends) if ends else None,
            owner=None if owner is None or _gone(owner) else owner,
            size=int(size),
        )

    def pages(self, id: str, name: str, numbers: Sequence[int]) -> dict[int, bytes]:
        """
        Those pages of a history that there are.
        """
        return self._do(self._pages(_bytes(id), name, numbers))

    def _pages(
        self, id: bytes, name: str, numbers: Sequence[int]
    ) -> _Plan[dict[int, bytes]]:
        if not numbers:
            return {}
        fields = [_field(name, number) for number in numbers]
        found = yield from self._run(scripts.PAGES, id, *fields)
        pairs = zip(numbers, found, strict=True)
        return {number: page for number, page in pairs if page is not None}

    # -- many --------------------------------------------------------------------------

    def alone(self, owner: str) -> bool:
        """
        Always False: looking for wants costs no more than looking for owners.
        """
        return False

    def wanted(self, owner: str) -> list[str]:
        """
        The ids of the owner's sessions that others have asked for within a minute.
        """
        return self._do(self._texts(scripts.WANTED, _bytes(owner)))

    def _texts(self, text: str, *args: _Arg) -> _Plan[list[str]]:
        return [_text(one) for one in (yield from self._run(text, *args))]

    def put(self, owner: str, entries: Sequence[Entry]) -> list[bool]:
        """
        Write sessions; False for each that is not the owner's, and is left alone.

        Many are written in several steps, each of which happens as a whole.
        """
        return self._do(self._put(_bytes(owner), entries))

    def _put(self, owner: bytes, entries: Sequence[Entry]) -> _Plan[list[bool]]:
        done: list[bool] = []
        step: list[_Arg] = []
        count = weight = 0
        for number, entry in enumerate(entries, 1):
            step += _packed(entry)
            count += 1
            weight += len(entry.record)
            weight += sum(len(page) for page in entry.pages.values() if page)
            if count == _ENTRIES or weight >= _BYTES or number == len(entries):
                answer = yield from self._run(scripts.PUT, owner, urandom(8), *step)
                done += (one == _YES for one in answer)
                step, count, weight = [], 0, 0
        return done

    def touch(self, owner: str, expiries: Mapping[str, float | None]) -> None:
        """
        Note later ends of sessions of the owner's, which did not change otherwise.
        """
        return self._do(self._touch(_bytes(owner), list(expiries.items())))

    def _touch(
        self, owner: bytes, expiries: Sequence[tuple[str, float | None]]
    ) -> _Plan[None]:
        for start in range(0, len(expiries), _TOUCHED):
            some = expiries[start : start + _TOUCHED]
            pairs = [part for key, ends in some for part in (_bytes(key), _end(ends))]
            yield from self._run(scripts.TOUCH, owner, *pairs)

    def due(self, now: float, most: int) -> list[str]:
        """
        Up to *most* ids of nobody's sessions that have expired, the earliest first.
        """
        return self._do(self._texts(scripts.DUE, _end(now), most))

    def next_due(self) -> float | None:
        """
        When the earliest of nobody's sessions expires, in wall-clock seconds.
        """
        return self._do(self._next_due())

    def _next_due(self) -> _Plan[float | None]:
        first = yield from self._run(scripts.NEXT_DUE)
        return None if first in (None, b"inf") else float(first)

    def count(self) -> tuple[int, int]:
        """
        How many sessions have a record and are nobody's, and their bytes.
        """
        return self._do(self._count())

    def _count(self) -> _Plan[tuple[int, int]]:
        many, size = yield from self._run(scripts.COUNT)
        return int(many), int(size)

    def ids(self) -> list[str]:
        """
        The ids of all sessions that have a record, the longest known first.
        """
        return self._do(self._texts(scripts.IDS))

    def close(self) -> None:
        """
        Nothing: the client is its maker's to close.
        """
        return self._do(self._nothing())

    def _nothing(self) -> _Plan[None]:
        return
        yield ()


_YES: Final = ord("1")

# -- what goes over the wire -----------------------------------------------------------


def _bytes(text: str) -> bytes:
    # Any text may be an id, lone surrogates included; the client's own encoding, which
    # the application may have chosen, does not come into it.
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _end(expires_at: float | None) -> bytes:
    if expires_at is None or expires_at == float("inf"):
        return b""
    return repr(float(expires_at)).encode()


def _field(name: str, number: int) -> bytes:
    return b"p%d:%b" % (number, _bytes(name))


def _packed(entry: Entry) -> list[_Arg]:
    packed: list[_Arg] = [
        _bytes(entry.id),
        entry.version,
        _end(entry.expires_at),
        int(entry.release),
        entry.record,
        len(entry.pages),
    ]
    for (name, number), page in entry.pages.items():
        packed += (_field(name, number), int(page is not None), page or b"")
    return packed


def _gone(owner: str) -> bool:
    """
    True for an owner on this machine whose process has ended.
    """
    return has_gone(owner.rpartition(":")[0])
