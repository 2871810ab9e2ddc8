from __future__ import annotations

import math
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, strategies as st

from memguard._settings import (
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

SIZES = [
    (0, 0),
    (4096, 4096),
    ("4096", 4096),
    ("0", 0),
    ("12B", 12),
    ("64MiB", 64 << 20),
    ("64 mib", 64 << 20),
    ("64Mi", 64 << 20),
    (" 3 KiB ", 3072),
    ("1.5GB", 1_500_000_000),
    ("1.5 GiB", 3 << 29),
    ("2TB", 2 * 10**12),
    ("0.1KiB", 102),
    ("1kB", 1000),
    ("1KB", 1000),
    ("0.5TiB", 1 << 39),
    ("1.0B", 1),
]

DURATIONS = [
    (0, 0.0),
    (2, 2.0),
    (0.25, 0.25),
    (Decimal("0.5"), 0.5),
    (Fraction(1, 4), 0.25),
    (timedelta(minutes=1), 60.0),
    ("30", 30.0),
    ("30s", 30.0),
    ("500ms", 0.5),
    ("20us", 0.00002),
    ("0.1s", 0.1),
    ("1.5h", 5400.0),
    ("1h30m", 5400.0),
    ("1h 30m", 5400.0),
    ("2d", 172_800.0),
    ("1d2h3m4s5ms", 93_784.005),
]

BAD_SIZES = [
    (True, "not True"),
    (None, "not None"),
    (1.5, "not 1.5"),
    (-1, "it is negative"),
    (b"1MiB", "not a bytes"),
    ([1], "not a list"),
    ("", "it is empty"),
    ("   ", "it is empty"),
    ("-1MiB", "it is negative"),
    ("MiB", "a number is missing"),
    ("1.MiB", "a digit is missing after the point"),
    ("1.5", "not a whole number of bytes"),
    ("1e6", "more than one number"),
    ("1MiB 2KiB", "more than one number"),
    ("64M", "write MiB (powers of 1024) or MB (powers of 1000)"),
    ("64k", "'k' is ambiguous"),
    ("5 parsecs", "its unit 'parsecs' is none of B, kB"),
    ("nan", "a number is missing"),
    ("\N{ARABIC-INDIC DIGIT THREE}MB", "a number is missing"),
    ("9" * 60, "it is too long"),
    (1 << 63, "more than a process can address"),
    (10**50, "an int of over 30 digits"),
    ("9999999999TiB", "more than a process can address"),
]

BAD_DURATIONS = [
    (True, "not True"),
    (None, "not None"),
    (math.nan, "it is not a number"),
    (math.inf, "leave it out to have no limit"),
    (-math.inf, "it is negative"),
    (-0.1, "it is negative"),
    (timedelta(seconds=-1), "it is negative"),
    (10**400, "longer than 100 years"),
    ("101y", "its unit 'y' is none of d, h, m, s, ms, us"),
    ("40000d", "longer than 100 years"),
    (b"1s", "not a bytes"),
    ({}, "not a dict"),
    ("", "it is empty"),
    ("-5s", "it is negative"),
    ("10M", "its unit 'M' is none of"),
    ("30m1h", "the largest first"),
    ("1m1m", "each unit may stand once"),
    ("1h30", "add one of d, h"),
    ("PT1H", "a number is missing"),
    ("nan", "a number is missing"),
    ("1..5s", "a digit is missing"),
]


@pytest.mark.parametrize(("written", "size"), SIZES)
def test_a_size_is_read(written: Any, size: int) -> None:
    """
    Bytes from numbers and from every unit that has one meaning.
    """
    found = parse_size(written)
    assert (size, int) == (found, type(found))


@pytest.mark.parametrize(("written", "seconds"), DURATIONS)
def test_a_duration_is_read(written: Any, seconds: float) -> None:
    """
    Seconds from numbers, timedeltas and texts, without a rounding error of their sum.
    """
    found = parse_duration(written)
    assert (seconds, float) == (found, type(found))


@pytest.mark.parametrize(("written", "reason"), BAD_SIZES)
def test_a_bad_size_is_refused_with_its_reason(written: Any, reason: str) -> None:
    """
    The text names the argument, shows what is possible and says what is wrong.
    """
    with pytest.raises(
        ValueError, match=r"^max_bytes must be a size such as"
    ) as caught:
        parse_size(written, what="max_bytes")
    assert reason in str(caught.value)


@pytest.mark.parametrize(("written", "reason"), BAD_DURATIONS)
def test_a_bad_duration_is_refused_with_its_reason(written: Any, reason: str) -> None:
    """
    The text names the argument, shows what is possible and says what is wrong.
    """
    with pytest.raises(ValueError, match=r"^ttl must be a duration such as") as caught:
        parse_duration(written, what="ttl")
    assert reason in str(caught.value)


def test_a_number_that_refuses_to_be_one_is_refused_as_any_other() -> None:
    """
    An object whose conversion fails raises ValueError, not its own error.
    """

    class Odd:
        def __float__(self) -> float:
            raise TypeError

    with pytest.raises(ValueError, match="not an Odd"):
        parse_duration(Odd())  # type: ignore[arg-type]


@given(st.integers(0, (1 << 63) - 1))
def test_an_exact_size_survives_its_text(size: int) -> None:
    """
    What `format_size(exact=True)` writes, `parse_size` reads back.
    """
    assert size == parse_size(format_size(size, exact=True))


@given(st.integers(0, 1 << 20), st.sampled_from([10, 20, 30, 40]))
def test_a_size_in_a_unit_is_written_shortly(quarters: int, power: int) -> None:
    """
    Whole and quarter units keep their unit instead of turning into a row of digits.
    """
    size = quarters << (power - 2)
    text = format_size(size, exact=True)
    assert size == parse_size(text)
    assert len(text) <= len("262144.75KiB")


@given(st.integers(0, 1 << 62))
def test_a_rounded_size_is_off_by_half_a_percent_at_most(size: int) -> None:
    """
    Three digits, and at most ten characters ("1023KiB"), for any size below 1024 TiB.
    """
    text = format_size(size)
    assert parse_size(text) == pytest.approx(size, rel=0.0051)
    if size < 1 << 50:
        assert len(text) <= len("1023.9MiB")


@given(st.integers(0, 36_500 * 86_400_000))
def test_a_duration_of_whole_milliseconds_survives_its_text(ms: int) -> None:
    """
    What `format_duration` writes, `parse_duration` reads back, to the last bit.
    """
    assert ms / 1000 == parse_duration(format_duration(ms / 1000))


@given(st.floats(0, 1e9))
def test_any_duration_is_written_to_the_millisecond(seconds: float) -> None:
    """
    Rounding goes to the millisecond, below one second to the microsecond.
    """
    precision = 0.000_000_6 if seconds < 0.99 else 0.000_6
    again = parse_duration(format_duration(seconds))
    assert again == pytest.approx(seconds, abs=precision)


@given(st.text(max_size=50))
def test_any_text_is_read_or_refused(text: str) -> None:
    """
    No text raises anything but ValueError, and no result is negative or infinite.
    """
    for parse in (parse_size, parse_duration):
        with suppress(ValueError):
            assert 0 <= parse(text) < math.inf


@given(
    st.floats()
    | st.integers()
    | st.booleans()
    | st.none()
    | st.timedeltas()
    | st.decimals()
)
def test_any_number_is_read_or_refused(number: Any) -> None:
    """
    The same for what is no text.
    """
    for parse in (parse_size, parse_duration):
        with suppress(ValueError):
            assert 0 <= parse(number) < math.inf


FORMATTED_SIZES = [
    (0, "0B"),
    (1023, "1023B"),
    (1024, "1KiB"),
    (1_234_567, "1.18MiB"),
    (12_345_678, "11.8MiB"),
    (123_456_789, "118MiB"),
    ((1 << 20) - 1, "1MiB"),
    (-2048, "-2KiB"),
    (1536.0, "1.5KiB"),
]

FORMATTED_DURATIONS = [
    (0, "0s"),
    (1e-9, "0s"),
    (0.00002, "20us"),
    (0.0123, "12.3ms"),
    (0.9999, "1s"),
    (1.25, "1.25s"),
    (59.9999, "1m"),
    (90, "1m30s"),
    (5400, "1h30m"),
    (-90, "-1m30s"),
    (86_401, "1d1s"),
]


@pytest.mark.parametrize(("size", "text"), FORMATTED_SIZES)
def test_a_size_for_people(size: float, text: str) -> None:
    """
    Three digits, binary units, differences with their sign.
    """
    assert text == format_size(size)


@pytest.mark.parametrize(("seconds", "text"), FORMATTED_DURATIONS)
def test_a_duration_for_people(seconds: float, text: str) -> None:
    """
    The largest units first, and none that is zero.
    """
    assert text == format_duration(seconds)
