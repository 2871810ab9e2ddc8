"""
Sizes and durations, from and to text. Pure.

Numbers are read digit by digit with integers only: "0.1s" is one tenth of a second,
and no locale, no exponent and no foreign digit gets in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

__all__ = (
    "DurationLike",
    "SupportsTotalSeconds",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
    "shown",
)

_BINARY: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_DECIMAL: Final = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
# Kubernetes writes binary sizes without the B. Case does not matter in a size.
_SIZES: Final = {
    "b": 1,
    **{unit.lower(): factor for unit, factor in (_BINARY | _DECIMAL).items()},
    **{unit[:2].lower(): factor for unit, factor in _BINARY.items()},
}
_SIZE_HINT: Final = '"64MiB", "1.5GB" or a whole number of bytes'
_MAX_SIZE: Final = (1 << 63) - 1

# Nanoseconds, so that sums stay exact. Case matters: a capital M might be a month.
_TIMES: Final = {
    "d": 86_400 * 10**9,
    "h": 3_600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
}
_TIME_HINT: Final = '"500ms", "30s", "10m", "1h30m" or a number of seconds'
# 100 years: more than any process lives, less than what a thread can wait.
_MAX_DURATION: Final = 36_500 * 86_400
_MAX_TEXT: Final = 40


class SupportsTotalSeconds(Protocol):
    """
    What `datetime.timedelta` is, without importing it.
    """

    def total_seconds(self) -> float:
        """
        The whole span in seconds.
        """


DurationLike: TypeAlias = float | int | str | SupportsTotalSeconds


def parse_size(value: int | str, *, what: str = "size") -> int:
    """
    Bytes, 0 or more, from a whole number or from a text such as "64MiB".

    KiB, MiB, GiB, TiB (and Ki, Mi, Gi, Ti) are powers of 1024; kB, MB, GB, TB powers
    of 1000; a text without a unit is bytes. "64M" is refused: to some tools it is
    the one, to some the other. A fraction of a byte is dropped. Raises ValueError,
    which names *what*.
    """
    if isinstance(value, str):
        size = _size_of(value, what)
    elif isinstance(value, bool) or not hasattr(value, "__index__"):
        raise _refused(what, "a size", value, _SIZE_HINT)
    else:
        size = value.__index__()
    if size < 0:
        raise _refused(what, "a size", value, _SIZE_HINT, "it is negative")
    if size > _MAX_SIZE:
        reason = "it is more than a process can address"
        raise _refused(what, "a size", value, _SIZE_HINT, reason)
    return size


def _size_of(text: str, what: str) -> int:
    pairs, reason = _quantities(text)
    if reason is None and len(pairs) != 1:
        reason = "more than one number"
    if reason is None:
        digits, decimals, unit = pairs[0]
        factor = _SIZES.get(unit.lower() or "b")
        if factor is not None and (factor > 1 or not int(decimals or 0)):
            return _scaled(digits, decimals, factor)
        if factor is not None:
            reason = "not a whole number of bytes"
        elif unit.upper() in ("K", "M", "G", "T"):
            letter = unit.upper()
            reason = (
                f"{unit!r} is ambiguous, write {letter}iB (powers of 1024)"
                f" or {letter}B (powers of 1000)"
            )
        else:
            reason = _unknown_unit(unit, ("B", *_DECIMAL, *_BINARY))
    raise _refused(what, "a size", text, _SIZE_HINT, reason)


def parse_duration(value: DurationLike, *, what: str = "duration") -> float:
    """
    Seconds, 0 or more, from a number, a timedelta or a text such as "1h30m".

    Units are d, h, m (minutes), s, ms and us, each at most once and the largest first;
    a text without a unit is seconds. Raises ValueError, which names *what*.
    """
    if isinstance(value, str):
        seconds = _seconds_of(value, what)
    elif isinstance(value, float):
        seconds = float(value)
    elif isinstance(value, bool):
        raise _refused(what, "a duration", value, _TIME_HINT)
    elif hasattr(value, "total_seconds"):
        seconds = float(value.total_seconds())
    elif hasattr(value, "__float__"):
        try:
            seconds = float(value)
        except OverflowError:
            seconds = math.inf
        except (TypeError, ValueError):
            raise _refused(what, "a duration", value, _TIME_HINT) from None
    else:
        raise _refused(what, "a duration", value, _TIME_HINT)
    if math.isnan(seconds):
        raise _refused(what, "a duration", value, _TIME_HINT, "it is not a number")
    if seconds < 0:
        raise _refused(what, "a duration", value, _TIME_HINT, "it is negative")
    if seconds > _MAX_DURATION:
        reason = "it is longer than 100 years; leave it out to have no limit"
        raise _refused(what, "a duration", value, _TIME_HINT, reason)
    return seconds


def _seconds_of(text: str, what: str) -> float:
    pairs, reason = _quantities(text)
    if reason is None:
        nanoseconds, last = 0, math.inf
        for digits, decimals, unit in pairs:
            factor = _TIMES.get(unit or ("s" if len(pairs) == 1 else ""))
            if factor is None:
                reason = _unknown_unit(unit, tuple(_TIMES))
                break
            if factor >= last:
                reason = "each unit may stand once, the largest first"
                break
            last = factor
            nanoseconds += _scaled(digits, decimals, factor)
        else:
            return nanoseconds / 10**9
    raise _refused(what, "a duration", text, _TIME_HINT, reason)


_QUARTERS: Final = ("", ".25", ".5", ".75")


def format_size(size: float, *, exact: bool = False) -> str:
    """
    Bytes as a text with a binary unit, to three digits: "1.18MiB".

    With *exact* it is the shortest text that `parse_size` turns back into the same
    number: "64MiB", "1.5GiB", "1234567B". Negative sizes (differences) are allowed.
    """
    if size < 0:
        return "-" + format_size(-size, exact=exact)
    for unit, factor in reversed(_BINARY.items()):
        if exact:
            if size >= factor and size * 4 % factor == 0:
                whole, quarters = divmod(int(size * 4 // factor), 4)
                return f"{whole}{_QUARTERS[quarters]}{unit}"
        # 1023.7 KiB would be shown as 1024KiB, which is 1MiB.
        elif size >= factor - (factor >> 11):
            return f"{_three_digits(size / factor)}{unit}"
    return f"{round(size)}B"


def format_duration(seconds: float) -> str:
    """
    Seconds as a text that `parse_duration` reads: "1h30m", "25s", "12.3ms".

    Exact to the millisecond, below one second to the microsecond. Negative ones
    (differences) are allowed.
    """
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if (micros := round(seconds * 10**6)) < 1000:
        return f"{micros}us" if micros else "0s"
    if micros < 999_500:
        return f"{_plain(micros / 1000)}ms"
    left = round(seconds * 1000)
    text = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        count, left = divmod(left, size)
        text += f"{count}{unit}" if count else ""
    return text + (f"{_plain(left / 1000)}s" if left else "")


def shown(value: object) -> str:
    """
    A setting for an error text: short texts and numbers as they are, else the type.
    """
    if isinstance(value, str):
        return repr(value if len(value) <= _MAX_TEXT else value[:_MAX_TEXT] + "...")
    if value is None or isinstance(value, (bool, float)):
        return repr(value)
    if isinstance(value, int):
        # Very long integers have no text from Python 3.11 on.
        return repr(value) if abs(value) < 10**30 else "an int of over 30 digits"
    kind = type(value).__name__
    return f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


# -- reading numbers -------------------------------------------------------------------


def _quantities(text: str) -> tuple[list[tuple[str, str, str]], str | None]:
    """
    The (digits, decimals, unit) in *text*, and why it cannot be read.
    """
    rest = text.strip()
    if not rest:
        return [], "it is empty"
    if len(rest) > _MAX_TEXT:
        return [], "it is too long"
    if rest.startswith("-"):
        return [], "it is negative"
    found = []
    while rest:
        digits, rest = _take(rest, _is_digit)
        decimals = ""
        if rest.startswith("."):
            decimals, rest = _take(rest[1:], _is_digit)
            if not decimals:
                return [], "a digit is missing after the point"
        if not digits:
            return [], "a number is missing"
        unit, rest = _take(rest.lstrip(), _is_unit)
        rest = rest.lstrip()
        found.append((digits, decimals, unit))
    return found, None


def _take(text: str, accept: Callable[[str], bool]) -> tuple[str, str]:
    end = 0
    while end < len(text) and accept(text[end]):
        end += 1
    return text[:end], text[end:]


def _is_digit(char: str) -> bool:
    return "0" <= char <= "9"


def _is_unit(char: str) -> bool:
    return not (_is_digit(char) or char.isspace() or char == ".")


def _scaled(digits: str, decimals: str, factor: int) -> int:
    return int(digits + decimals) * factor // int(10 ** len(decimals))


def _unknown_unit(unit: str, units: tuple[str, ...]) -> str:
    known = ", ".join(units)
    return f"its unit {unit!r} is none of {known}" if unit else f"add one of {known}"


def _refused(
    what: str, kind: str, value: object, hint: str, reason: str | None = None
) -> ValueError:
    because = f" ({reason})" if reason else ""
    return ValueError(
        f"{what} must be {kind} such as {hint}, not {shown(value)}{because}"
    )


# -- writing numbers -------------------------------------------------------------------


def _plain(number: float) -> str:
    return f"{number:.6f}".rstrip("0").rstrip(".")


def _three_digits(number: float) -> str:
    decimals = 0 if number >= 99.95 else 1 if number >= 9.995 else 2
    text = f"{number:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
