"""
What is asked of a cache in the benchmarks: made-up accesses, and traces from files.

Traces are not part of the repository. A directory of them is given by
`MEMGUARD_TRACES` or `--traces DIR`; these formats are understood, plain, .gz or .xz:

* text, one number a line (LIRS; other lines, as `*`, are left out),
* text, three numbers a line: time, key, bytes (AdaptSize: a workload with sizes),
* binary, big-endian: keys of 8 bytes where the name says `vault` or `scarab`, else 4.
"""

from __future__ import annotations

import gzip
import itertools
import lzma
import random
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# As many accesses of a trace as are replayed.
MOST_ACCESSES = 600_000
UNIVERSE = 100_000
WIDE_NAMES = ("vault", "scarab")
OPENERS = {".gz": gzip.open, ".xz": lzma.open}


class Workload(NamedTuple):
    """
    Keys in the order in which they are asked for; with *sizes*, the bytes of each.
    """

    name: str
    keys: list[int]
    sizes: dict[int, int] | None = None

    def capacity(self, percent: float) -> int:
        """
        A share of the different keys, at least 50.
        """
        return max(50, int(len(set(self.keys)) * percent / 100))

    def byte_capacity(self, percent: float) -> int:
        """
        A share of the bytes of the different keys.
        """
        sizes = self.sizes or {}
        return int(sum(sizes[key] for key in set(self.keys)) * percent / 100)


def synthetic(accesses: int) -> list[Workload]:
    """
    Popularity as Zipf has it; with scans in between; and moving on. Always the same.
    """
    chance = random.Random(20_240_229)
    plain = zipf(chance, accesses)
    return [
        Workload("Zipf 1.0", plain),
        Workload("Zipf, 1/3 scans", list(scanned(chance, accesses))),
        Workload("Zipf, shifting", list(shifting(chance, accesses))),
    ]


def synthetic_sized(accesses: int) -> list[Workload]:
    """
    Zipf over values of made-up sizes: median 2.7 KB, at most 4 MB.
    """
    chance = random.Random(20_240_301)
    sized = []
    for exponent in (1.0, 0.8):
        keys = zipf(chance, accesses, exponent)
        sizes = {
            key: min(4_000_000, int(chance.lognormvariate(7.9, 1.5)) + 40)
            for key in sorted(set(keys))
        }
        sized.append(Workload(f"Zipf {exponent}, made-up sizes", keys, sizes))
    return sized


def zipf(chance: random.Random, accesses: int, exponent: float = 1.0) -> list[int]:
    weights = itertools.accumulate(
        1 / rank**exponent for rank in range(1, UNIVERSE + 1)
    )
    return chance.choices(range(UNIVERSE), cum_weights=list(weights), k=accesses)


def scanned(chance: random.Random, accesses: int) -> Iterator[int]:
    """
    Runs of keys that are asked for once make a third of it.
    """
    popular = iter(zipf(chance, accesses))
    fresh = itertools.count(UNIVERSE)
    left = accesses
    while left > 0:
        run = min(left, 3 * chance.randint(150, 1500))
        yield from itertools.islice(popular, run - run // 3)
        yield from itertools.islice(fresh, run // 3)
        left -= run


def shifting(chance: random.Random, accesses: int) -> Iterator[int]:
    """
    Ten times the most popular keys are forgotten, and others move up.
    """
    step = max(1, accesses // 10)
    for index, rank in enumerate(zipf(chance, accesses)):
        yield rank + index // step * (UNIVERSE * 3 // 100)


def traces(directory: Path, most: int = MOST_ACCESSES) -> list[Workload]:
    """
    Every trace of a directory, cut after *most* accesses. Raises ValueError for none.
    """
    files = sorted(path for path in directory.iterdir() if path.is_file())
    found = [trace(path, most) for path in files if not path.name.startswith(".")]
    if not found:
        msg = f"There is no trace in {directory}. Give a directory that holds some."
        raise ValueError(msg)
    return found


def trace(path: Path, most: int) -> Workload:
    with OPENERS.get(path.suffix, open)(path, "rb") as file:
        data = file.read()
    name = path.name.removesuffix(path.suffix).removesuffix(".trace")
    name = name.removeprefix("trace_")
    if is_text(data[:4096]):
        return _from_text(name, data.decode("ascii"), most)
    keys = array("q" if any(part in name for part in WIDE_NAMES) else "i")
    keys.frombytes(data[: min(len(data) // keys.itemsize, most) * keys.itemsize])
    if sys.byteorder == "little":
        keys.byteswap()
    return Workload(name, keys.tolist())


def is_text(data: bytes) -> bool:
    return all(byte in b"\t\r\n" or 32 <= byte < 127 for byte in data)


def _from_text(name: str, text: str, most: int) -> Workload:
    rows = [line.split() for line in itertools.islice(text.splitlines(), most)]
    rows = [row for row in rows if row and all(part.isdecimal() for part in row)]
    if not rows:
        msg = f"{name} holds no accesses: neither numbers nor rows of three numbers."
        raise ValueError(msg)
    if len(rows[0]) == 3:
        sizes = {int(key): max(1, int(size)) for _, key, size in rows}
        return Workload(name, [int(key) for _, key, _ in rows], sizes)
    return Workload(name, [int(row[0]) for row in rows])
