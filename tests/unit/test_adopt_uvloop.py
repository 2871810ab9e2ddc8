"""
Adopted things on a loop of uvloop: they say less of themselves, and end as well.

In a fresh interpreter each: an audit of this one would take what libuv keeps into
account from then on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests._http import HttpServer
    from tests._redis import RedisServer

    from conftest import RunPython

ELSEWHERE = """
import asyncio, threading
import uvloop
from memguard import Guard
{imports}

loop = uvloop.new_event_loop()
thread = threading.Thread(target=loop.run_forever)
thread.start()
with Guard() as guard:
    client = {client}
    handle = guard.adopt(client)
    assert handle.loop is None
    asyncio.run_coroutine_threadsafe({use}, loop).result(5)
    assert handle.loop is not None
    assert loop is handle.loop()
    report = guard.shutdown()
assert report.clean, report
loop.call_soon_threadsafe(loop.stop)
thread.join(5)
loop.close()
print("ended")
"""

IN_ITS_LOOP = """
import asyncio
import uvloop
from memguard import Guard

async def main():
    came = asyncio.Event()
    served = []

    async def serve(_, writer):
        served.append(writer)
        came.set()

    async with Guard() as guard:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        handle = guard.adopt(server)
        assert ("server", 1) == (handle.kind, handle.info().details["sockets"])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        await came.wait()
        lines = [guard.adopt(one) for one in (writer, served[0])]
        assert [1, 1] == [one.info().entries for one in lines]
        assert lines[0].info().byte_limit is not None
        task = loop.create_task(asyncio.Event().wait())
        assert "pending" == guard.adopt(task).info().details["state"]
        later = loop.call_later(60, print)
        assert "waiting" == guard.adopt(later, keep=True).info().details["state"]
        child = await asyncio.create_subprocess_exec("sleep", "60")
        assert 1 == guard.adopt(child).info().entries
        report = await guard.ashutdown()
        assert report.clean, report
        assert {"closed"} == {str(one.outcome) for one in report.resources}
        assert later.cancelled() and task.cancelled() and writer.is_closing()
        assert -15 == child.returncode

loop = uvloop.new_event_loop()
loop.run_until_complete(main())
loop.close()
print("ended")
"""


def test_httpx(run_python: RunPython, http_server: HttpServer) -> None:
    """
    Closed on the loop of its connections, which is another thread's.
    """
    code = ELSEWHERE.format(
        imports="import httpx",
        client="httpx.AsyncClient(timeout=5)",
        use=f"client.get({http_server.url!r})",
    )
    done = run_python(code)
    assert "ended\n" == done.stdout, done.stderr
    http_server.wait_for(open=0)


def test_redis(run_python: RunPython, redis_server: RedisServer) -> None:
    """
    As above.
    """
    code = ELSEWHERE.format(
        imports="import redis.asyncio",
        client=f"redis.asyncio.Redis(unix_socket_path={redis_server.path!r})",
        use="client.ping()",
    )
    done = run_python(code)
    assert "ended\n" == done.stdout, done.stderr


@pytest.mark.parametrize("options", [(), ("-X", "dev")], ids=["plain", "dev mode"])
def test_servers_connections_tasks_timers_and_children(
    run_python: RunPython, options: tuple[str, ...]
) -> None:
    """
    In their own loop, in the same words as on the loop of asyncio.
    """
    done = run_python(IN_ITS_LOOP, options=options)
    assert "ended\n" == done.stdout, done.stderr
