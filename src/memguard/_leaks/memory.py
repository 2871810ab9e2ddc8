"""
What memory grew for: Python's objects, other libraries, what allocators keep, mappings.

Resident memory is the sum of what Python's allocator has from the system, what the C
library's has, what is mapped besides, and nothing else. So the growth of each part
explains its share, and what is left over is said to be unexplained. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from memguard._leaks.heap import Split, split_of
from memguard._leaks.parts import Parts, growth, parts_of
from memguard._records import record

if TYPE_CHECKING:
    from memguard._probes.sample import Sample

__all__ = ("MemoryVerdict", "Verdict", "memory_verdict")

Verdict: TypeAlias = Literal[
    "python",
    "native",
    "malloc-retained",
    "pymalloc-retained",
    "mmap",
    "stable",
    "cannot-tell",
]
Confidence: TypeAlias = Literal["high", "medium", "low"]

# Less than this, or than this share of what is used, is no growth.
_NOISE_BYTES: Final = 1 << 20
_NOISE_SHARE: Final = 0.01
# The growth has to be explained at least so far for a verdict.
_LEAST_EXPLAINED: Final = 0.5
_CLEAR_SHARE: Final = 0.75

_TOLD: Final[dict[str, str]] = {
    "python": "Python's objects",
    "native": "memory of C libraries and arrays, outside of Python's allocator",
    "malloc-retained": "memory that is free and that the C library keeps",
    "pymalloc-retained": "memory that is free in arenas Python cannot give back",
    "mmap": "mapped memory: files, shared or anonymous mappings",
}


@record
class MemoryVerdict:
    """
    What memory is used for, or what its growth since an earlier sample was for.

    `bytes` is the growth of resident and swapped memory (the size itself without an
    earlier sample), `causes` what of it belongs to which cause; `explained_bytes` and
    `unexplained_bytes` are its two parts. `confidence` is below high where blocks of
    Python and of C libraries can only be told apart by their number.
    """

    verdict: Verdict
    bytes: int
    explained_bytes: int
    unexplained_bytes: int
    causes: dict[str, int]
    confidence: Confidence
    reason: str
    is_growth: bool

    @property
    def explained_ratio(self) -> float | None:
        """
        The explained share, 0 to 1; None where nothing grew.
        """
        whole = self.explained_bytes + self.unexplained_bytes
        return self.explained_bytes / whole if whole > 0 else None

    def to_dict(self) -> dict[str, Any]:
        """
        The verdict as plain data.
        """
        ratio = self.explained_ratio
        return {
            "verdict": self.verdict,
            "bytes": self.bytes,
            "explained_bytes": self.explained_bytes,
            "unexplained_bytes": self.unexplained_bytes,
            "explained_ratio": None if ratio is None else round(ratio, 4),
            "causes": dict(self.causes),
            "confidence": self.confidence,
            "reason": self.reason,
            "is_growth": self.is_growth,
        }

    def __str__(self) -> str:
        return f"{self.verdict}: {self.reason}"


def memory_verdict(now: Sample, before: Sample | None = None) -> MemoryVerdict:
    """
    The cause of most of the growth from *before* to *now*; both from one process.

    With one sample alone, the cause of most of the process's own memory: mapped files
    and shared memory are counted, but are no verdict then.
    """
    parts = parts_of(now)
    ordinary = 0.0
    if before is not None:
        earlier = parts_of(before)
        # How many larger blocks come with so many small ones, in this process.
        known = earlier.large is not None and earlier.blocks > 0
        share = (earlier.large or 0) / earlier.blocks if known else 0.0
        parts = growth(parts, earlier)
        ordinary = max(0, parts.blocks) * share
        least = max(_NOISE_BYTES, earlier.whole * _NOISE_SHARE)
        if parts.whole < least:
            return _stable(parts.whole)
    return _judged(parts, split_of(parts, ordinary, alone=before is None), before)


def _judged(parts: Parts, split: Split, before: Sample | None) -> MemoryVerdict:
    whole, is_growth = parts.whole, before is not None
    causes = _causes(parts, split)
    explained = max(0, min(whole, sum(causes.values())))
    candidates = dict(causes)
    if not is_growth:
        candidates["mmap"] -= max(0, parts.shared or 0)
    of = sum(candidates.values()) + whole - explained
    name = max(candidates, key=candidates.__getitem__)
    largest = min(candidates[name], of)
    verdict: Verdict = name  # type: ignore[assignment]
    confidence: Confidence = "high"
    what = "growth" if is_growth else "own memory"
    reason = f"{_mib(largest)} of {_mib(of)} of its {what} are {_TOLD[name]}"
    if largest <= 0 or explained < whole * _LEAST_EXPLAINED:
        verdict, confidence = "cannot-tell", "low"
        unknown = _mib(whole - explained)
        reason = f"{unknown} of {_mib(whole)} are unexplained{_why(parts, split)}"
    elif not split.is_sure or not is_growth or largest < of * _CLEAR_SHARE:
        confidence = "medium"
    return MemoryVerdict(
        verdict=verdict,
        bytes=whole,
        explained_bytes=explained,
        unexplained_bytes=whole - explained,
        causes=causes,
        confidence=confidence,
        reason=reason,
        is_growth=is_growth,
    )


def _stable(growth: int) -> MemoryVerdict:
    told = "grew by" if growth >= 0 else "shrank by"
    return MemoryVerdict(
        verdict="stable",
        bytes=growth,
        explained_bytes=0,
        unexplained_bytes=0,
        causes=dict.fromkeys(_TOLD, 0),
        confidence="high",
        reason=f"it {told} {_mib(abs(growth))}, which is no growth",
        is_growth=True,
    )


def _causes(parts: Parts, split: Split) -> dict[str, int]:
    """
    The bytes of each cause; what they do not sum up to is unexplained.
    """
    arenas, free = parts.arenas or 0, parts.free
    retained = arenas - parts.small
    python = parts.small + split.python
    native = split.native
    accounted = python + native + split.either + free + retained
    left = parts.whole - accounted - (parts.shared or 0)
    mapped = parts.shared or 0
    if left > 0:
        mapped += min(left, _mapped_besides(parts))
    elif left < 0:
        # Given out or kept, but not resident: never touched, or given back by pages.
        free, left = _less(free, left)
        retained, left = _less(retained, left)
        native, left = _less(native, left)
        python, left = _less(python, left)
    return {
        "python": python,
        "native": native,
        "malloc-retained": free,
        "pymalloc-retained": retained,
        "mmap": mapped,
    }


def _less(size: int, by: int) -> tuple[int, int]:
    """
    *size* without as many of the missing bytes (*by*, negative) as it has.
    """
    taken = min(max(0, size), -by)
    return size - taken, by + taken


def _mapped_besides(parts: Parts) -> int:
    """
    Private memory that may be written to and is of neither allocator.
    """
    if parts.data is None or parts.used is None or parts.arenas is None:
        return 0  # it may be that allocator's
    return max(0, parts.data - parts.arenas - parts.heap - parts.mapped)


def _why(parts: Parts, split: Split) -> str:
    if parts.used is None:
        return ": the C library's allocator does not tell"
    if parts.arenas is None or parts.large is None:
        return ": Python's allocator does not tell"
    if split.either > 0:
        return ", in large blocks that may be Python's or another library's"
    return ""


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
