"""
What asyncio makes: tasks, futures, handles, servers, connections.

Everything here belongs to one event loop and is closed on it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from memguard._adopt.asking import task_asks
from memguard._adopt.loaded import loaded_types
from memguard.typing import Adapter, Measured

__all__ = ("ADAPTERS", "OnLoop")

_WAIT_S: Final = 30.0


class OnLoop(Adapter):
    """
    What all of them have in common.
    """

    affinity = "loop"
    module = "asyncio"
    must_close = False

    def loop_of(self, obj: Any) -> Any:
        return getattr(obj, "_loop", None)


class Future(OnLoop):
    """
    An `asyncio.Future`: pending, done or cancelled. Closing it cancels it.
    """

    kind = "task"
    phase = "work"
    cannot = (
        "a task or a future has nothing to cap; how many there are at a time is for"
        " memguard.limiter"
    )

    def types(self) -> tuple[type, ...]:
        return loaded_types(
            "_asyncio:Future", "asyncio.futures:Future", "asyncio.futures:_PyFuture"
        )

    def loop_of(self, obj: Any) -> Any:
        return obj.get_loop()

    def measure(self, obj: Any) -> Measured:
        state = "pending"
        if obj.done():
            state = "cancelled" if obj.cancelled() else "done"
        return Measured(entries=int(state == "pending"), details={"state": state})

    def is_open(self, obj: Any) -> bool:
        return not obj.done()

    async def close(self, obj: Any) -> None:
        obj.cancel()


class Task(Future):
    """
    An `asyncio.Task`: pending, done or cancelled, and the name of its coroutine.

    Closing it cancels it and waits for its end. One that asked for the shutdown, or
    waits for it, goes on to its own end.
    """

    def types(self) -> tuple[type, ...]:
        return loaded_types(
            "_asyncio:Task", "asyncio.tasks:Task", "asyncio.tasks:_PyTask"
        )

    def label(self, obj: Any) -> str:
        coro = obj.get_coro()
        return str(getattr(coro, "__qualname__", type(coro).__qualname__))

    async def close(self, obj: Any) -> None:
        asyncio = sys.modules["asyncio"]
        if obj.done() or obj is asyncio.current_task() or task_asks(obj):
            return
        obj.cancel()
        await asyncio.wait([obj], timeout=_WAIT_S)


class Handle(OnLoop):
    """
    What `call_later` and `call_at` gave: cancelled or not, and seconds until it is due.

    uvloop does not tell the latter.
    """

    kind = "timer"
    phase = "timers"
    cannot = (
        "a call that waits has nothing to cap; memguard.timer counts those it skips"
        " while one still runs"
    )

    def types(self) -> tuple[type, ...]:
        return loaded_types(
            "asyncio.events:Handle", "uvloop.loop:Handle", "uvloop.loop:TimerHandle"
        )

    def measure(self, obj: Any) -> Measured:
        if obj.cancelled():
            return Measured(entries=0, details={"state": "cancelled"})
        when = getattr(obj, "when", None)
        loop = self.loop_of(obj)
        due = None if when is None or loop is None else when() - loop.time()
        if due is not None and due <= 0.0:
            # It does not say whether it has been called; that is a matter of moments.
            return Measured(entries=0, details={"state": "called", "due_in_s": None})
        return Measured(entries=1, details={"state": "waiting", "due_in_s": due})

    def close(self, obj: Any) -> None:
        obj.cancel()

    def is_open(self, obj: Any) -> bool:
        return bool(self.measure(obj).entries)


class Server(OnLoop):
    """
    An asyncio server: its open connections. Closing it takes no new ones.
    """

    kind = "server"
    phase = "stop_intake"
    cannot = (
        "an asyncio server accepts whoever connects; let its callback take a memguard"
        " limiter, and give listen() a smaller backlog"
    )

    def types(self) -> tuple[type, ...]:
        return loaded_types("asyncio.events:AbstractServer", "uvloop.loop:Server")

    def measure(self, obj: Any) -> Measured:
        # A set of them since 3.12.1, before that their number.
        clients = getattr(obj, "_clients", None)
        count = getattr(obj, "_active_count", None) if clients is None else len(clients)
        sockets = getattr(obj, "sockets", None) or ()
        return Measured(entries=count, details={"sockets": len(sockets)})

    def close(self, obj: Any) -> None:
        obj.close()

    def is_open(self, obj: Any) -> bool:
        return bool(getattr(obj, "sockets", None))


class Transport(OnLoop):
    """
    Any transport: the bytes that wait to be sent, and the mark at which drain() waits.
    """

    kind = "connection"
    cannot = (
        "what waits to be sent is bounded by whoever awaits drain(): the transport's"
        " set_write_buffer_limits says from which size on"
    )
    must_close = True
    forces = True

    def types(self) -> tuple[type, ...]:
        return loaded_types("asyncio.transports:BaseTransport")

    def transport(self, obj: Any) -> Any:
        return obj

    def loop_of(self, obj: Any) -> Any:
        return getattr(self.transport(obj), "_loop", None)

    def measure(self, obj: Any) -> Measured:
        transport = self.transport(obj)
        size = getattr(transport, "get_write_buffer_size", None)
        limits = getattr(transport, "get_write_buffer_limits", None)
        return Measured(
            entries=int(self.is_open(obj)),
            bytes=None if size is None else size(),
            byte_limit=None if limits is None else limits()[1],
        )

    def weigh(self, obj: Any) -> int | None:
        return self.measure(obj).bytes

    def close(self, obj: Any) -> Any:
        obj.close()

    def force(self, obj: Any) -> None:
        transport = self.transport(obj)
        getattr(transport, "abort", transport.close)()

    def is_open(self, obj: Any) -> bool:
        return not self.transport(obj).is_closing()


class Writer(Transport):
    """
    A `StreamWriter`: as its transport. Closing it sends what waits, and waits for that.
    """

    def types(self) -> tuple[type, ...]:
        return loaded_types("asyncio.streams:StreamWriter")

    def transport(self, obj: Any) -> Any:
        return obj.transport

    async def close(self, obj: Any) -> None:
        obj.close()
        try:
            await obj.wait_closed()
        except ConnectionError:
            return  # the other side was faster: it is closed all the same


ADAPTERS = (
    Task(),
    Future(),
    Handle(),
    Server(),
    Writer(),
    Transport(),
)
