"""
Importing does nothing, and shadows nothing. Each in a fresh interpreter.
"""

from __future__ import annotations

from typing import Any

HEAVY = [
    *("asyncio", "concurrent.futures", "ctypes", "inspect", "multiprocessing"),
    *("sqlite3", "ssl", "subprocess", "flask", "starlette", "fastapi", "django"),
    *("aiohttp", "celery", "gunicorn", "uvicorn", "werkzeug", "opentelemetry"),
    *("objgraph", "pympler", "psutil"),
]


def test_importing_loads_nothing_heavy(run_python: Any) -> None:
    """
    No framework, no event loop, no dependency: they are loaded when they are used.
    """
    run = run_python(
        "import sys, memguard\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )

    assert "[]" == run.stdout.strip(), run.stderr


def test_a_guard_loads_nothing_heavy(run_python: Any) -> None:
    """
    Nor does making one.
    """
    frameworks = [name for name in HEAVY if name != "inspect"]
    run = run_python(
        "import sys, memguard\n"
        "memguard.Guard()\n"
        f"print([name for name in {frameworks!r} if name in sys.modules])"
    )

    assert "[]" == run.stdout.strip(), run.stderr


def test_importing_starts_nothing(run_python: Any) -> None:
    """
    No thread, no handler, no descriptor, no exit function.
    """
    run = run_python(
        "import atexit, logging, os, signal, threading\n"  # has an exit function
        "def state():\n"
        "    handlers = [signal.getsignal(s) for s in signal.valid_signals()]\n"
        "    fds = sorted(os.listdir('/proc/self/fd'))\n"
        "    return threading.active_count(), handlers, fds, atexit._ncallbacks()\n"
        "before = state()\n"
        "import memguard\n"
        "memguard.Guard, memguard.install\n"
        "print(before == state())"
    )

    assert "True" == run.stdout.strip(), run.stderr


def test_no_submodule_shadows_a_public_name(run_python: Any) -> None:
    """
    Importing a submodule binds it in the package; the public names survive that.
    """
    run = run_python(
        "import importlib, pkgutil, memguard\n"
        "before = {name: getattr(memguard, name) for name in memguard.__all__}\n"
        "for module in pkgutil.walk_packages(memguard.__path__, 'memguard.'):\n"
        "    if module.name.rpartition('.')[2] != '__main__':\n"
        "        importlib.import_module(module.name)\n"
        "print([n for n, v in before.items() if getattr(memguard, n) != v])"
    )

    assert "[]" == run.stdout.strip(), run.stderr


def test_all_is_what_dir_shows(run_python: Any) -> None:
    """
    And every name of it is there.
    """
    run = run_python(
        "import memguard\n"
        "missing = [n for n in memguard.__all__ if not hasattr(memguard, n)]\n"
        "print(missing, set(memguard.__all__) <= set(dir(memguard)))"
    )

    assert "[] True" == run.stdout.strip(), run.stderr
