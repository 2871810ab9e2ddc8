"""
The shape of the source: imports point downwards, one idea a file, I/O at the edges.

Reads the source, imports nothing. Only imports under `if TYPE_CHECKING:` may point
upwards. Each rule is tried on a planted violation as well, so that it cannot pass
because it looks at nothing.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PACKAGE = "memguard"
SOURCE = Path(__file__).parents[1] / "src" / PACKAGE

# Low to high. A unit is a module or a package directly under src/memguard; it may
# import what stands in a row above it here, and inside a package everything of it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("_records",),
    ("errors", "typing", "_clock", "_events", "_phases", "_settings"),
    ("_forks", "_latch", "_sites", "_tally"),
    ("_failures", "_workers"),
    ("_scheduler",),
    ("_probes",),
    ("_sizing",),
    ("_registry",),
    ("_node",),
    ("_tree",),
    ("_kinds",),
    ("_adopt",),
    ("_lifecycle",),
    ("_leaves",),
    ("_registering",),
    ("_closing",),
    ("_scope",),
    ("_sessions",),
    ("_pressure", "_leaks"),
    ("_health", "_snapshot"),
    ("_footprint",),
    ("_risks",),
    ("_root",),
    ("_guard",),
    ("_process", "_telemetry"),
    ("_default",),
    ("__init__", "__main__", "_cli", "integrations", "pytest_plugin", "testing"),
)

# Within one row: (importer, imported), nothing else; "*" is any unit of that row.
NEIGHBOURS = {
    ("*", "errors"),
    ("*", "__init__"),  # what stands on top may use the public face
    ("__main__", "_cli"),
    ("pytest_plugin", "testing"),
}

MAX_LINES = 300
LONGER = f"Longer than {MAX_LINES} lines because"
CATCH_ALLS = {"common", "helper", "helpers", "misc", "util", "utils"}
PROBE_ONLY_IMPORTS = {"ctypes", "psutil"}
PROBE_ONLY_PATHS = ("/proc", "/sys")


@dataclass(frozen=True)
class Module:
    """
    One parsed file; `parts` are its package path under memguard.
    """

    path: Path
    parts: tuple[str, ...]
    text: str
    tree: ast.Module

    @property
    def unit(self) -> str:
        return self.parts[0]

    @property
    def docstring(self) -> str:
        return " ".join((ast.get_docstring(self.tree) or "").split())

    def at(self, node: ast.AST) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@dataclass(frozen=True)
class Import:
    """
    One name imported by a statement or by `import_module("...")`.

    `target` is absolute; for `from a import b` it is `a.b`, whatever b is.
    """

    node: ast.AST
    target: tuple[str, ...]


def read(root: Path) -> list[Module]:
    """
    Parses every file under `root`, in a stable order.
    """
    modules = []
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        parts = path.relative_to(root).with_suffix("").parts
        if len(parts) > 1 and parts[-1] == "__init__":
            parts = parts[:-1]
        shown = path.relative_to(root.parent)
        modules.append(Module(shown, parts, text, ast.parse(text, str(path))))
    return modules


def is_type_checking(test: ast.expr) -> bool:
    """
    Tells `TYPE_CHECKING` and `typing.TYPE_CHECKING` from other conditions.
    """
    return ast.unparse(test).rpartition(".")[2] == "TYPE_CHECKING"


def at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """
    Walks a tree without what stands under `if TYPE_CHECKING:`.
    """
    yield node
    if isinstance(node, ast.If) and is_type_checking(node.test):
        children: Iterable[ast.AST] = node.orelse
    else:
        children = ast.iter_child_nodes(node)
    for child in children:
        yield from at_run_time(child)


def package_of(module: Module) -> tuple[str, ...]:
    """
    The package in which a relative import of the module starts.
    """
    if module.path.name == "__init__.py":
        inner = () if module.parts == ("__init__",) else module.parts
    else:
        inner = module.parts[:-1]
    return (PACKAGE, *inner)


def imports(module: Module) -> Iterator[Import]:
    """
    Every import that can happen at run time, inside functions too.
    """
    for node in at_run_time(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node, tuple(alias.name.split(".")))
        elif isinstance(node, ast.ImportFrom):
            base = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                package = package_of(module)
                base = (*package[: len(package) - node.level + 1], *base)
            for alias in node.names:
                yield Import(node, (*base, alias.name))
        elif (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).endswith(("import_module", "__import__"))
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield Import(node, tuple(str(node.args[0].value).split(".")))


def units_of(modules: Iterable[Module]) -> set[str]:
    """
    The names directly under the package: those in the table, and what is there.
    """
    return {unit for row in LAYERS for unit in row} | {m.unit for m in modules}


def unit_of(target: tuple[str, ...], units: set[str]) -> str | None:
    """
    The unit that an import reaches; None outside memguard.
    """
    if target[0] != PACKAGE:
        return None
    if len(target) > 2 or (target[1:2] and target[1] in units):
        return target[1]
    return "__init__"


def outside_the_table(modules: Iterable[Module]) -> list[str]:
    """
    Modules whose layer nobody decided.
    """
    known = {unit for row in LAYERS for unit in row}
    return [f"{m.path}: {m.unit}" for m in modules if m.unit not in known]


def upward_imports(modules: Iterable[Module]) -> list[str]:
    """
    Imports of a higher row, or of a neighbour that is not listed.
    """
    modules = list(modules)
    units = units_of(modules)
    rank = {unit: number for number, row in enumerate(LAYERS) for unit in row}
    found = []
    for module in modules:
        for one in imports(module):
            unit = unit_of(one.target, units)
            if unit is None or unit == module.unit:
                continue
            here, there = rank.get(module.unit, -1), rank.get(unit, len(LAYERS))
            allowed = {(module.unit, unit), ("*", unit)} & NEIGHBOURS
            if there > here or (there == here and not allowed):
                found.append(f"{module.at(one.node)}: {module.unit} imports {unit}")
    return list(dict.fromkeys(found))


def sibling_integrations(modules: Iterable[Module]) -> list[str]:
    """
    Integrations that import one another; what they share starts with `_`.
    """
    family = (PACKAGE, "integrations")
    modules = list(modules)
    members = {
        m.parts[1] for m in modules if m.unit == "integrations" and len(m.parts) > 1
    }
    return [
        f"{module.at(one.node)}: imports {'.'.join(one.target)}"
        for module in modules
        if module.unit == "integrations"
        for one in imports(module)
        if one.target[:2] == family
        and len(one.target) > 2
        and one.target[2] in members
        and not one.target[2].startswith("_")
        and module.parts[1:2] != one.target[2:3]
    ]


def too_long(modules: Iterable[Module]) -> list[str]:
    """
    Files over the limit that do not say why.
    """
    return [
        f"{m.path}: {lines} lines"
        for m in modules
        if (lines := len(m.text.splitlines())) > MAX_LINES and LONGER not in m.docstring
    ]


def catch_alls(modules: Iterable[Module]) -> list[str]:
    """
    Modules named after no idea.
    """
    return [
        str(m.path)
        for m in modules
        if any(part.strip("_") in CATCH_ALLS for part in m.parts)
    ]


def probing_outside_probes(modules: Iterable[Module]) -> list[str]:
    """
    Paths of the kernel's file systems, and calls into libc, outside `_probes`.
    """
    found = []
    for module in modules:
        if module.unit == "_probes":
            continue
        found += [
            f"{module.at(one.node)}: imports {one.target[0]}"
            for one in imports(module)
            if one.target[0] in PROBE_ONLY_IMPORTS
        ]
        found += [
            f"{module.at(node)}: {node.value!r}"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, (str, bytes))
            and is_probe_path(node.value)
        ]
    return found


def is_probe_path(value: str | bytes) -> bool:
    """
    Tells `/proc` and `/proc/self` from `/process` and from prose.
    """
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    return any(text == p or text.startswith(p + "/") for p in PROBE_ONLY_PATHS)


def sleeps(modules: Iterable[Module]) -> list[str]:
    """
    Uses of `time.sleep` by any name, outside the clock.
    """
    found = []
    for module in modules:
        if module.unit == "_clock":
            continue
        aliases = {
            alias.asname or alias.name
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Import)
            for alias in node.names
            if alias.name == "time"
        }
        for node in ast.walk(module.tree):
            by_attribute = (
                isinstance(node, ast.Attribute)
                and node.attr == "sleep"
                and isinstance(node.value, ast.Name)
                and node.value.id in aliases
            )
            by_name = (
                isinstance(node, ast.ImportFrom)
                and node.module == "time"
                and any(alias.name == "sleep" for alias in node.names)
            )
            if by_attribute or by_name:
                found.append(module.at(node))
    return found


Rule: TypeAlias = "Callable[[Iterable[Module]], list[str]]"

RULES: tuple[Rule, ...] = (
    outside_the_table,
    upward_imports,
    sibling_integrations,
    too_long,
    catch_alls,
    probing_outside_probes,
    sleeps,
)


def test_the_source_is_found() -> None:
    """
    The rules below have something to look at.
    """
    assert len(read(SOURCE)) > 0


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_no_violation(rule: Rule) -> None:
    """
    The source keeps the rule, everywhere.
    """
    assert "" == "\n".join(rule(read(SOURCE)))


def test_no_unit_stands_in_two_rows() -> None:
    """
    The table is a layering, and every listed pair is about one of its rows.
    """
    units = [unit for row in LAYERS for unit in row]
    assert len(set(units)) == len(units)
    row_of = {unit: row for row in LAYERS for unit in row}
    for importer, imported in NEIGHBOURS:
        assert importer == "*" or row_of[importer] == row_of[imported]


PLANTED = (
    pytest.param(outside_the_table, {"_new.py": ""}, id="unknown unit"),
    pytest.param(
        upward_imports,
        {"_tree.py": "from memguard._scope import Scope", "_scope.py": ""},
        id="upwards",
    ),
    pytest.param(
        upward_imports,
        {"_tree.py": "def f():\n    import memguard._guard", "_guard.py": ""},
        id="upwards in a function",
    ),
    pytest.param(
        upward_imports,
        {"_tree.py": "from . import _guard", "_guard.py": ""},
        id="upwards, relative",
    ),
    pytest.param(
        upward_imports,
        {"_kinds/cache/a.py": "from ..._scope import Scope", "_scope.py": ""},
        id="upwards, relative from a deep package",
    ),
    pytest.param(
        upward_imports,
        {"_kinds/__init__.py": "from .._scope import Scope", "_scope.py": ""},
        id="upwards, relative from a package's own file",
    ),
    pytest.param(
        upward_imports,
        {"_tree.py": "import importlib\nimportlib.import_module('memguard._guard')"},
        id="upwards, by name",
    ),
    pytest.param(
        upward_imports,
        {"_guard.py": "from memguard import timer", "__init__.py": ""},
        id="the public face from below",
    ),
    pytest.param(
        upward_imports,
        {
            "_tree.py": "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    pass\nelse:\n    import memguard._guard",
            "_guard.py": "",
        },
        id="the other branch of a TYPE_CHECKING",
    ),
    pytest.param(
        upward_imports,
        {"_clock.py": "import memguard._events", "_events.py": ""},
        id="neighbour",
    ),
    pytest.param(
        sibling_integrations,
        {
            "integrations/flask.py": "from memguard.integrations.wsgi import x",
            "integrations/wsgi.py": "",
        },
        id="integrations",
    ),
    pytest.param(
        sibling_integrations,
        {
            "integrations/flask.py": "from . import wsgi",
            "integrations/wsgi.py": "",
        },
        id="integrations, relative",
    ),
    pytest.param(too_long, {"_tree.py": "\n" * (MAX_LINES + 1)}, id="long"),
    pytest.param(catch_alls, {"_kinds/_utils.py": ""}, id="catch-all"),
    pytest.param(catch_alls, {"helpers/a.py": ""}, id="catch-all package"),
    pytest.param(
        probing_outside_probes, {"_tree.py": "PATH = '/proc/self/fd'"}, id="/proc"
    ),
    pytest.param(
        probing_outside_probes, {"_tree.py": "PATH = f'/proc/{1}/fd'"}, id="f-string"
    ),
    pytest.param(
        probing_outside_probes, {"_tree.py": "PATH = b'/sys/fs/cgroup'"}, id="/sys"
    ),
    pytest.param(
        probing_outside_probes,
        {"_tree.py": "def f():\n    from ctypes import CDLL"},
        id="ctypes",
    ),
    pytest.param(probing_outside_probes, {"_cli/top.py": "import psutil"}, id="psutil"),
    pytest.param(sleeps, {"_tree.py": "import time\ntime.sleep(1)"}, id="sleep"),
    pytest.param(sleeps, {"_tree.py": "import time as t\nt.sleep(1)"}, id="alias"),
    pytest.param(sleeps, {"_tree.py": "from time import sleep"}, id="sleep by name"),
)


def plant(root: Path, files: dict[str, str]) -> list[Module]:
    """
    Writes a little package and reads it.
    """
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return read(root)


@pytest.mark.parametrize(("rule", "files"), PLANTED)
def test_a_planted_violation_is_found(
    rule: Rule, files: dict[str, str], tmp_path: Path
) -> None:
    """
    Each rule names the one violation that was planted for it.
    """
    assert len(rule(plant(tmp_path, files))) == 1


def test_what_is_allowed_passes(tmp_path: Path) -> None:
    """
    Downward, typed-only, package-internal and listed imports are no violations.
    """
    reason = f'"""\nText. Longer than {MAX_LINES}\nlines because it is one table.\n"""'
    modules = plant(
        tmp_path,
        {
            "__init__.py": "from memguard._guard import Guard",
            "errors.py": reason + "\n" * MAX_LINES,
            "_clock.py": "import time\nfrom memguard import errors\ntime.sleep(0)",
            "_guard.py": "from memguard._tree import Node",
            "_probes/procfs.py": "import ctypes\nPATH = '/proc/self/statm'",
            "_probes/cgroup.py": "from memguard._probes import procfs",
            "_registry.py": "'/process and prose about /proc'",
            "_tree.py": "from memguard._registry import Registry\nimport typing\n"
            "if typing.TYPE_CHECKING:\n    from memguard._guard import Guard",
            "integrations/__init__.py": "",
            "integrations/_wsgi.py": "import memguard",
            "integrations/flask.py": "from memguard.integrations._wsgi import x",
            "_telemetry/spans.py": "import asyncio\n\nasync def f():\n"
            "    await asyncio.sleep(1)",
        },
    )
    assert [] == [violation for rule in RULES for violation in rule(modules)]
