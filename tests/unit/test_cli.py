"""
The command line: what is printed where, and which exit code says what.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memguard import _default
from memguard._cli import main
from memguard._cli.target import BadTarget, load
from memguard._cli.terminal import coloured

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import RunPython

COMMAND = "import sys; from memguard._cli import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The environment of whoever runs the tests says nothing here.
    """
    for name in list(os.environ):
        if name.startswith("MEMGUARD_"):
            monkeypatch.delenv(name)


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """
    A program with ways to end well and badly.
    """
    path = tmp_path / "program.py"
    path.write_text(
        """
import sys
import tempfile
import threading
import memguard

print("imported", sys.argv[1:])
kept = []

@memguard.timer(every="1h")
def refresh(): ...

def good():
    print("good")
    kept.append(memguard.register(tempfile.TemporaryFile()))

def leaks():
    kept.append(open(__file__))

def fails():
    raise ValueError("a value nobody should read")

def leaves():
    sys.exit(0)

async def on_a_loop():
    import asyncio
    memguard.spawn(asyncio.sleep(60), name="sleeper")
    print("ran on a loop")

def by_itself():
    with memguard.install() as guard:
        kept.append(guard.register(tempfile.TemporaryFile()))

async def by_itself_on_a_loop():
    async with memguard.install() as guard:
        kept.append(guard.register(tempfile.TemporaryFile()))

class Deep:
    @staticmethod
    def down():
        print("down")

number = 3

if __name__ == "__main__":
    print("not imported but run")
""",
        encoding="utf-8",
    )
    return path


# -- in general ------------------------------------------------------------------------


def test_without_a_command_it_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    The code is 2 and the text on stderr.
    """
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert (out, err[:6]) == ("", "usage:")


@pytest.mark.parametrize(
    "argv",
    [["no-such-command"], ["config", "--no-such-option"], ["drill"]],
    ids=" ".join,
)
def test_wrong_usage_is_two(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    Unknown commands and options, and missing arguments.
    """
    assert main(argv) == 2
    assert "usage:" in capsys.readouterr().err


