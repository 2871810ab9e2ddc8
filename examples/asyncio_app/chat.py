"""
A line chat on plain asyncio: reconnect within 30 s and nothing of yours is lost.

Run it with `python chat.py`, talk to it with `nc 127.0.0.1 7777`: the first line is
your name, every other line goes to everybody. `/stats`, `/history` (what you said),
`/said` (what everybody said) and `/drafts` are answered; `/draft ...` keeps one.

Who stays away for longer than the grace sleeps on disk: visits and history come back
with the next connection, also after a restart. Drafts are not saved: they do not.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import sys
import time
from dataclasses import asdict
from typing import Any

import memguard

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import telemetry

rooms = memguard.emitter("rooms", max_listeners=None)
chat = memguard.sessions(
    "chat",
    ttl="1h",
    hibernate_after="10m",
    grace=os.environ.get("CHAT_GRACE", "30s"),
    archive=os.environ.get("CHAT_COLD", "conversations.jsonl"),
)

# A sink: every line as one of JSON, in rotated files; the disk never holds up the loop.
archive = memguard.sink(os.environ.get("CHAT_ARCHIVE", "chat.jsonl"), keep=3)

# What the whole room said last, and how long each line took to reach everybody.
said = memguard.ring("said", of=str, max_entries=1000, max_bytes="256KiB")
fanout = memguard.series("seconds to tell everybody")
# Room to put an answer together in; as many at a time as there may be.
buffers = memguard.pool("buffers", bytearray, reset=bytearray.clear, max_size=100)


@memguard.cached(max_entries=10_000, max_bytes="1MiB", ttl="5m")
def badge(name: str) -> str:
    """
    The mark of a user: always the same, and not for nothing.
    """
    return hashlib.scrypt(name.encode(), salt=b"badge", n=64, r=8, p=1, dklen=2).hex()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """
    One connection: everything it starts ends with it, or at the shutdown.
    """
    name = (await reader.readline()).decode().strip()
    if not name:
        writer.close()
        return
    with contextlib.suppress(ConnectionError):  # the peer may leave at any time
        await talk(name, reader, writer)


async def talk(
    name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    async with chat.connect(name) as conn:  # a child of the user's session
        session = conn.session
        history = session.ring("messages", of=str, max_entries=20)
        session.cache("drafts", max_entries=5)  # not saved, as everything but rings
        session.data["visits"] = session.data.get("visits", 0) + 1
        conn.register(writer, close="close")
        conn.timer(lambda: send(writer, b"ping\n"), every="10s", name="heartbeat")
        conn.listen(rooms, "line", lambda line: send(writer, line))
        await session.asave()  # who was greeted is known from now on
        if session.data["visits"] == 1:
            # Belongs to the session: a reconnect finds it still running.
            session.spawn(welcome(name), name="welcome")
        writer.write(f"hello, visit {session.data['visits']}\n".encode())
        async for raw in reader:
            await answer(raw, session, history, writer)
            await writer.drain()


def send(writer: asyncio.StreamWriter, line: bytes) -> None:
    if not writer.is_closing():
        writer.write(line)


async def answer(
    raw: bytes,
    session: memguard.Session,
    history: memguard.Ring[str],
    writer: asyncio.StreamWriter,
) -> None:
    line = raw.decode().strip()
    if line == "/stats":
        sessions = await asyncio.to_thread(chat.stats)  # counts those on disk as well
        writer.write(json.dumps(stats(sessions)).encode() + b"\n")
    elif line.startswith("/draft "):
        session.cache("drafts", max_entries=5).put(line[7:], None)
    elif line == "/drafts":
        drafts = session.cache("drafts", max_entries=5)
        writer.write(json.dumps(list(drafts)).encode() + b"\n")
    elif line == "/history":
        writer.write(json.dumps(history.recent(20)).encode() + b"\n")
    elif line == "/said":
        async with buffers.acquire() as buffer:
            for one in said.recent(20):
                buffer.extend(one.encode() + b"\n")
            writer.write(bytes(buffer))
    elif line:
        with memguard.current_scope().scope("message"):  # the unit of work
            history.append(line)
            said.append(line)
            began = time.perf_counter()
            rooms.emit("line", raw)
            fanout.add(time.perf_counter() - began)
            await archive.awrite({"at": round(time.time(), 3), "line": line})


def stats(sessions: Any) -> dict[str, Any]:
    """
    What there is and how it goes.
    """
    told = fanout.stats()
    return {
        **memguard.snapshot().to_dict(),
        "sessions": asdict(sessions),
        "memory": memguard.current().memory().to_dict(),
        "said": {"newest": said.recent(3), "bytes": said.info().bytes},
        "fanout": {"count": told.count, "p50": told.p50, "p99": told.p99},
        "badges": badge.info().entries,
        "archived": archive.info().records,
    }


@chat.on_restore
def back(session: memguard.Session) -> None:
    rooms.emit("line", f"* {session.id} is back\n".encode())


async def welcome(name: str) -> None:
    await asyncio.sleep(1)
    rooms.emit("line", f"* {name} [{badge(name)}] is here\n".encode())


async def main() -> None:
    host, _, port = os.environ.get("CHAT_BIND", "127.0.0.1:7777").rpartition(":")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    telemetry.set_up("asyncio_app")
    async with memguard.install(memory_limit="256MiB") as guard:
        server = await asyncio.start_server(serve, host, int(port))
        guard.register(server, phase="stop_intake")
        await guard.stopped()  # SIGTERM, or guard.ashutdown() from anywhere


if __name__ == "__main__":
    asyncio.run(main())
