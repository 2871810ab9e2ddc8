"""
Who made a thread, a task or a call-back: the host, memguard, or the application.

Decided by where the code lies: the standard library alone tells nothing, the package
of a server or an event loop says `host`, everything else is the application's, which
includes the libraries it chose.
"""

from __future__ import annotations

import os
import sys
from types import CodeType
from typing import Any, Final

__all__ = ("HOST", "LEAKED", "UNATTRIBUTED", "made_by", "origin_of_code")

LEAKED: Final = "leaked"
HOST: Final = "host"
UNATTRIBUTED: Final = "unattributed"

#: Servers, loops and tools that run the application, by the name of their package.
_HOSTS: Final = frozenset(
    (
        "IPython",
        "_pydev_bundle",
        "_pydevd_bundle",
        "_pytest",
        "anyio",
        "asyncio",
        "billiard",
        "celery",
        "debugpy",
        "execnet",
        "gevent",
        "gunicorn",
        "hypercorn",
        "kombu",
        "memguard",
        "opentelemetry",
        "pluggy",
        "pydevd",
        "pytest",
        "pytest_timeout",
        "uvicorn",
        "uvicorn_worker",
        "uvloop",
        "watchfiles",
        "werkzeug",
        "xdist",
    )
)
_STDLIB: Final = os.path.dirname(os.path.abspath(os.__file__)) + os.sep


def origin_of_code(code: CodeType | None) -> str:
    """
    The package a piece of code belongs to; "" for the application's own files.
    """
    if code is None:
        return ""
    filename = code.co_filename
    for marker in ("site-packages" + os.sep, "dist-packages" + os.sep):
        at = filename.rfind(marker)
        if at >= 0:
            return filename[at + len(marker) :].split(os.sep)[0].removesuffix(".py")
    if filename.startswith(_STDLIB):
        return filename[len(_STDLIB) :].split(os.sep)[0].removesuffix(".py")
    if filename.startswith(os.path.dirname(os.path.dirname(__file__)) + os.sep):
        return "memguard"
    return ""


def is_host(package: str) -> bool:
    return package in _HOSTS


def is_stdlib(code: CodeType | None) -> bool:
    """
    True for the standard library's own files, site-packages not counted.
    """
    if code is None:
        return False
    filename = code.co_filename
    return filename.startswith(_STDLIB) and "-packages" + os.sep not in filename


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


def made_by(code: CodeType | None, holders: tuple[str, ...] = ()) -> str:
    """
    The verdict for something that runs *code* and is held by objects of *holders*.
    """
    if is_host(origin_of_code(code)) or any(is_host(one) for one in holders):
        return HOST
    return LEAKED


def holders_of(obj: Any) -> tuple[str, ...]:
    """
    The packages of the classes whose instances refer to *obj*.

    Walks the whole heap once: only for what the audit could not attribute.
    """
    import gc

    packages: list[str] = []
    for referrer in gc.get_referrers(obj):
        if type(referrer) is dict:
            # Before 3.11 an instance refers to its attributes through its dict.
            owners = gc.get_referrers(referrer)
            packages += [_package_of(type(owner)) for owner in owners]
        else:
            packages.append(_package_of(type(referrer)))
    return tuple(packages)


def _package_of(kind: type) -> str:
    module = getattr(kind, "__module__", "")
    return module.split(".")[0] if isinstance(module, str) else ""


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
