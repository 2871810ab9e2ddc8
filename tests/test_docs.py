"""
The documentation is run: what README.md and docs/ show has to work as they show it.

Each fenced block of Python is compiled, and the names it takes from memguard have to
exist. An HTML comment on the line before a block asks for more:

    <!-- run -->            Python: executed, in the order of the page, in one
                            namespace; `>>>` is compared with what is printed. Console:
                            each line after `$ ` is run by bash in a directory that
                            holds docs/examples, and what it prints is compared.
    <!-- file: name.py -->  the block is docs/examples/name.py, to the letter

A page that says `<!-- fake clock -->` gets a `clock`, which its default guard reads;
one that says `<!-- redis -->` the `url` of a Redis server.
In what is compared, `...` stands for anything.

Longer than 300 lines because running, names, links and tables read the same blocks.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib.util
import inspect
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import memguard
from memguard import _default, errors
from memguard.testing import FakeClock

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGE_IDS = [str(page.relative_to(ROOT)) for page in PAGES]

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(
    r"(?:^<!-- *(?P<directive>[a-z][^>]*?) *-->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?P<target>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
HEADING = re.compile(r"^#+ +(?P<title>.+?) *$", re.MULTILINE)
COMMAND_S = 20.0
END = "== end of command, status "


@dataclass(frozen=True)
class Block:
    """
    One fenced block: where it stands, what it is, and what its page wants with it.
    """

    page: Path
    line: int
    language: str
    directive: str
    text: str

    def compiled(self, flags: int = 0) -> Any:
        """
        The code, with the line numbers of the page.
        """
        source = "\n" * self.line + self.text
        return compile(source, str(self.page), "exec", flags, dont_inherit=True)


def blocks_of(page: Path) -> list[Block]:
    """
    The fenced blocks of a page, in order.
    """
    content = page.read_text(encoding="utf-8")
    found = []
    for match in BLOCK.finditer(content):
        line = content.count("\n", 0, match.start("text"))
        text = inspect.cleandoc("\n" + match["text"]) + "\n"
        directive = match["directive"] or ""
        found.append(Block(page, line, match["language"], directive, text))
    return found


def in_this_python(text: str) -> str:
    """
    What a page shows, as this version says it: Python 3.10 knows no `Class.method`.
    """
    if sys.version_info >= (3, 11):
        return text
    # A colon follows the name of a file.
    return re.sub(r"( in )\w+\.(\w+)(?![\w:])", r"\1\2", text)


def is_doctest(block: Block) -> bool:
    """
    True for a block that shows a dialogue with the interpreter.
    """
    return block.text.startswith(">>> ") or "\n>>> " in block.text


def sources_of(block: Block) -> list[str]:
    """
    The Python of a block, without what a dialogue prints.
    """
    if not is_doctest(block):
        return [block.text]
    return [one.source for one in doctest.DocTestParser().get_examples(block.text)]


class Told(logging.Handler):
    """
    Prints warnings, from the log and from Python, where a dialogue can show them.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(f"{record.levelname} {record.getMessage()}\n")

    def show(self, message: Any, category: type[Warning], *_: object) -> None:
        if issubclass(category, errors.MemguardWarning):
            sys.stdout.write(f"{category.__name__}: {message}\n")


# -- running ---------------------------------------------------------------------------


