"""
uvicorn's own command line, with its signal handler made countable.
"""

from __future__ import annotations

from types import FrameType

import evidence
import uvicorn

_handle_exit = uvicorn.Server.handle_exit


def counted(self: uvicorn.Server, sig: int, frame: FrameType | None) -> None:
    evidence.note("previous")
    _handle_exit(self, sig, frame)


uvicorn.Server.handle_exit = counted  # type: ignore[method-assign]

if __name__ == "__main__":
    uvicorn.main()
