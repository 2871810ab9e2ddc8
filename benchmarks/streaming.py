"""
Does a stream a hundred times larger than the memory it may use keep memory flat?

Each arm has a fresh process, which reads its resident memory as it goes: a source of
32 KiB texts, `limiter.map` in threads or on a loop, a rotating sink. The last arm is
what one would write without them: results in a list (of a tenth of the stream). With
`--quick` the stream is a tenth as long.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from bars import Bar, table, verdict
from picture import lines

import memguard

MIB = 1 << 20
LIMIT = 16 * MIB  # what the stream may add to the process
STREAM = 100 * LIMIT
LIST = STREAM // 10
RECORD = 32 << 10
PAD = "x" * (RECORD - 9)
SAMPLES = 60

PICTURE = Path(__file__).resolve().parent / "pictures" / "streaming.svg"


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Curve:
    """
    Resident memory over what was handed on, a sample every so many bytes.
    """

    def __init__(self, total: int) -> None:
        self._step = total // SAMPLES
        self._done = 0
        self._first = resident()
        self.points: list[tuple[float, float]] = [(0.0, 0.0)]

    def add(self, size: int) -> None:
        before, self._done = self._done, self._done + size
        if self._done // self._step > before // self._step:
            grown = max(0, resident() - self._first)
            self.points.append((self._done / MIB, grown / MIB))


def source(total: int) -> Iterator[str]:
    for number in range(total // RECORD):
        yield f"{number:09d}{PAD}"


async def asource(total: int) -> AsyncIterator[str]:
    for text in source(total):
        yield text


def work(text: str) -> dict[str, Any]:
    return {"sum": zlib.crc32(text.encode()), "text": text}


async def awork(text: str) -> dict[str, Any]:
    return work(text)


def in_threads(limiter: memguard.Limiter, sink: memguard.Sink, total: int) -> Curve:
    curve = Curve(total)
    for record in limiter.map(work, source(total), bytes=len):
        sink.write(record)
        curve.add(RECORD)
    return curve


def on_a_loop(limiter: memguard.Limiter, sink: memguard.Sink, total: int) -> Curve:
    async def main() -> Curve:
        curve = Curve(total)
        async for record in limiter.map(awork, asource(total), bytes=len):
            await sink.awrite(record)
            curve.add(RECORD)
        return curve

    return asyncio.run(main())


def in_a_list(limiter: memguard.Limiter, sink: memguard.Sink, total: int) -> Curve:
    curve = Curve(total)
    kept = []
    for text in source(total):
        kept.append(work(text))
        curve.add(RECORD)
    return curve


ARMS: dict[str, Callable[[memguard.Limiter, memguard.Sink, int], Curve]] = {
    "limiter.map in threads, sink": in_threads,
    "limiter.map on a loop, sink": on_a_loop,
    "a list": in_a_list,
}


def alone(arm: str, total: int) -> None:
    """
    One arm, in this process; prints what came of it.
    """
    with tempfile.TemporaryDirectory() as folder:
        guard = memguard.Guard(report_file=None).start()
        limiter = guard.limiter("stream", max_bytes="1MiB")
        sink = guard.sink(Path(folder) / "out.jsonl", rotate_bytes="8MiB", keep=1)
        on_a_loop(limiter, sink, SAMPLES * RECORD)  # everything imported and warm
        begun = time.perf_counter()
        curve = ARMS[arm](limiter, sink, total)
        seconds = time.perf_counter() - begun
        guard.shutdown()
    print(json.dumps({"points": curve.points, "seconds": seconds}))


def measure(arm: str, total: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--alone", arm, str(total)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def main(*, quick: bool) -> int:
    total = STREAM // 10 if quick else STREAM
    rows, curves, worst = [], {}, {}
    for arm in ARMS:
        length = LIST if arm == "a list" else total
        found = measure(arm, length)
        curves[arm] = found["points"]
        worst[arm] = max(grown for _, grown in found["points"])
        rate = length / MIB / found["seconds"]
        rows.append((arm, length // MIB, f"{worst[arm]:.1f}", f"{rate:.0f}"))
    table(("", "stream, MiB", "most resident memory added, MiB", "MiB/s"), rows)
    if not quick:
        lines(
            PICTURE,
            "Resident memory while a stream goes through",
            "MiB handed on",
            "MiB added to the process (log)",
            {arm: [(x, max(0.1, y)) for x, y in curves[arm]] for arm in curves},
            log_y=True,
        )
        print(f"![memory of a stream](pictures/{PICTURE.name})")
    limit = LIMIT / MIB
    streams = [arm for arm in ARMS if arm != "a list"]
    return verdict(
        [
            *(Bar(f"{arm}: added", worst[arm], limit, unit=" MiB") for arm in streams),
            Bar("a list: added", worst["a list"], limit, unit=" MiB", gain=True),
        ]
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--alone"]:
        alone(sys.argv[2], int(sys.argv[3]))
    else:
        sys.exit(main(quick="--quick" in sys.argv[1:]))