@pytest.fixture
def in_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """
    A directory with the example programs, and a default guard nobody has used.
    """
    for program in EXAMPLES.glob("*.py"):
        shutil.copy(program, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = set(sys.modules)
    # A program that has imported it exports metrics; pages do so where they say it.
    monkeypatch.delitem(sys.modules, "opentelemetry.metrics", raising=False)
    _default.reset_default()
    told = Told()
    logger = logging.getLogger("memguard")
    logger.addHandler(told)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = told.show
        yield tmp_path
        _default.reset_default()
    logger.removeHandler(told)
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
@pytest.mark.usefixtures("in_docs", "consoles")
def test_the_python_of_a_page_does_what_it_says(
    page: Path, request: pytest.FixtureRequest
) -> None:
    """
    Blocks marked `run` are executed in order, and print what the page shows.
    """
    names: dict[str, Any] = {"__name__": "__page__"}
    if "<!-- redis -->" in page.read_text(encoding="utf-8"):
        server = request.getfixturevalue("redis_server")
        names["url"] = f"unix://{server.path}"
    if "<!-- fake clock -->" in page.read_text(encoding="utf-8"):
        clock = names["clock"] = FakeClock()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_default, "Guard", lambda: memguard.Guard(clock=clock))
            _default.default_guard()
    for block in blocks_of(page):
        if block.directive != "run" or block.language != "python":
            continue
        if is_doctest(block):
            run_dialogue(block, names)
        else:
            code = block.compiled(ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            waiting = eval(code, names)
            if inspect.iscoroutine(waiting):
                asyncio.run(waiting)


def run_dialogue(block: Block, names: dict[str, Any]) -> None:
    """
    Run the `>>>` of a block, and fail with all that came out otherwise.
    """
    where = f"{block.page.name}:{block.line}"
    examples = doctest.DocTestParser().get_examples(block.text, where)
    for example in examples:
        example.want = in_this_python(example.want)
    test = doctest.DocTest(
        examples,
        names,
        where,
        str(block.page),
        block.line,
        block.text,
    )
    # The interpreter's own names go on from one block to the next.
    test.globs = names
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    runner.run(test, out=said.append, clear_globs=False)
    if runner.failures:
        pytest.fail("".join(said), pytrace=False)


class Console:
    """
    The commands of one block, run one after the other in one shell.

    All blocks of all pages are started at once: most of their time is waiting.
    """

    def __init__(self, block: Block, directory: Path) -> None:
        self.block = block
        self.shown: list[tuple[str, str]] = []
        for line in block.text.replace("\\\n", "").splitlines(keepends=True):
            if line.startswith("$ "):
                self.shown.append((line[2:], ""))
            else:
                command, output = self.shown[-1]
                self.shown[-1] = (command, output + line)
        after = f'status=$?; echo "{END}$status"; (exit $status)'
        script = "".join(f"{command}\n{after}\n" for command, _ in self.shown)
        shutil.copytree(EXAMPLES, directory)
        self._output = directory / "output"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=directory,
                env=environment() | {"HOME": str(directory)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def compare(self) -> None:
        """
        Wait for the end, and fail unless each command printed what the page shows.
        """
        self.process.wait(COMMAND_S)
        printed = re.split(rf"{END}\d+\n", self._output.read_text())
        checker = doctest.OutputChecker()
        for (command, shown), actual in zip(self.shown, printed, strict=False):
            expected = in_this_python(shown)
            if not checker.check_output(expected, actual, FLAGS):
                example = doctest.Example(command, expected)
                difference = checker.output_difference(example, actual, FLAGS)
                where = f"{self.block.page}:{self.block.line}"
                pytest.fail(f"{where}\n$ {command}{difference}", pytrace=False)

    def end(self) -> None:
        """
        Kill what still runs, when nobody has waited for it.
        """
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(COMMAND_S)


def environment() -> dict[str, str]:
    """
    For commands: this interpreter and this source first, and no settings.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MEMGUARD_", "OTEL_"))
        and name not in ("XDG_STATE_HOME", "STATE_DIRECTORY")
    } | {"PATH": path, "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture(scope="module")
def consoles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Console]]:
    """
    Every console block that is run, all of them under way.
    """
    home = tmp_path_factory.mktemp("consoles")
    blocks = [
        block
        for page in PAGES
        for block in blocks_of(page)
        if block.language == "console" and block.directive == "run"
    ]
    started = [Console(block, home / str(n)) for n, block in enumerate(blocks)]
    yield started
    for console in started:
        console.end()


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_the_commands_of_a_page_print_what_it_says(
    page: Path, consoles: list[Console]
) -> None:
    """
    Console blocks marked `run` end with the output that the page shows.
    """
    for console in consoles:
        if console.block.page == page:
            console.compare()


@pytest.mark.usefixtures("in_docs")
def test_the_readme_is_a_program_that_serves() -> None:
    """
    The first program a reader sees keeps the newest messages of each user.
    """
    first = next(one for one in blocks_of(PAGES[0]) if one.language == "python")
    names: dict[str, Any] = {"__name__": "readme"}
    exec(first.compiled(), names)
    client = names["app"].test_client()
    answers = [
        client.post("/acme/messages", json={"n": n}, headers={"X-User": "ann"}).json
        for n in range(25)
    ]
    assert {"history": [{"n": n} for n in range(5, 25)]} == answers[-1]
    assert 200 == client.get("/healthz").status_code
    assert memguard.shutdown().clean


# -- compiling and names ---------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_the_python_of_a_page_is_python_and_knows_memguard(page: Path) -> None:
    """
    Every block compiles, and takes from memguard only what is there.
    """
    wrong: list[str] = []
    for block in blocks_of(page):
        if block.language != "python":
            continue
        for source in sources_of(block):
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            compile(source, f"{page}:{block.line}", "exec", flags, dont_inherit=True)
            wrong += [
                f"{page.name}:{block.line} {one}" for one in unknown(ast.parse(source))
            ]
    assert [] == wrong


def unknown(tree: ast.AST) -> Iterator[str]:
    """
    What a piece of code takes from memguard and memguard does not have.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
            "memguard"
        ):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                if alias.name != "*" and not has(module, alias.name):
                    yield f"from {node.module} import {alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("memguard"):
                    importlib.import_module(alias.name)
        elif isinstance(node, ast.Attribute) and is_memguard(node.value):
            if not has(memguard, node.attr):
                yield f"memguard.{node.attr}"
        elif isinstance(node, ast.Call):
            yield from unknown_keywords(node)


def unknown_keywords(call: ast.Call) -> Iterator[str]:
    """
    Keywords of a call of memguard's own function that it does not take.
    """
    called = call.func
    if not isinstance(called, ast.Attribute) or not is_memguard(called.value):
        return
    function = getattr(memguard, called.attr, None)
    if function is None:
        return
    parameters = inspect.signature(function).parameters
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return
    for keyword in call.keywords:
        if keyword.arg is not None and keyword.arg not in parameters:
            yield f"memguard.{called.attr}(... {keyword.arg}=)"


def is_memguard(node: ast.AST) -> bool:
    """
    True for the name `memguard`.
    """
    return isinstance(node, ast.Name) and node.id == "memguard"


def has(module: ModuleType, name: str) -> bool:
    """
    True for what a module offers: its `__all__`, and its public submodules.
    """
    offered = getattr(module, "__all__", dir(module))
    if name in offered or name == "__version__":
        return True
    try:
        importlib.import_module(f"{module.__name__}.{name}")
    except ImportError:
        return False
    return not name.startswith("_")


# -- what else a page refers to --------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_a_program_stands_in_a_page_as_it_is(page: Path) -> None:
    """
    A block that shows a file of docs/examples shows all of it.
    """
    for block in blocks_of(page):
        if block.directive.startswith("file:"):
            name = block.directive.removeprefix("file:").strip()
            program = (EXAMPLES / name).read_text(encoding="utf-8")
            assert program == block.text, f"{page.name}:{block.line} is not {name}"


def test_each_program_is_shown_somewhere() -> None:
    """
    No example is left that nobody reads.
    """
    shown = {
        block.directive.removeprefix("file:").strip()
        for page in PAGES
        for block in blocks_of(page)
        if block.directive.startswith("file:")
    }
    assert sorted(path.name for path in EXAMPLES.glob("*.py")) == sorted(shown)


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_directives_are_known(page: Path) -> None:
    """
    A misspelt comment would silently leave an example out.
    """
    known = re.compile(r"run|file: \w+\.py")
    odd = [one.directive for one in blocks_of(page) if one.directive]
    assert [] == [one for one in odd if not known.fullmatch(one)]


def anchors_of(page: Path) -> set[str]:
    """
    The anchors that a reader's browser knows on a page, made as forges make them.
    """
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {anchor_of(match["title"]) for match in HEADING.finditer(text)}


def anchor_of(title: str) -> str:
    """
    The anchor of a heading.
    """
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=PAGE_IDS)
def test_links_lead_somewhere(page: Path) -> None:
    """
    Files and headings that a page links to exist.
    """
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    dead = []
    for match in LINK.finditer(text):
        target, anchor = match["target"], match["anchor"]
        if "://" in target or target.startswith("mailto:"):
            continue
        path = (page.parent / target).resolve() if target else page
        if not path.exists():
            dead.append(target)
        elif anchor and anchor not in anchors_of(path):
            dead.append(f"{target}#{anchor}")
    assert [] == dead


