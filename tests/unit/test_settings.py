from __future__ import annotations

import copy
import dataclasses
import pickle
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from memguard._settings import FIELDS, Settings, SettingsKwargs
from memguard.errors import MemguardError, SettingsError

if TYPE_CHECKING:
    from conftest import RunPython

# The contract: names and defaults that users rely on.
DEFAULTS: dict[str, Any] = {
    "memory_limit": "auto",
    "managed_limit": None,
    "warning": 0.70,
    "critical": 0.90,
    "emergency": 0.95,
    "mode": "enforce",
    "tick": 1.0,
    "shutdown_timeout": 25.0,
    "grace": 30.0,
    "site_level": "sampled",
    "state_dir": None,
    "worker_share": "auto",
    "leak_window_work": 1000,
    "leak_window_time": 60.0,
    "leak_rounds": 5,
    "leak_mode": "production",
    "overhead_budget": 0.01,
    "audit_ignore": (),
    "signals": ("SIGTERM",),
    "report_file": None,
    "log_every": 60.0,
    "strict": False,
    "series_names": 1000,
    "metrics_exclude": (),
}

# (field, as it may be written, the value), for keywords and as text.
WRITTEN = [
    ("memory_limit", "256MiB", 256 << 20),
    ("memory_limit", 1 << 30, 1 << 30),
    ("memory_limit", "AUTO", "auto"),
    ("memory_limit", "none", None),
    ("memory_limit", None, None),
    ("managed_limit", "1MB", 10**6),
    ("warning", "60%", 0.6),
    ("warning", "0.5", 0.5),
    ("warning", 0.5, 0.5),
    ("mode", "dry-run", "dry-run"),
    ("mode", " Observe ", "observe"),
    ("tick", "250ms", 0.25),
    ("tick", timedelta(seconds=2), 2.0),
    ("state_dir", "/var/lib/app", "/var/lib/app"),
    ("state_dir", Path("/var/lib/app"), "/var/lib/app"),
    ("state_dir", "none", None),
    ("worker_share", "auto", "auto"),
    ("worker_share", "25%", 0.25),
    ("leak_window_work", "500", 500),
    ("leak_rounds", 3, 3),
    ("audit_ignore", "a, b", ("a", "b")),
    ("audit_ignore", ["a", "b"], ("a", "b")),
    ("audit_ignore", "", ()),
    ("signals", "SIGTERM,SIGINT", ("SIGTERM", "SIGINT")),
    ("signals", [], ()),
    ("report_file", "/var/log/shutdowns.jsonl", "/var/log/shutdowns.jsonl"),
    ("log_every", None, None),
    ("log_every", "none", None),
    ("strict", True, True),
    ("strict", "yes", True),
    ("strict", "0", False),
]

# (field, bad value, a part of the text that tells the cure)
REFUSED = [
    ("memory_limit", True, 'possible too: "auto" and "none"'),
    ("memory_limit", 0, "must be at least 1MiB, not 0"),
    ("memory_limit", "64M", "write MiB"),
    ("warning", 70, 'such as 0.7 or "70%", not 70'),
    ("warning", 0.0, "above 0 and up to 1"),
    ("warning", float("nan"), "not nan"),
    ("warning", True, "not True"),
    ("warning", "much", "not 'much'"),
    ("warning", None, "not None"),
    ("mode", "enforced", "must be enforce, dry-run or observe, not 'enforced'"),
    ("mode", 1, "not 1"),
    ("tick", "1ms", "must be at least 10ms, not '1ms'"),
    ("tick", "2h", "must be at most 1h, not '2h'"),
    ("tick", None, "must be a duration"),
    ("state_dir", "", "such as"),
    ("state_dir", b"/x", "not a bytes"),
    ("state_dir", "a\0b", "must be the path of a directory"),
    ("report_file", 5, "must be the path of a file such as"),
    ("worker_share", 2, "not 2"),
    ("leak_window_work", 1.5, "must be a whole number of at least 1, not 1.5"),
    ("leak_window_work", "many", "not 'many'"),
    ("leak_rounds", 1, "at least 2"),
    ("leak_rounds", True, "not True"),
    ("audit_ignore", 5, 'such as ["a", "b"]'),
    ("audit_ignore", "a,,b", "which is not a name; leave it out"),
    ("audit_ignore", ["a", 1], "holds 1"),
    ("signals", "TERM", "names 'TERM', which no process can answer"),
    ("signals", ["SIG_DFL"], "which no process can answer"),
    ("signals", ["SIGKILL"], 'use names such as ["SIGTERM", "SIGINT"]'),
    ("signals", 15, "not 15"),
    ("log_every", 0, "at least 1s"),
    ("strict", "maybe", "not 'maybe'"),
    ("strict", 1, "not 1"),
]


