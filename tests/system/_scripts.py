"""
Small programs in processes of their own, led to a line and then to their end.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap
from time import monotonic
from typing import TYPE_CHECKING

from tests.conftest import child_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from typing_extensions import Self

DEADLINE_S = 20.0


class Script:
    """
    A running interpreter; what it prints is read as it comes.

    As a context manager it kills what is left of the process group at the end.
    """

    def __init__(
        self,
        code: str,
        *args: str,
        env: Mapping[str, str | None] | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-u", *options, "-c", textwrap.dedent(code), *args],
            env=child_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.text = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    def _read(self, seconds: float) -> bool:
        """
        Wait for more output; False when there was none, or will be none any more.
        """
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], max(0.0, seconds))[0]:
            return False
        part = os.read(self.process.stdout.fileno(), 65536)
        self.text += part.decode(errors="replace")
        return bool(part)

    def wait_for(self, line: str) -> None:
        """
        Read on until that line was printed.
        """
        while line not in self.lines:
            if not self._read(DEADLINE_S):
                msg = f"{line!r} never came:\n{self.text}"
                raise AssertionError(msg)

    def signal(self, number: int = signal.SIGTERM) -> float:
        """
        Send a signal; returns when that was.
        """
        sent = monotonic()
        self.process.send_signal(number)
        return sent

    def end(self, deadline: float = DEADLINE_S) -> int:
        """
        Wait for the end, reading what it prints; returns the status.
        """
        end = monotonic() + deadline
        while self._read(end - monotonic()):
            pass
        try:
            return self.process.wait(max(0.0, end - monotonic()))
        except subprocess.TimeoutExpired:
            msg = f"it did not end in {deadline} s:\n{self.text}"
            raise AssertionError(msg) from None
