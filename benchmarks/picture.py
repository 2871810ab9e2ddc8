"""
Draws the pictures of the benchmarks as self-contained SVG files: `lines` and `bars`.

No plotting package: an axis, its ticks, a legend and the data are a few lines of text.
Colours follow the reader's light or dark scheme; lines differ by dashes as well.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

Series = Mapping[str, Sequence[tuple[float, float]]]
Scale = Callable[[float], float]

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, BOTTOM = 72, 24, 62
LIGHT = ("#0067a8", "#c94f00", "#00805c", "#a8478f", "#8a6d00", "#5b5fc7", "#6b6b6b")
DARK = ("#5cb8f2", "#ff9350", "#3fd0a4", "#ee94d2", "#e6c84a", "#a9acff", "#b4b4b4")
DASHES = ("none", "7 4", "2 3", "10 3 2 3", "5 2", "1 4", "12 5")
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"


def lines(
    path: str | Path,
    title: str,
    x_label: str,
    y_label: str,
    series: Series,
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> None:
    """
    One line a series, points in order of x; the first series is drawn boldest.

    A logarithmic axis takes positive values only. Raises ValueError without any point.
    """
    kept = {name: sorted(points) for name, points in series.items() if points}
    xs = [x for points in kept.values() for x, _ in points]
    ys = [y for points in kept.values() for _, y in points]
    frame = _Frame(title, x_label, y_label, list(kept))
    x_ticks = frame.x_axis(_ticks(xs, log=log_x), log=log_x, tight=(min(xs), max(xs)))
    y_ticks = frame.y_axis(
        _ticks(ys if log_y else _with_zero(ys), log=log_y), log=log_y
    )
    for index, points in reversed(list(enumerate(kept.values()))):
        spots = [(x_ticks(x), y_ticks(y)) for x, y in points]
        way = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        frame.add(f'<polyline class="line s{index % len(LIGHT)}" points="{way}"/>')
        if len(spots) <= 40:
            frame.add(
                *(
                    f'<circle class="dot f{index % len(LIGHT)}"'
                    f' cx="{x:.1f}" cy="{y:.1f}" r="{3.2 if index == 0 else 2.4}"/>'
                    for x, y in spots
                )
            )
    frame.write(path)


def bars(
    path: str | Path,
    title: str,
    x_label: str,
    y_label: str,
    series: Series,
    *,
    log_y: bool = False,
) -> None:
    """
    One bar a point, series side by side at each x; a histogram when x are bin edges.

    Bars stand evenly, in order of x, and are labelled with it. Raises ValueError
    without any point.
    """
    kept = {name: dict(points) for name, points in series.items() if points}
    places = sorted({x for points in kept.values() for x in points})
    ys = [y for points in kept.values() for y in points.values()]
    frame = _Frame(title, x_label, y_label, list(kept))
    y_at = frame.y_axis(
        _ticks([y for y in ys if y > 0] if log_y else [0.0, *ys], log=log_y), log=log_y
    )
    floor = y_at(0.0) if not log_y else frame.floor
    slot = (WIDTH - LEFT - RIGHT) / len(places)
    gap = 0.0 if slot < 4 else slot * 0.18
    wide = (slot - gap) / len(kept)
    every = max(1, math.ceil(len(places) * 44 / (WIDTH - LEFT - RIGHT)))
    for place, x in enumerate(places):
        start = LEFT + place * slot
        if place % every == 0:
            frame.x_tick(start + slot / 2, _number(x), grid=False)
        for index, points in enumerate(kept.values()):
            y = points.get(x, 0.0)
            if log_y and y <= 0:
                continue
            top, low = sorted((y_at(y), floor))
            left = start + gap / 2 + index * wide
            frame.add(
                f'<rect class="f{index % len(LIGHT)}" x="{left:.2f}"'
                f' y="{top:.1f}" width="{max(wide - 0.6, 0.6):.2f}"'
                f' height="{low - top:.1f}"/>'
            )
    frame.write(path)


class _Frame:
    """
    The part every picture has: title, legend, axes.
    """

    def __init__(
        self, title: str, x_label: str, y_label: str, names: list[str]
    ) -> None:
        if not names:
            msg = f"The picture {title!r} has no points. Give at least one series."
            raise ValueError(msg)
        self._names = names
        self._parts: list[str] = []
        self._title = title
        legend, row = [], 0
        x = float(LEFT)
        for index, name in enumerate(names):
            room = 50 + 8 * len(name)
            if x + room > WIDTH - RIGHT and x > LEFT:
                x, row = float(LEFT), row + 1
            y = 52 + row * 20
            tone = index % len(LIGHT)
            legend += [
                f'<path class="line s{tone}" d="M{x:.0f} {y - 4}h24"/>',
                f'<text x="{x + 30:.0f}" y="{y}">{html.escape(name)}</text>',
            ]
            x += room
        self.ceiling = 72.0 + row * 20
        self.floor = float(HEIGHT - BOTTOM)
        middle = (self.ceiling + self.floor) / 2
        self.add(
            f'<text class="title" x="{LEFT}" y="28">{html.escape(title)}</text>',
            *legend,
            f'<text class="label" x="{(LEFT + WIDTH - RIGHT) / 2:.0f}"'
            f' y="{HEIGHT - 16}">{html.escape(x_label)}</text>',
            f'<text class="label" transform="translate(20 {middle:.0f}) rotate(-90)">'
            f"{html.escape(y_label)}</text>",
        )

    def add(self, *parts: str) -> None:
        self._parts += parts

    def x_tick(self, x: float, text: str, *, grid: bool) -> None:
        if grid:
            self.add(
                f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}"'
                f' y1="{self.ceiling}" y2="{self.floor}"/>'
            )
        self.add(f'<text class="label" x="{x:.1f}" y="{self.floor + 18}">{text}</text>')

    def x_axis(
        self, ticks: list[float], *, log: bool, tight: tuple[float, float]
    ) -> Scale:
        """
        Draws the ticks inside the data's own range, and says where an x goes.
        """
        place = _scale(*tight, LEFT + 8, WIDTH - RIGHT - 8, log=log)
        for tick in ticks:
            if tight[0] <= tick <= tight[1]:
                self.x_tick(place(tick), _number(tick), grid=True)
        return place

    def y_axis(self, ticks: list[float], *, log: bool) -> Scale:
        place = _scale(ticks[0], ticks[-1], self.floor, self.ceiling, log=log)
        for tick in ticks:
            y = place(tick)
            self.add(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}"'
                f' y1="{y:.1f}" y2="{y:.1f}"/>',
                f'<text class="number" x="{LEFT - 8}" y="{y + 4:.1f}">'
                f"{_number(tick)}</text>",
            )
        return place

    def write(self, path: str | Path) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        body = "\n".join(self._parts)
        axes = (
            f'<path class="axis" d="M{LEFT} {self.ceiling}V{self.floor}'
            f'H{WIDTH - RIGHT}"/>'
        )
        target.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}"'
            f' viewBox="0 0 {WIDTH} {HEIGHT}" role="img">\n'
            f"<title>{html.escape(self._title)}</title>\n"
            f"<style>\n{_style()}</style>\n"
            f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="8"/>\n'
            f"{body}\n{axes}\n</svg>\n"
        )


def _style() -> str:
    shared = (
        f"text {{ font: 13px {FONT}; fill: #24292f; }}\n"
        ".title { font-size: 17px; font-weight: 600; }\n"
        ".label { text-anchor: middle; }\n"
        ".number { text-anchor: end; }\n"
        ".paper { fill: #ffffff; }\n"
        ".grid { stroke: #e3e6ea; stroke-width: 1; }\n"
        ".axis { fill: none; stroke: #6e7781; stroke-width: 1.2; }\n"
        ".line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }\n"
    )
    dashes = "".join(
        f".s{tone} {{ stroke-dasharray: {dash}; }}\n"
        for tone, dash in enumerate(DASHES)
    )
    dark = (
        "text { fill: #e6edf3; }\n.paper { fill: #0d1117; }\n"
        ".grid { stroke: #2b323b; }\n.axis { stroke: #8b949e; }\n"
    )
    return (
        f"{shared}{_tones(LIGHT)}{dashes}.s0 {{ stroke-width: 3; }}\n"
        f"@media (prefers-color-scheme: dark) {{\n{dark}{_tones(DARK)}}}\n"
    )


def _tones(palette: Iterable[str]) -> str:
    return "".join(
        f".s{tone} {{ stroke: {colour}; }} .f{tone} {{ fill: {colour}; }}\n"
        for tone, colour in enumerate(palette)
    )


def _scale(low: float, high: float, start: float, end: float, *, log: bool) -> Scale:
    """
    Where on the picture a value goes.
    """
    shape: Scale = math.log10 if log else float
    first, last = shape(low), shape(high)
    width = (last - first) or 1.0
    return lambda value: start + (shape(value) - first) / width * (end - start)


def _with_zero(values: list[float]) -> list[float]:
    """
    The axis begins at zero unless that would flatten the curves.
    """
    return [0.0, *values] if 0 < min(values) < 0.4 * max(values) else values


def _ticks(values: Sequence[float], *, log: bool) -> list[float]:
    """
    Round numbers around all the values: steps of 1, 2 or 5, or powers of ten.
    """
    low, high = min(values), max(values)
    if log:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        digits = (1,) if last - first > 3 else (1, 2, 5)
        every = [n * 10.0**p for p in range(first, last + 1) for n in digits]
        begin = max((t for t in every if t <= low * 1.000001), default=every[0])
        end = min((t for t in every if t >= high * 0.999999), default=every[-1])
        return [t for t in every if begin <= t <= end]
    if low == high:
        low, high = min(0.0, low), high or 1.0
    rough = (high - low) / 6
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(n * size for n in (1, 2, 5, 10) if n * size >= rough * 0.999999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [n * step for n in range(first, last + 1)]


def _number(value: float) -> str:
    if value and abs(value) < 0.001:
        return f"{value:.0e}"
    return f"{round(value, 6):,.10g}".replace("-", "−")
