"""
A small HTTP/1.1 server for tests of clients: it keeps connections, and counts them.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

WITHIN = 5.0
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n\r\nok"


class HttpServer:
    """
    Serves on a thread of its own. `/hold` answers when `release()` is called.

    `open` are the connections that it has now, `held` the requests it holds.
    """

    def __init__(self) -> None:
        self.open = 0
        self.most = 0
        self.held = 0
        self.port = 0
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http of a test")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(WITHIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(WITHIN)
        assert not self._thread.is_alive()

    def release(self) -> None:
        """
        Answer the requests that are held, and all that come later.
        """
        self._loop.call_soon_threadsafe(self._go.set)

    def wait_for(self, *, held: int | None = None, open: int | None = None) -> None:
        """
        Come back when it is so; fails after five seconds.
        """

        def so() -> bool:
            return held in (None, self.held) and open in (None, self.open)

        with self._changed:
            assert self._changed.wait_for(so, WITHIN), (self.held, self.open)

    # -- on the thread -----------------------------------------------------------------

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._end, self._go = asyncio.Event(), asyncio.Event()
        self._at_work: set[asyncio.Task[None] | None] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._end.wait()
        server.close()
        for task in self._at_work:
            assert task is not None
            task.cancel()

    def _note(self, *, open: int = 0, held: int = 0) -> None:
        with self._changed:
            self.open += open
            self.held += held
            self.most = max(self.most, self.open)
            self._changed.notify_all()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        self._at_work.add(task)
        self._note(open=1)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if head.split()[1] == b"/hold":
                    self._note(held=1)
                    try:
                        await self._go.wait()
                    finally:
                        self._note(held=-1)
                writer.write(ANSWER)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # the client has gone, or the server goes
        finally:
            writer.close()
            self._at_work.discard(task)
            self._note(open=-1)
