"""
Importing does nothing, and shadows nothing. Each in a fresh interpreter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

HEAVY = [
    *("asyncio", "concurrent.futures", "ctypes", "inspect", "multiprocessing"),
    *("dataclasses", "datetime", "json", "pathlib", "socket", "tempfile", "urllib"),
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
    Nor does starting one, making what it offers, and shutting it down.
    """
    run = run_python(
        "import sys, memguard\n"
        "class Thing:\n"
        "    close = int\n"
        "with memguard.Guard() as guard:\n"
        "    guard.timer(print, every=60), guard.emitter('e'), guard.ring('r')\n"
        "    guard.cache('c'), guard.health(), guard.audit()\n"
        "    guard.register(Thing(), keep=True), guard.snapshot()\n"
        "assert guard.shutdown().clean\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
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


def test_importing_reads_no_file_but_modules(run_python: Any) -> None:
    """
    Neither the environment nor a configuration is looked at.
    """
    run = run_python(
        "import encodings.utf_8, os, sys\n"
        "opened = []\n"
        "def hook(event, args):\n"
        "    if event in ('open', 'os.listdir', 'socket.__new__'):\n"
        "        opened.append((event, str(args[0])))\n"
        "sys.addaudithook(hook)\n"
        "import memguard\n"
        "memguard.Guard, memguard.install, memguard.Sessions, memguard.Pool\n"
        "known = ('.py', '.pyc', '.so')\n"
        "print([one for one in opened\n"
        "       if not (one[1].endswith(known) or '.pyc.' in one[1]\n"
        "               or os.path.isdir(one[1]))])"
    )

    assert "[]" == run.stdout.strip(), run.stderr


def test_each_name_can_be_the_first(run_python: Any, tmp_path: Path) -> None:
    """
    Whatever is used first loads what it needs, in every order.
    """
    run = run_python(
        "import os, sys\n"
        "import memguard\n"
        "modules = ['errors', 'testing', 'typing', 'integrations.asgi',\n"
        "           'integrations.wsgi', 'integrations.gunicorn', '_cli']\n"
        "first = {place: name for name, place in memguard._PLACES.items()}\n"
        "names = [*first.values(), 'timer', *modules]\n"
        "failed = []\n"
        "for name in names:\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        try:\n"
        "            if name in modules:\n"
        "                __import__(f'memguard.{name}')\n"
        "            else:\n"
        "                getattr(memguard, name)\n"
        "        except BaseException:\n"
        "            os._exit(1)\n"
        "        os._exit(0)\n"
        "    if os.waitpid(pid, 0)[1]:\n"
        "        failed.append(name)\n"
        "print(len(names) > 20, failed)",
        # Compiled once, not once for each of them.
        env={"PYTHONPYCACHEPREFIX": str(tmp_path), "PYTHONDONTWRITEBYTECODE": None},
    )

    assert "True []" == run.stdout.strip(), run.stderr


def test_every_name_has_a_place(run_python: Any) -> None:
    """
    It is a method of the default guard or found in a module, which says so itself.
    """
    run = run_python(
        "import importlib, memguard\n"
        "wrong = [name for name, place in memguard._PLACES.items() if name not in\n"
        "         importlib.import_module(f'memguard.{place}').__all__]\n"
        "guard = memguard._default.default_guard()\n"
        "wrong += [name for name in memguard._OF_DEFAULT_GUARD\n"
        "          if getattr(memguard, name) != getattr(guard, name)]\n"
        "print(wrong)"
    )

    assert "[]" == run.stdout.strip(), run.stderr


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
