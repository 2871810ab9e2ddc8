"""
A service on plain asyncio that speaks just enough HTTP; LOOP=uvloop runs it on uvloop.

With PREVIOUS=1 the loop has a handler of SIGTERM of its own, which ends it well.
"""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import nullcontext
from typing import Any

import evidence
from evidence import (
    CHUNK,
    CHUNK_PAUSE_S,
    CHUNKS,
    SLOW_S,
    START_S,
    WITH_MEMGUARD,
    note,
)

evidence.declare()
if WITH_MEMGUARD:
    import memguard


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    path = request.split()[1].decode()
    scope: Any = memguard.current().scope(f"GET {path}") if WITH_MEMGUARD else None
    async with scope or nullcontext():
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        if path == "/slow":
            note("slow")
            await asyncio.sleep(SLOW_S)
            writer.write(CHUNK)
        elif path == "/stream":
            for _ in range(CHUNKS):
                writer.write(CHUNK)
                await writer.drain()
                note("chunk")
                await asyncio.sleep(CHUNK_PAUSE_S)
        else:
            writer.write(b"ok")
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def main() -> None:
    stopping = asyncio.Event()

    def terminate() -> None:
        note("previous")
        stopping.set()

    if os.environ.get("PREVIOUS"):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, terminate)
    guard: Any = memguard.install() if WITH_MEMGUARD else nullcontext()
    async with guard:
        evidence.own()
        note("starting")
        await asyncio.sleep(START_S)
        server = await asyncio.start_server(serve, "127.0.0.1", int(os.environ["PORT"]))
        if WITH_MEMGUARD:
            guard.register(server, phase="stop_intake")
        own_handler = bool(os.environ.get("PREVIOUS"))
        if WITH_MEMGUARD and not own_handler:
            await guard.stopped()
        else:
            await stopping.wait()


if __name__ == "__main__":
    if os.environ.get("LOOP") == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