def test_help_and_version_are_no_failures(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Both go to stdout; help names every command.
    """
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert "config" in out
    assert "drill" in out
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("memguard 0.")


def test_as_a_module(run_python: RunPython) -> None:
    """
    `python -m memguard` is the same command.
    """
    done = run_python(
        "import runpy; runpy.run_module('memguard', run_name='__main__')", "config"
    )
    assert done.returncode == 0, done.stderr
    assert "memory_limit" in done.stdout


def test_only_the_standard_library_is_loaded(run_python: RunPython) -> None:
    """
    No third-party module, and nothing that other commands need.
    """
    done = run_python(
        "import sys; from memguard._cli import main; main(['config']);"
        "names = {name.partition('.')[0] for name in sys.modules};"
        "print(*(names - set(sys.stdlib_module_names) - {'memguard'}))"
    )
    left = set(done.stdout.splitlines()[-1].split())
    # What the interpreter's own start-up files may have loaded is not ours.
    bare = run_python(
        "import sys;"
        "names = {name.partition('.')[0] for name in sys.modules};"
        "print(*(names - set(sys.stdlib_module_names)))"
    ).stdout.split()
    allowed = {"typing_extensions", "exceptiongroup", "tomli"}
    assert left - set(bare) <= allowed


def test_a_reader_that_has_seen_enough(run_python: RunPython) -> None:
    """
    `memguard config | head -1` ends quietly.
    """
    done = run_python(
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[1], 'config'],"
        " stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "child.stdout.close()\n"
        "error = child.stderr.read()\n"
        "print(child.wait(), error)",
        COMMAND,
    )
    assert done.stdout.strip() == "0 b''"


def test_colours_only_where_they_are_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    On a terminal; not with NO_COLOR, not on a dumb one, not in a pipe.
    """

    class Terminal:
        terminal = True

        def isatty(self) -> bool:
            return self.terminal

    stream: Any = Terminal()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert coloured("text", "red", stream) == "\033[31mtext\033[0m"
    monkeypatch.setenv("NO_COLOR", "")  # empty means nothing, says no-color.org
    assert coloured("text", "red", stream) != "text"
    monkeypatch.setenv("NO_COLOR", "1")
    assert coloured("text", "red", stream) == "text"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert coloured("text", "red", stream) == "text"
    monkeypatch.setenv("TERM", "xterm")
    stream.terminal = False
    assert coloured("text", "red", stream) == "text"


# -- config ----------------------------------------------------------------------------


def test_config_shows_values_and_origins(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """
    As one would write them, from the environment, the file, and the defaults.
    """
    file = tmp_path / "service.toml"
    file.write_text('[tool.memguard]\ntick = "2s"\n', encoding="utf-8")
    monkeypatch.setenv("MEMGUARD_MEMORY_LIMIT", "256MiB")
    assert main(["config", "--file", str(file)]) == 0
    out, err = capsys.readouterr()
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines()}
    assert lines["memory_limit"] == ["256MiB", "environment", "MEMGUARD_MEMORY_LIMIT"]
    assert lines["tick"] == ["2s", "service.toml"]
    assert lines["shutdown_timeout"] == ["25s", "default"]
    assert err == ""


def test_config_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The values as memguard works with them; unknown names are warnings.
    """
    monkeypatch.setenv("MEMGUARD_MEMORY_LIMIT", "256MiB")
    monkeypatch.setenv("MEMGUARD_TIKC", "1s")
    assert main(["config", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["settings"]["memory_limit"] == {
        "value": 256 << 20,
        "text": "256MiB",
        "origin": "environment MEMGUARD_MEMORY_LIMIT",
    }
    assert found["problems"] == []
    (warning,) = found["warnings"]
    assert "MEMGUARD_TIKC" in warning
    assert "MEMGUARD_TICK" in warning


def test_config_warns_about_unknown_names(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    On stderr, with the nearest name; that is no failure.
    """
    monkeypatch.setenv("MEMGUARD_TIKC", "1s")
    assert main(["config"]) == 0
    assert "did you mean MEMGUARD_TICK?" in capsys.readouterr().err


@pytest.mark.parametrize("as_json", [False, True])
def test_config_finds_every_problem(
    as_json: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Wrong settings are a finding, all of them at once.
    """
    monkeypatch.setenv("MEMGUARD_TICK", "soon")
    monkeypatch.setenv("MEMGUARD_GRACE", "1s")
    assert main(["config", *(["--json"] if as_json else [])]) == 1
    out, err = capsys.readouterr()
    problems = json.loads(out)["problems"] if as_json else err.splitlines()
    assert len(problems) == 2
    assert "tick" in problems[0]
    assert "grace" in problems[1]


# -- targets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("", "must be module"),
        (":main", "must be module"),
        ("json:", "must be module"),
        ("no_such_module_anywhere", "no module 'no_such_module_anywhere'"),
        ("json.no_such_module", "no module 'json.no_such_module'"),
        ("no/such/script.py", "no file"),
        ("json:no_such_function", "no attribute 'no_such_function'"),
        ("json:__name__", "is a str; name a function"),
    ],
)
def test_a_target_that_is_none(target: str, told: str) -> None:
    """
    The text says what is missing.
    """
    with pytest.raises(BadTarget, match=told):
        load(target)


def test_what_a_program_lacks_is_not_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A missing import inside the program is the program's own error.
    """
    (tmp_path / "lacking_program.py").write_text("import no_such_module_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(ModuleNotFoundError):
        load("lacking_program")


def test_functions_are_found_in_modules() -> None:
    """
    Also those of a class.
    """
    assert load("json") is None
    assert load("json:dumps") is json.dumps
    assert load("json:JSONEncoder.encode") is json.JSONEncoder.encode


# -- drill -----------------------------------------------------------------------------


def test_a_clean_drill(run_python: RunPython, program: Path) -> None:
    """
    The script is imported, not run; its function is called; the report is printed.
    """
    done = run_python(COMMAND, "drill", "--", f"{program}:good", "an", "argument")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("imported ['an', 'argument']\ngood\n")
    assert "not imported but run" not in done.stdout
    assert "(memguard drill): clean" in done.stdout
    assert "of 25 s" in done.stdout


def test_a_drill_of_a_module_as_json(run_python: RunPython, program: Path) -> None:
    """
    Printed is one document; what the program prints goes to stderr.
    """
    done = run_python(
        COMMAND,
        "drill",
        "--json",
        "--timeout",
        "5s",
        "program:Deep.down",
        cwd=program.parent,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["clean"] is True
    assert found["target"] == "program:Deep.down"
    assert found["report"]["budget_seconds"] == 5.0
    assert ["timer"] == [one["kind"] for one in found["report"]["resources"]]
    assert "down" in done.stderr


def test_a_drill_that_leaks(run_python: RunPython, program: Path) -> None:
    """
    The finding is in the report and the code is 1.
    """
    done = run_python(COMMAND, "drill", "--timeout", "300ms", f"{program}:leaks")
    assert done.returncode == 1
    assert "NOT clean" in done.stdout
    assert "leaked fd" in done.stdout


def test_a_drill_of_a_coroutine_function(run_python: RunPython, program: Path) -> None:
    """
    It runs on a loop of its own, and the shutdown takes its tasks.
    """
    done = run_python(COMMAND, "drill", "--json", f"{program}:on_a_loop")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    kinds = {(one["kind"], one["name"]) for one in found["report"]["resources"]}
    assert ("task", "sleeper") in kinds
    assert "ran on a loop" in done.stderr


def test_a_drill_whose_function_fails(run_python: RunPython, program: Path) -> None:
    """
    The shutdown is held all the same; the error is a finding.
    """
    done = run_python(COMMAND, "drill", "--json", f"{program}:fails")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["clean"], found["error"]) == (False, "ValueError")
    assert found["report"]["clean"] is True
    assert "a value nobody should read" not in done.stdout
    assert "Traceback" in done.stderr


def test_a_drill_whose_function_exits(run_python: RunPython, program: Path) -> None:
    """
    sys.exit(0) is a way to end well.
    """
    done = run_python(COMMAND, "drill", f"{program}:leaves")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("function", ["by_itself", "by_itself_on_a_loop"])
def test_a_program_may_shut_down_by_itself(
    function: str, run_python: RunPython, program: Path
) -> None:
    """
    Its own shutdown is the one that is reported.
    """
    done = run_python(COMMAND, "drill", "--json", f"{program}:{function}")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)["report"]
    assert "file" in {one["kind"] for one in found["resources"]}
    assert found["reason"].startswith("end of the")


def test_a_drill_of_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What cannot be found, or a duration that is none, is wrong usage.
    """
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert main(["drill", "no_such_module_anywhere"]) == 2
    assert "no_such_module_anywhere" in capsys.readouterr().err
    assert main(["drill", "--timeout", "soon", "json"]) == 2
    assert "--timeout" in capsys.readouterr().err


def test_a_drill_in_strict_mode(run_python: RunPython, tmp_path: Path) -> None:
    """
    What failed in the background is named by type, beside the report.
    """
    path = tmp_path / "strict.py"
    path.write_text(
        "import memguard\n"
        "@memguard.on_shutdown()\n"
        "def hook(): raise OSError('a value nobody should read')\n",
        encoding="utf-8",
    )
    done = run_python(
        COMMAND, "drill", "--json", str(path), env={"MEMGUARD_STRICT": "1"}
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert "OSError" in found["background_failures"]
    assert found["report"] is not None
    assert "a value nobody should read" not in done.stdout


# -- risks -----------------------------------------------------------------------------


RISKY = """
import queue
import memguard

print("imported")
history = memguard.ring("history", max_entries=100)
jobs = queue.Queue({size})
"""


@pytest.fixture
def forgotten() -> Iterator[None]:
    """
    A default guard and modules that nobody else has.
    """
    known = set(sys.modules)
    path = list(sys.path)
    _default.reset_default()
    yield
    _default.reset_default()
    sys.path[:] = path
    for name in set(sys.modules) - known:
        if name.startswith("risky_"):
            del sys.modules[name]


def test_risks_are_found_before_a_program_runs(
    tmp_path: Path, run_python: RunPython
) -> None:
    """
    Exit code 1 for a high or medium one, 0 for none; the cwd is on the path.
    """
    (tmp_path / "risky_one.py").write_text(RISKY.format(size=""))
    (tmp_path / "risky_two.py").write_text(RISKY.format(size="10"))
    for name, code in (("risky_one", 1), ("risky_two:jobs", 0)):
        run = run_python(COMMAND, "risks", name, cwd=tmp_path)
        assert code == run.returncode, run.stderr
        assert "memguard risks of 'app'" in run.stdout
        assert "ring history" in run.stdout
        assert ("Queue risky_one.jobs" in run.stdout) == bool(code)


def test_risks_as_json(tmp_path: Path, run_python: RunPython) -> None:
    """
    One document; what the program prints goes to stderr.
    """
    path = tmp_path / "risky_three.py"
    path.write_text(RISKY.format(size=""))
    run = run_python(COMMAND, "risks", "--json", str(path))
    document = json.loads(run.stdout)

    assert (1, "imported\n") == (run.returncode, run.stderr)
    assert "memguard.risks/1" == document["schema"]
    assert ["risky_three.jobs"] == [
        one["name"] for one in document["risks"] if one["verdict"] == "AT RISK"
    ]


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    "target", ["no_such_module", "no_such_file.py", "json:no_such", ":x", "risky_bad"]
)
def test_what_cannot_be_looked_at_is_wrong_usage(
    target: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    Exit code 2, with the reason.
    """
    (tmp_path / "risky_bad.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    assert 2 == main(["risks", target])
    assert capsys.readouterr().err
