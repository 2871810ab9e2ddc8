"""
Where a shutdown's report goes: the log, and a file if the settings name one.

The file gets one JSON line a shutdown, is created with mode 0600, and is appended to,
so that all workers of a service may share it. A Kubernetes termination log works.
"""

from __future__ import annotations

import logging
import os
from typing import Final

from memguard._lifecycle.report import ShutdownReport

__all__ = ("tell",)

_LOG: Final = logging.getLogger("memguard")
_APPEND: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def tell(report: ShutdownReport, path: str | None) -> None:
    """
    Log the report (a warning unless it is clean) and append it to *path*.

    A file that cannot be written is logged; a shutdown never fails over its report.
    """
    level = logging.INFO if report.clean and not report.failing() else logging.WARNING
    _LOG.log(level, "%s", report)
    if path is None:
        return
    try:
        import json

        line = (json.dumps(report.to_dict()) + "\n").encode()
        # A named pipe that nobody reads would block for ever.
        fd = os.open(path, _APPEND | os.O_NONBLOCK, 0o600)
        try:
            # One write of one line: O_APPEND keeps lines of several workers whole.
            written = os.write(fd, line)
        finally:
            os.close(fd)
    except (OSError, ImportError) as error:  # without descriptors neither works
        _not_written(getattr(error, "strerror", None) or "json cannot be loaded")
    else:
        if written < len(line):
            _not_written("no space left")


def _not_written(reason: str | None) -> None:
    _LOG.warning(
        "memguard: the shutdown report could not be written (%s); name a file in an"
        " existing, writable directory as report_file",
        reason,
    )
