"""
Figures against their bars, as a markdown table: a goal, and a hard goal behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

__all__ = ("Bar", "table", "verdict")


class Bar(NamedTuple):
    """
    One figure that has a goal. Less is better, unless it is a *gain*.
    """

    what: str
    value: float
    goal: float
    hard: float | None = None
    unit: str = ""
    gain: bool = False

    def reaches(self, bar: float) -> bool:
        return self.value >= bar if self.gain else self.value <= bar

    @property
    def standing(self) -> str:
        if not self.reaches(self.goal):
            return "**missed**"
        if self.hard is None:
            return "reached"
        return "hard goal reached" if self.reaches(self.hard) else "goal reached"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """
    Print a markdown table; the first column is text, the others are figures.
    """
    print()
    print("| " + " | ".join(head) + " |")
    print("|---" + "|---:" * (len(head) - 1) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def verdict(bars: Sequence[Bar]) -> int:
    """
    Print the bars; 1 if a goal is missed, else 0.
    """
    print()
    print("| bar | measured | goal | hard goal | |")
    print("|---|---:|---:|---:|---|")
    for bar in bars:
        sign = "≥" if bar.gain else "≤"
        hard = "" if bar.hard is None else f"{sign} {bar.hard:g}{bar.unit}"
        print(
            f"| {bar.what} | {bar.value:.2f}{bar.unit} | {sign} {bar.goal:g}{bar.unit}"
            f" | {hard} | {bar.standing} |"
        )
    print()
    return 0 if all(bar.reaches(bar.goal) for bar in bars) else 1
