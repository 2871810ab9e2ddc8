"""
Who made something, told from the place of its code.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import threading
from typing import Any

import pytest

from memguard._lifecycle.attribution import (
    HOST,
    LEAKED,
    code_of,
    frames_in_memguard,
    is_stdlib,
    loaded,
    made_by,
    origin_of_code,
    origin_of_type,
)

SITE = "/srv/venv/lib/python3.11/site-packages"
STDLIB = os.path.dirname(os.__file__)


def code(filename: str, name: str = "run") -> Any:
    """
    A function's code that claims to come from *filename*.
    """
    space: dict[str, Any] = {}
    exec(compile(f"def {name}(): pass", filename, "exec"), space)
    return space[name].__code__


@pytest.mark.parametrize(
    ("filename", "package"),
    [
        ("/srv/app/main.py", ""),
        (f"{SITE}/uvicorn/server.py", "uvicorn"),
        (f"{SITE}/six.py", "six"),
        ("/usr/lib/python3/dist-packages/gunicorn/app/base.py", "gunicorn"),
        (f"{STDLIB}/asyncio/tasks.py", "asyncio"),
        (f"{STDLIB}/threading.py", "threading"),
        (f"{STDLIB}/site-packages/requests/api.py", "requests"),
        ("<frozen os>", "os"),
        ("<frozen importlib._bootstrap>", "importlib"),
        ("<string>", ""),
        (logging.__file__, "logging"),
        (origin_of_code.__code__.co_filename, "memguard"),
        (__file__, ""),
    ],
)
def test_the_package_of_a_file(filename: str, package: str) -> None:
    """
    Below the standard library or an installation; the application has none.
    """
    assert package == origin_of_code(code(filename))


def test_no_code_has_no_package() -> None:
    """
    As with functions of C.
    """
    assert "" == origin_of_code(None)
    assert not is_stdlib(None)


@pytest.mark.parametrize(
    ("filename", "name", "verdict"),
    [
        ("/srv/app/main.py", "run", LEAKED),
        ("/srv/app/main.py", "_run", LEAKED),
        (f"{SITE}/requests/sessions.py", "send", LEAKED),
        (f"{SITE}/uvicorn/server.py", "serve", HOST),
        (f"{SITE}/gunicorn/workers/sync.py", "run", HOST),
        (f"{SITE}/starlette/concurrency.py", "run", HOST),
        (f"{SITE}/opentelemetry/sdk/trace/export.py", "worker", HOST),
        (f"{SITE}/aiohttp/web_protocol.py", "start", HOST),
        (f"{SITE}/aiohttp/client.py", "_request", LEAKED),
        (f"{STDLIB}/asyncio/base_events.py", "run_forever", LEAKED),
        (f"{STDLIB}/asyncio/tasks.py", "sleep", LEAKED),
        (f"{STDLIB}/asyncio/tasks.py", "_release_waiter", HOST),
        (f"{STDLIB}/threading.py", "_delete", LEAKED),
    ],
)
def test_verdicts(filename: str, name: str, verdict: str) -> None:
    """
    A server is the host whatever it runs, a loop only for its private functions.
    """
    assert verdict == made_by(code(filename, name))


def test_who_holds_it_decides_where_the_code_says_nothing() -> None:
    """
    A worker thread of concurrent.futures runs the same code for everybody.
    """
    worker = code(f"{STDLIB}/concurrent/futures/thread.py", "_worker")

    assert LEAKED == made_by(worker)
    assert LEAKED == made_by(worker, "app", "builtins")
    assert HOST == made_by(worker, "app", "gunicorn")
    assert LEAKED == made_by(None)
    assert HOST == made_by(None, "uvicorn")


def test_code_behind_callables() -> None:
    """
    Methods and partials are looked through; what has no code has none.
    """

    class Owner:
        def method(self) -> None: ...

        def __call__(self) -> None: ...

    plain = Owner.method
    bound = Owner().method
    assert plain.__code__ is code_of(bound)
    assert plain.__code__ is code_of(functools.partial(bound, 1))
    assert plain.__code__ is code_of(functools.partial(functools.partial(plain), 1))
    for nothing in (print, Owner(), None, 3, [].append):
        assert code_of(nothing) is None


def test_types_have_packages() -> None:
    """
    The first name of their module, whatever that is.
    """

    class Odd:
        pass

    Odd.__module__ = 3  # type: ignore[assignment]
    assert "threading" == origin_of_type(threading.Thread)
    assert "" == origin_of_type(Odd)


def test_modules_are_only_looked_up() -> None:
    """
    Nothing is imported to know it.
    """
    assert threading is loaded("threading")
    assert loaded("no_such_module") is None


def test_tasks_that_wait_inside_memguard() -> None:
    """
    Somebody who asked for a shutdown is no leak of it.
    """
    from memguard._latch import Latch

    async def inside(latch: Latch) -> None:
        await latch.await_(5)

    async def outside() -> None:
        await asyncio.sleep(5)

    async def main() -> None:
        latch = Latch()
        first = asyncio.ensure_future(inside(latch))
        second = asyncio.ensure_future(outside())
        await asyncio.sleep(0)
        assert frames_in_memguard(first)
        assert not frames_in_memguard(second)
        latch.set()
        second.cancel()
        await first

    asyncio.run(main())