def load(**keywords: Any) -> Settings:
    """
    Settings of keywords alone, whatever the environment of the test run.
    """
    return Settings.load(environ={}, **keywords)


def problems(*args: Any, **given: Any) -> tuple[str, ...]:
    """
    What is wrong with these settings.
    """
    with pytest.raises(SettingsError) as caught:
        Settings.load(*args, **({"environ": {}} | given))
    return caught.value.problems


def toml(tmp_path: Path, text: str, name: str = "pyproject.toml") -> Path:
    """
    A TOML file.
    """
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_defaults_are_those_of_the_contract() -> None:
    """
    Every field, its default, and the order in which they are printed.
    """
    settings = load()
    assert DEFAULTS == {row.field: row.value for row in settings.describe()}
    assert list(DEFAULTS) == list(FIELDS)
    assert {"default"} == set(settings.origins.values())


def test_keywords_types_and_values_name_the_same_fields() -> None:
    """
    The keywords that a type checker offers are the rows of the table.
    """
    hints = get_type_hints(SettingsKwargs)
    assert list(FIELDS) == list(hints)
    assert list(FIELDS) == [
        row.name for row in dataclasses.fields(Settings) if row.name[0] != "_"
    ]
    for name, field in FIELDS.items():
        nullable = type(None) in getattr(hints[name], "__args__", ())
        accepts_none = True
        try:
            field.parse(None, name)
        except ValueError:
            accepts_none = False
        assert nullable == accepts_none, name


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_row_explains_itself_and_accepts_its_own_default(name: str) -> None:
    """
    Each default passes its own parser unchanged and has a text that is read back.
    """
    field = FIELDS[name]
    assert field.default == field.parse(field.default, name)
    assert field.default == field.parse(field.text(field.default), name)
    assert field.doc.endswith((".", ")."))
    assert "MEMGUARD_" + name.upper() == field.variable


@pytest.mark.parametrize(("name", "written", "value"), WRITTEN)
def test_a_value_is_understood_wherever_it_is_written(
    name: str, written: Any, value: Any
) -> None:
    """
    One spelling as keyword, in the environment and in a framework's settings.
    """
    variable = "MEMGUARD_" + name.upper()
    assert value == getattr(load(**{name: written}), name)
    assert value == getattr(Settings.load({variable: written}, environ={}), name)
    if isinstance(written, str):
        assert value == getattr(Settings.load(environ={variable: written}), name)


@pytest.mark.parametrize(("name", "written", "value"), WRITTEN)
def test_a_value_survives_its_own_text(name: str, written: Any, value: Any) -> None:
    """
    What `memguard config` prints can be put into the environment.
    """
    row = next(row for row in load(**{name: written}).describe() if row.field == name)
    variable = "MEMGUARD_" + name.upper()
    assert value == getattr(Settings.load(environ={variable: row.text}), name)


@pytest.mark.parametrize(("name", "value", "part"), REFUSED)
def test_a_bad_value_is_refused_with_field_origin_and_cure(
    name: str, value: Any, part: str
) -> None:
    """
    One problem, which begins with the field and where it was written.
    """
    (problem,) = problems(**{name: value})
    assert problem.startswith(f"{name} (keyword) ")
    assert part in problem


def test_settings_errors_are_value_errors_of_memguard() -> None:
    """
    Both `except ValueError` and `except MemguardError` catch them.
    """
    with pytest.raises(ValueError, match="1 problem") as caught:
        load(tick="soon")
    assert isinstance(caught.value, MemguardError)


def test_the_sources_go_before_each_other_in_order(tmp_path: Path) -> None:
    """
    Keyword, environment, framework, file, default: taken away one after the other.
    """
    file = toml(tmp_path, "[tool.memguard]\ntick = '5s'\n")
    sources: list[tuple[dict[str, Any], float, str]] = [
        ({"tick": 2}, 2.0, "keyword"),
        ({"environ": {"MEMGUARD_TICK": "3"}}, 3.0, "environment MEMGUARD_TICK"),
        ({"framework": {"MEMGUARD_TICK": 4}}, 4.0, "framework MEMGUARD_TICK"),
        ({"pyproject": file}, 5.0, "pyproject.toml"),
        ({}, 1.0, "default"),
    ]
    for start in range(len(sources)):
        given: dict[str, Any] = {"environ": {}}
        for keywords, _, _ in reversed(sources[start:]):
            given |= keywords
        settings = Settings.load(**given)
        assert sources[start][1:] == (settings.tick, settings.origins["tick"])