# -- reference pages -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["settings.md", "api.md", "adapters.md"])
def test_the_reference_is_what_the_source_says(name: str) -> None:
    """
    Run `python docs/make_reference.py` when this fails.
    """
    spec = importlib.util.spec_from_file_location(
        "make_reference", DOCS / "make_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    make_reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_reference)
    actual = (DOCS / "reference" / name).read_text(encoding="utf-8")
    assert make_reference.page(name) == actual, (
        f"docs/reference/{name} is out of date: run python docs/make_reference.py"
    )


def test_each_error_has_cause_and_cure() -> None:
    """
    Everything in memguard.errors has a section that says both.
    """
    page = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"(?ms)^## (\w+)\n(.*?)(?=^## |\Z)", page))
    assert sorted(errors.__all__) == sorted(sections)
    for name, text in sections.items():
        assert name == "MemguardError" or ("*Cause.*" in text and "*Cure.*" in text)


# -- requirements ----------------------------------------------------------------------


def requirements() -> list[tuple[str, str, str]]:
    """
    The rows of docs/requirements.md: id, links to sections, names of tests.
    """
    text = (DOCS / "requirements.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ([A-E]\d+) \|[^|]*\|([^|]*)\|([^|]*)\|$", text, re.MULTILINE
    )
    return [(row[0], row[1], row[2]) for row in rows]


