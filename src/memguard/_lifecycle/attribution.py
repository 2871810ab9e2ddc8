"""
Who made a thread, a task or a call-back: the host, memguard, or the application.

Decided by where the code lies: the standard library alone tells nothing, the package
of a server says `host`, everything else is the application's, which includes the
libraries it chose. An event loop is host only for what it keeps for itself.
"""

from __future__ import annotations

import os
import sys
from types import CodeType
from typing import Any, Final

__all__ = (
    "HOST",
    "LEAKED",
    "UNATTRIBUTED",
    "code_of",
    "frames_in_memguard",
    "is_server",
    "is_stdlib",
    "loaded",
    "made_by",
    "origin_of_code",
    "origin_of_type",
)

LEAKED: Final = "leaked"
HOST: Final = "host"
UNATTRIBUTED: Final = "unattributed"

#: Servers, frameworks and tools that run the application, by the name of their
#: package. What they start is theirs to end.
_SERVERS: Final = frozenset(
    (
        "IPython",
        "_pydev_bundle",
        "_pydevd_bundle",
        "_pytest",
        "asgiref",
        "billiard",
        "celery",
        "daphne",
        "debugpy",
        "django",
        "execnet",
        "fastapi",
        "flask",
        "gevent",
        "granian",
        "gunicorn",
        "hypercorn",
        "ipykernel",
        "kombu",
        "memguard",
        "opentelemetry",
        "pluggy",
        "pydevd",
        "pytest",
        "pytest_timeout",
        "starlette",
        "uvicorn",
        "uvicorn_worker",
        "watchfiles",
        "werkzeug",
        "xdist",
    )
)
#: Loops run both their own code and the application's under public names such as
#: `asyncio.sleep` or `loop.run_forever`: only their private functions are theirs.
_LOOPS: Final = frozenset(("anyio", "asyncio", "sniffio", "uvloop"))
_STDLIB: Final = os.path.dirname(os.path.abspath(os.__file__)) + os.sep
_OWN: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_INSTALLED: Final = tuple(name + os.sep for name in ("site-packages", "dist-packages"))


def origin_of_code(code: CodeType | None) -> str:
    """
    The package a piece of code belongs to; "" for the application's own files.
    """
    return "" if code is None else origin_of_file(code.co_filename)


def origin_of_file(filename: str) -> str:
    """
    The package a file belongs to; "" for the application's own.
    """
    if filename.startswith(_OWN):
        return "memguard"
    below = ""
    for marker in _INSTALLED:
        at = filename.rfind(marker)
        if at >= 0:
            below = filename[at + len(marker) :]
    if not below and filename.startswith(_STDLIB):
        below = filename[len(_STDLIB) :]
    elif not below and filename.startswith("<frozen "):
        return filename[len("<frozen ") :].rstrip(">").split(".")[0]
    return below.split(os.sep)[0].removesuffix(".py")


def origin_of_type(kind: type) -> str:
    """
    The package that defines a class.
    """
    module = getattr(kind, "__module__", "")
    return module.split(".")[0] if isinstance(module, str) else ""


def is_server(package: str) -> bool:
    """
    True for what runs the application instead of belonging to it.
    """
    return package in _SERVERS


def is_stdlib(code: CodeType | None) -> bool:
    """
    True for the standard library's own files, site-packages not counted.
    """
    return code is not None and is_stdlib_file(code.co_filename)


def is_stdlib_file(filename: str) -> bool:
    """
    As `is_stdlib`, for the name of a file.
    """
    if filename.startswith("<frozen "):
        return True
    return filename.startswith(_STDLIB) and not any(
        marker in filename for marker in _INSTALLED
    )


def code_of(function: Any) -> CodeType | None:
    """
    The code behind a function, a bound method or a partial; None where there is none.
    """
    for _ in range(8):
        function = getattr(function, "__func__", function)
        inner = getattr(function, "func", None)  # functools.partial
        if inner is None:
            break
        function = inner
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None


def made_by(code: CodeType | None, *packages: str) -> str:
    """
    The verdict for something that runs *code* for objects of *packages*.
    """
    origin = origin_of_code(code)
    if is_server(origin) or any(map(is_server, packages)):
        return HOST
    if code is None:
        return LEAKED
    if origin in _LOOPS and code.co_name.startswith("_"):
        return HOST
    if origin == "aiohttp" and os.path.basename(code.co_filename).startswith("web"):
        return HOST  # its server; its client is a library like any other
    return LEAKED


def frames_in_memguard(task: Any) -> bool:
    """
    True when *task* waits inside memguard: somebody who asked for the shutdown.
    """
    at = task.get_coro()
    for _ in range(64):
        code = getattr(at, "cr_code", None)
        if origin_of_code(code) == "memguard":
            return True
        at = getattr(at, "cr_await", None)
        if at is None:
            return False
    return False


def loaded(name: str) -> Any:
    """
    A module if somebody has imported it already, else None.
    """
    return sys.modules.get(name)