def test_only_the_value_that_wins_is_looked_at() -> None:
    """
    A keyword overrides a bad variable: nothing depends on the latter.
    """
    assert Settings.load(environ={"MEMGUARD_TICK": "soon"}, tick=1).tick == 1.0


def test_the_environment_is_read_from_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Without a mapping, `load` reads the real environment; the constructor never does.
    """
    monkeypatch.setenv("MEMGUARD_TICK", "3s")
    assert Settings.load().tick == 3.0
    assert Settings().tick == 1.0


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    """
    Bad values of all sources, unknown names and conflicts stand in one error.
    """
    file = toml(tmp_path, "[tool.memguard]\nleak_rounds = 0\nleek_mode = 'lab'\n")
    found = problems(
        {"MEMGUARD_STRICT": "maybe"},
        environ={"MEMGUARD_TICK": ""},
        pyproject=file,
        mamory_limit=1,
        shutdown_timeout="40s",
    )
    beginnings = [
        "mamory_limit (keyword) is no setting of memguard",
        "leek_mode (pyproject.toml) is no setting of memguard",
        "tick (environment MEMGUARD_TICK) must be a duration such as",
        "leak_rounds (pyproject.toml) must be a whole number",
        "strict (framework MEMGUARD_STRICT) must be true or false",
        "shutdown_timeout (40s, keyword) must be below grace (30s, default)",
    ]
    assert beginnings == [
        problem[: len(beginning)]
        for problem, beginning in zip(found, beginnings, strict=True)
    ]


def test_an_unknown_name_that_resembles_nothing_is_to_be_left_out() -> None:
    """
    No suggestion is better than a wrong one.
    """
    (problem,) = problems(zzz=1)
    assert problem == "zzz (keyword) is no setting of memguard; leave it out"


def test_foreign_names_with_the_prefix_are_warnings() -> None:
    """
    Other tools may use the prefix, so that such names never stop a start.
    """
    settings = Settings.load(
        {"MEMGUARD_GRASE": 1, "SECRET_KEY": "x", 5: 6},
        environ={"MEMGUARD_TIK": "1", "PATH": "/bin"},
    )
    tik, grase = settings.warnings
    assert "MEMGUARD_TIK (environment) is no setting" == tik[:40]
    assert tik.endswith("did you mean MEMGUARD_TICK?")
    assert "MEMGUARD_GRASE (framework) is no setting" == grase[:40]
    assert grase.endswith("did you mean MEMGUARD_GRACE?")


CONFLICTS = [
    ({"warning": 0.95, "critical": 0.9, "emergency": 0.96}, "warning", "critical"),
    ({"critical": 0.97}, "critical", "emergency"),
    ({"critical": 0.95}, "critical", "emergency"),
    ({"shutdown_timeout": 30}, "shutdown_timeout", "grace"),
    (
        {"managed_limit": "2MiB", "memory_limit": "1MiB"},
        "managed_limit",
        "memory_limit",
    ),
    ({"tick": "2s", "leak_window_time": "1s"}, "tick", "leak_window_time"),
]


@pytest.mark.parametrize(("given", "low", "high"), CONFLICTS)
def test_settings_that_do_not_fit_each_other_are_refused(
    given: dict[str, Any], low: str, high: str
) -> None:
    """
    The text names both fields with value and origin, and which way each may go.
    """
    (problem,) = problems(**given)
    assert problem.startswith(f"{low} (")
    assert problem.endswith(f"lower {low} or raise {high}")


def test_levels_in_reverse_are_told_pair_by_pair() -> None:
    """
    Two problems and not three; without a middle one, the outer ones are compared.
    """
    first, second = problems(warning=0.9, critical=0.8, emergency=0.7)
    assert first.startswith("warning (0.9, keyword) must be below critical (0.8")
    assert second.startswith("critical (0.8, keyword) must be below emergency (0.7")
    _, outer = problems(warning=0.9, critical="high", emergency=0.7)
    assert outer.startswith("warning (0.9, keyword) must be below emergency (0.7")


def test_limits_that_touch_are_fine_where_both_ends_count() -> None:
    """
    The managed part may be the whole, and a window may be one tick.
    """
    load(managed_limit="1MiB", memory_limit="1MiB", tick=1, leak_window_time=1)


def test_a_file_is_read_only_when_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A pyproject.toml in the working directory changes nothing; MEMGUARD_CONFIG does.
    """
    file = toml(tmp_path, "[tool.memguard]\ntick = 5\n")
    monkeypatch.chdir(tmp_path)
    assert load().tick == 1.0
    settings = Settings.load(environ={"MEMGUARD_CONFIG": str(file)})
    assert (5.0, ()) == (settings.tick, settings.warnings)


