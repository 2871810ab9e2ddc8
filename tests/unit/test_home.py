"""
The directory of an installed guard: whose it is, who shares it, what it is without one.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import memguard
from memguard._default import reset_default
from memguard._process.home import home_of

if TYPE_CHECKING:
    from tests.conftest import RunPython

GUNICORN = ["/srv/bin/gunicorn", "--config", "conf.py", "shop:app"]


@pytest.fixture(autouse=True)
def no_default_guard() -> Any:
    """
    A default guard that nobody has used, before and after.
    """
    reset_default()
    yield
    reset_default()


def home(
    name: str = "app",
    arguments: list[str] = GUNICORN,
    working: str = "/srv/shop",
    **environ: str,
) -> str | None:
    """
    The directory of a service that only differs in what is given.
    """
    environ.setdefault("XDG_STATE_HOME", "/home/ann/state")
    return home_of(name, environ=environ, arguments=arguments, working=working)


def test_restarts_and_workers_share_it() -> None:
    """
    The same service, started with other options, finds its sessions again.
    """
    first = home()

    assert first is not None
    assert "/home/ann/state/memguard" == os.path.dirname(first)
    assert os.path.basename(first).startswith("app-")
    more = ["/srv/bin/gunicorn", "--workers", "9", "-b", "127.0.0.1:80", "shop:app"]
    assert first == home(arguments=more)


@pytest.mark.parametrize(
    "other",
    [
        {"name": "other"},
        {"working": "/srv/blog"},
        {"arguments": ["/srv/bin/uvicorn", "shop:app"]},
        {"arguments": ["/srv/bin/gunicorn", "blog:app"]},
        {"arguments": ["/srv/bin/gunicorn", "shop:create_app()"]},
    ],
)
def test_another_service_has_another(other: dict[str, Any]) -> None:
    """
    By the name of its guard, its directory, its program, or what it serves.
    """
    assert home() != home(**other)


def test_a_program_is_found_where_it_lies() -> None:
    """
    A relative path means the same program as the whole one.
    """
    whole = home(arguments=["/srv/shop/bin/serve.py"])
    assert whole == home(arguments=["./bin/serve.py"])
    assert whole == home(arguments=["bin/serve.py"])
    there = home(arguments=["serve.py"], working="/srv/shop/bin")
    assert there == home(arguments=["./serve.py"], working="/srv/shop/bin")
    assert whole != home(arguments=["bin/other.py"])


def test_systemd_says_it_first() -> None:
    """
    The first of the directories that systemd has made for the unit.
    """
    assert "/var/lib/shop" == home(STATE_DIRECTORY="/var/lib/shop:/var/lib/more")
    assert home() == home(STATE_DIRECTORY="shop")


def test_the_home_of_the_user_is_used_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A relative XDG_STATE_HOME counts as none; without any home there is no directory.
    """
    monkeypatch.setenv("HOME", "/home/ben")
    assert (home(XDG_STATE_HOME="x") or "").startswith(
        "/home/ben/.local/state/memguard/"
    )
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert home(XDG_STATE_HOME="") is None


def test_names_of_guards_make_names_of_directories() -> None:
    """
    Whatever a name contains, its directory lies right below memguard's.
    """
    for name in ("../..", "a/b", "ü" * 300, "\udcff"):
        found = home(name)
        assert found is not None
        assert "/home/ann/state/memguard" == os.path.dirname(os.path.normpath(found))


def test_only_an_installed_guard_has_one(tmp_path: Path) -> None:
    """
    A setting goes before it, and the word "memory" means none at all.
    """
    with memguard.Guard() as bare:
        assert bare.state_directory() is None
    with memguard.install() as guard:
        assert guard.state_directory() is not None
        assert guard.state_directory() == memguard.current().state_directory()
    assert guard.state_directory() is None
    with memguard.install(state_dir=tmp_path):
        assert str(tmp_path) == guard.state_directory()
    with memguard.install(state_dir="memory"):
        assert guard.state_directory() is None


def visit() -> int:
    """
    One visit in a process of its own; how many there were.
    """
    with memguard.install() as guard, guard.sessions("visits").open("ann") as session:
        session.data["visits"] = session.data.get("visits", 0) + 1
        found = session.data["visits"]
    assert isinstance(found, int)
    return found


def test_sessions_outlive_their_guard_by_default() -> None:
    """
    In a file that is for this user alone, in directories that are as well.
    """
    assert [1, 2, 3] == [visit(), visit(), visit()]
    found = [Path(os.environ["XDG_STATE_HOME"])]
    while found[-1].is_dir():
        assert 0o700 == stat.S_IMODE(found[-1].stat().st_mode)
        (below,) = found[-1].iterdir()
        found.append(below)
    assert "sessions.sqlite3" == found[-1].name
    assert 0o600 == stat.S_IMODE(found[-1].stat().st_mode)


def test_a_bare_guard_keeps_nothing() -> None:
    """
    Its sessions end with it, and nothing is written.
    """
    for _ in range(2):
        with memguard.Guard() as guard, guard.sessions("visits").open("a") as session:
            assert {} == session.data
            session.data["visits"] = 1
    assert not Path(os.environ["XDG_STATE_HOME"]).exists()


@pytest.mark.parametrize("problem", ["a file", "read-only", "open to others"])
def test_where_it_cannot_be_used_there_is_memory(
    problem: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    The service serves, and the log says once what is in the way, and what to do.
    """
    place = Path(os.environ["XDG_STATE_HOME"])
    if problem == "a file":
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    elif problem == "read-only":
        monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    else:
        with memguard.install() as guard:
            directory = guard.state_directory()
        assert directory is not None
        os.makedirs(directory)
        os.chmod(directory, 0o770)  # the group may write to it
    with caplog.at_level(logging.ERROR, "memguard"), memguard.install() as guard:
        sessions = guard.sessions("visits")
        for _ in range(3):
            with sessions.open("ann") as session:
                session.data["visits"] = session.data.get("visits", 0) + 1
        assert {"visits": 3} == session.data
    (told,) = [
        one.getMessage() for one in caplog.records if "on disk" in one.msg % one.args
    ]
    assert "keeping sessions 'visits' on disk (they are in memory" in told
    assert "state_dir" in told
    assert str(place) in told


def test_programs_find_their_own_again(run_python: RunPython, tmp_path: Path) -> None:
    """
    Two programs of the same text in different files have their own sessions.
    """
    text = (
        "import memguard\n"
        "with memguard.install() as guard:\n"
        "    with guard.sessions('visits').open('ann') as session:\n"
        "        session.data['n'] = session.data.get('n', 0) + 1\n"
        "    print(session.data['n'])\n"
    )
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text(text)
    two.write_text(text)
    said = [run_python(path, cwd=tmp_path).stdout for path in (one, one, two, one)]
    assert ["1\n", "2\n", "1\n", "3\n"] == said
