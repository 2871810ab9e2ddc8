"""
Writes the generated part of docs/reference/settings.md, api.md and adapters.md.

What stands above the mark in those pages is written by hand. What a thing does is said
in its docstring, what a setting means in the table of settings: change it there, and
run `python docs/make_reference.py`. A test fails while the pages are out of date.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "memguard"
WIDTH = 88

MARK = "<!-- From here on made by `python docs/make_reference.py`, from the source. -->"

# Title of a section: what it shows, and the members of it that are for users.
CLASSES: dict[str, tuple[str, str]] = {
    "Guard": (
        "memguard:Guard",
        """start shutdown ashutdown stopped uninstall is_running sessions pool
        limiter sink log_handler adopt on_shutdown subscribe
        memory level health footprint snapshot audit risks""",
    ),
    "Scope": (
        "memguard:Scope",
        """register release enter aenter watch scope timer spawn emitter listen cache
        cached ring series close aclose""",
    ),
    "Timer": ("memguard:Timer", "__call__ trigger cancel info"),
    "Task": ("memguard:Task", "cancel done result stack"),
    "Emitter": (
        "memguard:Emitter",
        "on once off listen emit emit_async listeners listening growth",
    ),
    "Listener": ("memguard:Listener", "close"),
    "Cache": (
        "memguard:Cache",
        "get aget fast put pop invalidate clear resize keys values items info",
    ),
    "Cached functions": (
        "memguard._kinds.cache:CachedFunction",
        "invalidate refresh clear info fast",
    ),
    "Ring": (
        "memguard:Ring",
        "append extend recent page drain clear counts info memory_bytes",
    ),
    "Series": (
        "memguard:Series",
        "add recent stats clear info memory_bytes",
    ),
    "Sessions": (
        "memguard:Sessions",
        """open connect disconnect adisconnect hibernate ahibernate end aend on_restore
        on_expire on_upgrade info ainfo stats ids tag live""",
    ),
    "Session": ("memguard:Session", "ring series save asave dirty close aclose"),
    "Connection": ("memguard:Connection", ""),
    "MemoryStore": ("memguard:MemoryStore", ""),
    "SqliteStore": ("memguard:SqliteStore", ""),
    "RedisStore": ("memguard:RedisStore", ""),
    "Pool": (
        "memguard:Pool",
        "acquire release arelease resize tighten restore stats",
    ),
    "BoundedLogHandler": (
        "memguard:BoundedLogHandler",
        "recent counts clear info memory_bytes close",
    ),
    "Sink": ("memguard:Sink", "write awrite flush aflush info"),
    "Limiter": ("memguard:Limiter", "map resize tighten restore info"),
    "Adopted": ("memguard:Adopted", "info resize close aclose memory_bytes"),
    "Adapter": (
        "memguard.typing:Adapter",
        """types accepts label measure weigh cannot_of check apply trim close force
        is_open risk""",
    ),
    "Settings": ("memguard:Settings", "load replace describe origins warnings same_as"),
    "ManagedResource": (
        "memguard:ManagedResource",
        "close memory_bytes force_close",
    ),
}
FUNCTIONS = "install current current_scope sizeof"
RECORDS: dict[str, str] = {
    "memguard": "ShutdownReport",
    "memguard._adopt": "AdoptedInfo",
    "memguard.typing": "Measured Risk",
    "memguard._lifecycle.report": "ResourceReport AuditReport Finding",
    "memguard._risks.report": "RiskReport RiskRow",
    "memguard._snapshot": "GuardSnapshot KindSnapshot NodeSnapshot",
    "memguard._health": "Health MemorySample",
    "memguard._footprint": "Footprint Capability Rates",
    "memguard._leaks.memory": "MemoryVerdict",
    "memguard._probes.mappings": "Mappings MappingGroup Rollup",
    "memguard._probes.counters": "Counters",
    "memguard._probes.usage": "GroupUsage SystemMemory Pressure",
    "memguard._probes.sample": "Sample",
    "memguard._probes.process": "PagesReading",
    "memguard._probes.allocators": "MallocReading PymallocReading",
    "memguard._probes.readings": "LimitReading DirectoryReading",
    "memguard._kinds.timer": "TimerInfo",
    "memguard._kinds.emitter": "SiteGrowth",
    "memguard._kinds.cache": "CacheInfo",
    "memguard._kinds.ring": "RingInfo",
    "memguard._kinds.series": "SeriesStats SeriesInfo",
    "memguard._sessions.info": "SessionInfo SessionsStats ExpiredSession",
    "memguard._kinds.pool": "PoolStats",
    "memguard._kinds.line": "LimiterInfo",
    "memguard._kinds.sink": "SinkInfo",
    "memguard._kinds.logentry": "LogEntry LogInfo",
}
EVENTS = (
    "Collected BackgroundFailure ListenerCeiling Dropped Squeezed ShutdownStarted"
    " ShutdownFinished HandlerDisplaced"
)
ENUMS = "Level Phase"
MODULES: dict[str, str] = {
    "memguard.testing": """FakeClock FakeProbe no_leaks assert_no_growth
    aassert_no_growth capture_events""",
    "memguard.integrations.wsgi": "Middleware",
    "memguard.integrations.flask": "Memguard",
    "memguard.integrations.asgi": "MemguardMiddleware",
    "memguard.integrations.gunicorn": """hooks on_starting post_fork post_worker_init
    worker_exit""",
    "memguard.integrations.otel": "instrument",
}


# -- settings --------------------------------------------------------------------------


def settings_page() -> str:
    """
    The reference of the settings.
    """
    fields = import_module("memguard._settings").FIELDS.values()
    used = [field for field in fields if is_used(field.name)]
    parts = ["\n## All settings\n", *map(setting, used)]
    unused = [field for field in fields if field not in used]
    if unused:
        parts.append(
            "\n## Accepted, and not used yet\n\nThese are checked like the others, and"
            " nothing depends on them in this\nversion.\n"
        )
        parts += map(setting, unused)
    return "".join(parts)


def is_used(name: str) -> bool:
    """
    True when some code outside the settings reads `settings.<name>`.
    """
    reads = re.compile(rf"\bsettings\.{name}\b")
    return any(
        reads.search(path.read_text(encoding="utf-8"))
        for path in SOURCE.rglob("*.py")
        if "_settings" not in path.parts
    )


def setting(field: Any) -> str:
    """
    One setting.
    """
    default = field.text(field.default) or "(empty)"
    return (
        f"\n### {field.name}\n\n{wrap(field.doc)}\n\n"
        f"Default `{default}` · {field.unit} · `{field.variable}`\n"
    )


# -- the API ---------------------------------------------------------------------------


def api_page() -> str:
    """
    The reference of everything public.
    """
    memguard = import_module("memguard")
    parts = ["\n## Functions\n"]
    parts += [entry(getattr(memguard, name), name) for name in FUNCTIONS.split()]
    for title, (place, members) in CLASSES.items():
        module, _, name = place.partition(":")
        cls = getattr(import_module(module), name)
        parts.append(f"\n## {title}\n\n{doc(cls)}\n")
        owner = re.findall("[A-Z][a-z]+", title)[-1].lower()
        parts += [entry(cls, one, f"{owner}.") for one in members.split()]
    parts.append("\n## Constants\n")
    for name in ENUMS.split():
        values = ", ".join(f"`{one.name}`" for one in getattr(memguard, name))
        parts.append(f"\n### {name}\n\n{doc(getattr(memguard, name))}\n\n{values}\n")
    parts += ["\n## Records\n\nFrozen: one moment.\n", *records(RECORDS)]
    parts.append("\n## Events\n\nWhat `subscribe` and `capture_events` tell. Frozen.\n")
    parts += records({"memguard._events": EVENTS})
    for module, names in MODULES.items():
        parts.append(f"\n## {module}\n")
        parts += [entry(import_module(module), name) for name in names.split()]
    page = "".join(parts)
    shown = set(re.findall(r"^##+ (?:\w+\.)?(\w+)$", page, re.MULTILINE))
    missing = [one for one in memguard.__all__ if one not in shown]
    if missing:
        sys.exit(f"public, and not in the reference: {', '.join(missing)}")
    return page


def records(places: dict[str, str]) -> Iterator[str]:
    """
    Records with their fields.
    """
    for module, names in places.items():
        for name in names.split():
            cls = getattr(import_module(module), name)
            fields = [
                f"`{field}: {kind}`"
                for base in reversed(cls.__mro__)
                for field, kind in vars(base).get("__annotations__", {}).items()
                if not field.startswith("_")
            ]
            listed = wrap(", ".join(fields))
            yield f"\n### {name}\n\n{doc(cls)}\n\n{listed}\n"


def entry(place: Any, name: str, owner: str = "") -> str:
    """
    One function, method, property or class; *owner* is what the title begins with.
    """
    thing = place
    if inspect.isclass(place) or inspect.ismodule(place):
        thing = inspect.getattr_static(place, name)
        if isinstance(thing, (classmethod, staticmethod)):
            thing = thing.__func__
    title = "timer()" if name == "__call__" else f"{owner}{name}"
    if isinstance(thing, property):
        returns = inspect.signature(thing.fget).return_annotation  # type: ignore[arg-type]
        return f"\n### {title}\n\n```text\n{name} -> {returns}\n```\n\n{doc(thing)}\n"
    return f"\n### {title}\n\n```text\n{signature(thing, name)}\n```\n\n{doc(thing)}\n"


def signature(function: Any, name: str) -> str:
    """
    How it is called, as it is written, one line if that fits.
    """
    found = inspect.signature(function)
    shown, star = [], False
    for one in found.parameters.values():
        if one.name in ("self", "cls"):
            continue
        if one.kind is one.KEYWORD_ONLY and not star:
            shown.append("*")
        star = star or one.kind in (one.KEYWORD_ONLY, one.VAR_POSITIONAL)
        shown.append(parameter(one))
    returns = found.return_annotation
    arrow = "" if returns in (found.empty, "None") else f" -> {returns}"
    head = "" if not inspect.iscoroutinefunction(function) else "await "
    label = "timer" if name == "__call__" else name
    line = f"{head}{label}({', '.join(shown)}){arrow}"
    if len(line) <= WIDTH:
        return line
    inside = "".join(f"    {one},\n" for one in shown)
    return f"{head}{label}(\n{inside}){arrow}"


def parameter(one: inspect.Parameter) -> str:
    """
    One parameter with its type and its default.
    """
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    if one.annotation == "Unpack[SettingsKwargs]":
        return "**settings"
    kind = "" if one.annotation is one.empty else f": {one.annotation}"
    if one.default is one.empty:
        return f"{stars}{one.name}{kind}"
    return f"{stars}{one.name}{kind} = {default(one.default)}"


def default(value: Any) -> str:
    """
    A default as one would write it; "..." for one that stands for "not given".
    """
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, (str, int, float, bool, tuple)) or value is None:
        return f'"{value}"' if isinstance(value, str) else repr(value)
    return "..."


def doc(thing: Any) -> str:
    """
    The docstring; a thing without one has no place in the reference.
    """
    text = inspect.getdoc(thing)
    if not text:
        sys.exit(f"no docstring: {thing!r}")
    # A template such as GET /users/<id> is no HTML.
    return re.sub(r"<(?=\w)", r"\<", text)


def wrap(text: str) -> str:
    """
    One paragraph, in lines.
    """
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + len(word) >= WIDTH:
            lines.append(line)
            line = ""
        line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])


# -- adapters --------------------------------------------------------------------------

#: Titles of the sections: the files under _adopt that are told there.
LIBRARIES: dict[str, str] = {
    "Caches": "lru cachetools_caches cachebox_caches django_caches",
    "Containers": "containers",
    "Queues": "queues",
    "Threads, executors and child processes": "timer executors processes",
    "asyncio": "aio aiochildren",
    "Files and sockets": "files sockets",
    "Clients": "requests httpx aiohttp sqlalchemy redis",
    "Schedulers": "apscheduler",
    "Signals and emitters": "signals emitters",
    "Logging": "log_handlers",
}


def adapters_page() -> str:
    """
    A table of all adapters: what they measure, cap, and cannot cap.
    """
    known = import_module("memguard._adopt.known").FILES.values()
    told = " ".join(LIBRARIES.values()).split()
    missing = sorted({file for files in known for file in files} - set(told))
    if missing:
        sys.exit(f"adapters in no section: {', '.join(missing)}")
    parts = []
    for title, files in LIBRARIES.items():
        parts.append(
            f"\n## {title}\n\n"
            "| what, and what is measured | kind, phase | caps | what has no cap |\n"
            "|---|---|---|---|\n"
        )
        for file in files.split():
            adapters = import_module(f"memguard._adopt.{file}").ADAPTERS
            parts += map(adapter_row, adapters)
    return "".join(parts)


def adapter_row(adapter: Any) -> str:
    """
    One adapter: its docstring, and what it says of itself.
    """
    what = " ".join(doc(type(adapter)).split())
    caps = ", ".join(f"`{cap}`" for cap in adapter.caps) or "none"
    cannot = (adapter.cannot[:1].upper() + adapter.cannot[1:]) or "–"
    ends = "" if cannot.endswith((".", "–")) else "."
    return (
        f"| {what} | {adapter.kind}, {adapter.phase} | {caps} |"
        f" {cannot.replace('|', chr(92) + '|')}{ends} |\n"
    )


PAGES = {
    "settings.md": settings_page,
    "api.md": api_page,
    "adapters.md": adapters_page,
}


def page(name: str) -> str:
    """
    The whole page: what is written by hand, the mark, and what is made.
    """
    text = (REFERENCE / name).read_text(encoding="utf-8")
    written, mark, _ = text.partition(f"{MARK}\n")
    return written + mark + PAGES[name]()


def main(names: Iterable[str] = PAGES) -> None:
    """
    Write the pages.
    """
    for name in names:
        (REFERENCE / name).write_text(page(name), encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    main()