def test_a_file_without_a_section_says_nothing(tmp_path: Path) -> None:
    """
    A pyproject.toml of somebody who set nothing is no error.
    """
    for text in ("", "[tool.other]\ntick = 5\n"):
        assert load(pyproject=toml(tmp_path, text)).same_as(load())


def test_types_of_toml_are_understood(tmp_path: Path) -> None:
    """
    Numbers, booleans and lists come as such.
    """
    file = toml(
        tmp_path,
        "[tool.memguard]\ntick = 0.5\nstrict = true\naudit_ignore = ['a']\n"
        "memory_limit = '64MiB'\nlog_every = 'none'\n",
    )
    settings = load(pyproject=file)
    assert (0.5, True, ("a",), 64 << 20, None) == (
        settings.tick,
        settings.strict,
        settings.audit_ignore,
        settings.memory_limit,
        settings.log_every,
    )


BAD_FILES = [
    ("[tool.memguard\n", "cannot be read"),
    ("[tool]\nmemguard = 5\n", "[tool.memguard] is not a table"),
    ("tool = 5\n", "[tool.memguard] is not a table"),
]


@pytest.mark.parametrize(("text", "part"), BAD_FILES)
def test_a_bad_file_is_one_problem(tmp_path: Path, text: str, part: str) -> None:
    """
    It names the file and the reason, beside whatever else is wrong.
    """
    file = toml(tmp_path, text, "app.toml")
    found = problems(pyproject=file, tick=-1)
    assert len(found) == 2
    assert found[0].startswith("app.toml cannot be read (")
    assert part in found[0]


@pytest.mark.parametrize("path", ["", 0, True, 1.5])
def test_what_is_no_path_is_refused(path: Any) -> None:
    """
    A number would be taken for an open descriptor.
    """
    (problem,) = problems(pyproject=path)
    assert problem.startswith("pyproject must be the path of a TOML file")


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """
    Somebody named it, so that silence would be wrong.
    """
    (problem,) = problems(environ={"MEMGUARD_CONFIG": str(tmp_path / "gone.toml")})
    assert problem.startswith("gone.toml cannot be read (No such file or directory)")


def test_settings_are_frozen() -> None:
    """
    Nobody changes them behind the guard's back.
    """
    settings = load()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.tick = 2.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.origins["tick"] = "me"  # type: ignore[index]
    assert not hasattr(settings, "__dict__")


def test_equal_settings_are_equal_wherever_they_come_from() -> None:
    """
    `install` again with the same settings does nothing; origins do not count.
    """
    one = load(tick="1s")
    other = Settings.load(environ={"MEMGUARD_TICK": "1"})
    assert one == other
    assert one.same_as(other)
    assert hash(one) == hash(other)
    assert one.origins != other.origins
    assert not one.same_as(load(tick=2))


def test_replace_keeps_what_it_does_not_change() -> None:
    """
    Values, origins and warnings stay; changes are validated like keywords.
    """
    environ = {"MEMGUARD_GRACE": "40s", "MEMGUARD_OTHER": "1"}
    before = Settings.load(environ=environ, tick=2)
    after = before.replace(tick="3s", mode="observe")
    assert (3.0, "observe", 40.0) == (after.tick, after.mode, after.grace)
    assert "environment MEMGUARD_GRACE" == after.origins["grace"]
    assert before.warnings == after.warnings != ()
    assert 2.0 == before.tick
    with pytest.raises(SettingsError, match="below grace"):
        before.replace(shutdown_timeout="50s")
    with pytest.raises(SettingsError, match="did you mean tick"):
        before.replace(tik=1)  # type: ignore[call-arg]


def test_settings_can_be_copied_and_pickled() -> None:
    """
    A child process can be given its parent's settings.
    """
    settings = load(tick=2, audit_ignore=["a"])
    for twin in (copy.deepcopy(settings), pickle.loads(pickle.dumps(settings))):
        assert settings == twin
        assert settings.origins == twin.origins
    assert 3.0 == dataclasses.replace(settings, tick=3.0).tick


def test_reading_settings_loads_nothing_more(run_python: RunPython) -> None:
    """
    TOML and the search for similar names are loaded when a file or a wrong name is met.
    """
    code = """
import sys
from memguard._settings import Settings
Settings.load(environ={}, tick="1s")
print(sorted({"tomllib", "tomli", "difflib"} & set(sys.modules)))
Settings.load(environ={"MEMGUARD_TIK": "1s"})
print("difflib" in sys.modules)
"""
    done = run_python(code)
    assert ("[]\nTrue\n", "") == (done.stdout, done.stderr)
