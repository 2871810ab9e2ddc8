"""
Child processes of asyncio.
"""

from __future__ import annotations

from typing import Any

from memguard._adopt.aio import OnLoop
from memguard._adopt.loaded import loaded_types
from memguard.typing import Measured

__all__ = ("ADAPTERS",)


class _Child(OnLoop):
    """
    A child process of asyncio: asked to end, waited for; forcing it kills it.
    """

    kind = "process"
    phase = "process"
    cannot = (
        "a child process has nothing that could be capped from here; give it a limit"
        " when it starts, with resource.setrlimit or a cgroup"
    )
    must_close = True
    forces = True

    def transport(self, obj: Any) -> Any:
        return obj

    def returncode(self, obj: Any) -> int | None:
        code: int | None = obj.get_returncode()
        return code

    def measure(self, obj: Any) -> Measured:
        state = "running" if self.is_open(obj) else "ended"
        return Measured(entries=int(state == "running"), details={"state": state})

    async def close(self, obj: Any) -> None:
        transport = self.transport(obj)
        if self.returncode(obj) is None:
            try:
                obj.terminate()
            except ProcessLookupError:
                pass  # it has ended this very moment, and is waited for as well
            await transport._wait()
        transport.close()

    def force(self, obj: Any) -> None:
        # A transport kills its child when it is closed.
        self.transport(obj).close()

    def is_open(self, obj: Any) -> bool:
        return self.returncode(obj) is None


class ProcessTransport(_Child):
    """
    What `loop.subprocess_exec` gives: asked to end, waited for, else killed.
    """

    def types(self) -> tuple[type, ...]:
        return loaded_types("asyncio.transports:SubprocessTransport")


class Process(_Child):
    """
    What `asyncio.create_subprocess_exec` gives: asked to end, waited for, else killed.
    """

    def types(self) -> tuple[type, ...]:
        return loaded_types("asyncio.subprocess:Process")

    def transport(self, obj: Any) -> Any:
        return obj._transport

    def returncode(self, obj: Any) -> int | None:
        code: int | None = obj.returncode
        return code


ADAPTERS = (ProcessTransport(), Process())
