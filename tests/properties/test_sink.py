"""
A sink against what was written to it: any JSON, any bounds.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings, strategies as st

from memguard import Guard
from memguard.testing import FakeClock

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
STEPS = st.lists(st.tuples(JSON, st.sampled_from(["", "", "flush", "wait"])))


@settings(max_examples=80, deadline=None)
@given(
    STEPS, st.integers(60, 400), st.integers(0, 3), st.integers(1, 200), st.booleans()
)
def test_the_newest_records_in_their_order(
    steps: list[tuple[Any, str]],
    rotate_bytes: int,
    keep: int,
    buffer_bytes: int,
    started: bool,
) -> None:
    """
    What is on disk in the end is the end of what was written, in whole lines and
    within the bounds; what is missing was rotated away.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.jsonl"
        clock = FakeClock()
        guard = Guard(clock=clock)
        if started:
            guard.start()
        sink = guard.sink(
            path, rotate_bytes=rotate_bytes, keep=keep, buffer_bytes=buffer_bytes
        )
        written = []
        for record, then in steps:
            try:
                sink.write(record)
            except ValueError:  # larger than a file
                assert len(json.dumps(record)) >= rotate_bytes // 2
                continue
            written.append(record)
            if then == "flush":
                sink.flush()
                assert 0 == sink.info().buffered
            elif then == "wait" and started:
                clock.advance("1s")
                assert 0 == sink.info().buffered
        sink.close()
        guard.shutdown()
        files = [path.with_name(f"out.jsonl.{number}") for number in range(keep, 0, -1)]
        found = []
        for file in [one for one in (*files, path) if one.exists()]:
            text = file.read_bytes()
            assert len(text) <= rotate_bytes
            assert text.endswith(b"\n")
            found += [json.loads(line) for line in text.decode().split("\n")[:-1]]
        assert len(list(Path(folder).iterdir())) <= keep + 1
        assert written[len(written) - len(found) :] == found
        assert sink.info().rotations or len(written) == len(found)
        assert len(written) == sink.info().records