def test_each_requirement_of_this_version_has_a_row() -> None:
    """
    None is left out.
    """
    expected = [
        "A1",
        "A2",
        "A3",
        "A4",
        "A5",
        "A6",
        "A8",
        "A10",
        "A11",
        "A12",
        "A13",
        "A14",
        "A15",
        "B1",
        "B2",
        "B3",
        "B4",
        "B5",
        "B6",
        "C1",
        "C2",
        "C3",
        "C4",
        "C5",
        "C7",
        "D2",
        "D3",
        "D4",
        "D6",
        "D10",
        "E1",
        "E2",
        "E4",
        "E8",
        "E9",
    ]
    assert expected == [row[0] for row in requirements()]


@pytest.mark.parametrize("row", requirements(), ids=lambda row: row[0])
def test_a_requirement_has_an_example_that_runs_and_a_test(
    row: tuple[str, str, str],
) -> None:
    """
    The section exists and has a block that is run; so does each test that is named.
    """
    _, links, tests = row
    sections = LINK.findall(links)
    assert sections
    for target, anchor in sections:
        assert "<!-- run -->" in section(DOCS / target, anchor)
    names = re.findall(r"`([^`]+)`", tests)
    assert names
    for name in names:
        path, *parts = name.split("::")
        source = (ROOT / "tests" / path).read_text(encoding="utf-8")
        for part in parts:
            assert re.search(
                rf"^ *(def|async def|class) {part}\b", source, re.MULTILINE
            ), name


def section(page: Path, anchor: str) -> str:
    """
    The text below a heading, up to the next one.
    """
    text = page.read_text(encoding="utf-8")
    outside = BLOCK.sub(lambda match: "x" * len(match[0]), text)
    headings = list(HEADING.finditer(outside))
    for at, heading in enumerate(headings):
        if anchor_of(heading["title"]) == anchor:
            end = headings[at + 1].start() if at + 1 < len(headings) else len(text)
            return text[heading.end() : end]
    pytest.fail(f"{page.name} has no section {anchor}")
