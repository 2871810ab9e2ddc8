"""
A stream of megabytes through a process that may only grow by a few.

Arguments: what to do (`stream`, `astream` or `list`), the folder to write to, megabytes
of the limit, megabytes of the stream. The limit is the kernel's (RLIMIT_DATA): an
allocation beyond it fails. Prints what came of it as JSON.
"""

import asyncio
import json
import resource
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import memguard

RECORD = 32 << 10
MIB = 1 << 20
PAD = "x" * (RECORD - 9)


def status(field: str) -> int:
    """
    A figure of this process in bytes.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) << 10
    raise LookupError(field)


def source(total: int) -> Iterator[str]:
    """
    The stream: texts of 32 KiB, no two the same.
    """
    for number in range(total // RECORD):
        yield f"{number:09d}{PAD}"


async def asource(total: int) -> AsyncIterator[str]:
    for text in source(total):
        yield text


def work(text: str) -> dict[str, Any]:
    """
    One record for one item, as large as that.
    """
    return {"sum": zlib.crc32(text.encode()), "text": text}


async def awork(text: str) -> dict[str, Any]:
    return work(text)


def stream(guard: memguard.Guard, sink: memguard.Sink, total: int) -> int:
    limiter = guard.limiter("stream", max_in_flight=5, max_bytes="1MiB")
    done = 0
    for record in limiter.map(work, source(total), bytes=len):
        sink.write(record)
        done += len(record["text"])
    assert limiter.info().peak <= 5
    return done


async def astream(guard: memguard.Guard, sink: memguard.Sink, total: int) -> int:
    limiter = guard.limiter("stream", max_in_flight=5, max_bytes="1MiB")
    done = 0
    async for record in limiter.map(awork, asource(total), bytes=len):
        await sink.awrite(record)
        done += len(record["text"])
    return done


def keep(sink: memguard.Sink, total: int) -> int:
    """
    The way it should not be: everything in a list, and then to the disk.
    """
    records = [work(text) for text in source(total)]
    for record in records:
        sink.write(record)
    return sum(len(record["text"]) for record in records)


def main() -> None:
    what, folder, limit, total = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5])
    threading.stack_size(256 << 10)  # the kernel counts stacks as data
    guard = memguard.Guard().start()
    sink = guard.sink(Path(folder) / "out.jsonl", rotate_bytes="8MiB", keep=1)
    asyncio.run(astream(guard, sink, 0))  # imported, warmed up
    stream(guard, sink, 64 * RECORD)
    before = status("VmRSS")
    ceiling = status("VmData") + limit * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))
    try:
        if what == "list":
            done = keep(sink, total * MIB)
        elif what == "stream":
            done = stream(guard, sink, total * MIB)
        else:
            done = asyncio.run(astream(guard, sink, total * MIB))
    except MemoryError:
        print(json.dumps({"died": "MemoryError"}), flush=True)
        return
    grown = status("VmHWM") - before
    guard.shutdown()
    info = sink.info()
    told = {"done": done, "grown": grown, "records": info.records, "lost": info.lost}
    print(json.dumps(told), flush=True)


main()
