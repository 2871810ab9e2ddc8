"""
Adapters of other packages, found by entry points of installed distributions.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu.utils.functional import LRUCache

from memguard import Guard
from memguard._adopt import known
from memguard.testing import FakeClock
from memguard.typing import Adapter, Measured

EXAMPLE = Path(__file__).parents[2] / "examples" / "adapter_plugin"


@pytest.fixture
def guard() -> Guard:
    """
    A guard in virtual time, not started.
    """
    return Guard(clock=FakeClock())


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """
    A directory of installed packages; what was found of others is forgotten.
    """
    monkeypatch.syspath_prepend(tmp_path)
    known.forget_plugins()
    importlib.invalidate_caches()
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("plugin_", "memguard_kombu")):
            del sys.modules[name]
    known.forget_plugins()


def install(site: Path, name: str, source: str, entry: str) -> None:
    """
    A distribution as an installer leaves it: its module, and its entry point.
    """
    (site / f"{name}.py").write_text(source)
    about = site / f"{name}-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n"
    )
    (about / "entry_points.txt").write_text(f"[memguard.adapters]\n{name} = {entry}\n")


def test_the_example_is_found_and_used(site: Path) -> None:
    """
    The package under `examples/adapter_plugin`: its entry point, its cap, its end.
    """
    clock = FakeClock()
    guard = Guard(clock=clock)
    entry = "memguard_kombu:KombuCache"
    assert f'kombu = "{entry}"' in (EXAMPLE / "pyproject.toml").read_text()
    cache: Any = LRUCache()
    for key in range(20):
        cache[key] = str(key)
    with pytest.raises(TypeError, match=r"memguard\.adapters"):
        guard.adopt(cache)
    known.forget_plugins()
    source = (EXAMPLE / "memguard_kombu.py").read_text()
    install(site, "memguard_kombu", source, entry)
    handle = guard.adopt(cache)
    assert handle.risk() is not None
    handle.resize(max_entries=5)
    with guard:
        clock.advance(1.5)
        assert list(range(15, 20)) == list(cache)
        info = handle.info()
        assert ("cache", 5, 5) == (info.kind, info.entries, info.limit)
        assert 100 < (info.bytes or 0)
        assert handle.risk() is None
    assert 0 == len(cache)


BROKEN = "raise RuntimeError('no secret in reports')"
FOREIGN = """
from memguard.typing import Adapter, Measured

class Thing:
    ended = False

class Things(Adapter):
    kind = "thing"
    def types(self):
        return (Thing,)
    def measure(self, obj):
        return Measured(entries=1)
    def close(self, obj):
        obj.ended = True

class Wrong(Adapter):
    phase = "someday"

ADAPTERS = [Things(), Things]
"""


def test_a_broken_package_is_reported_and_the_others_work(
    guard: Guard, site: Path
) -> None:
    """
    A package that fails to load, one without an adapter, and one with a wrong phase.
    """
    install(site, "plugin_broken", BROKEN, "plugin_broken:ADAPTER")
    install(site, "plugin_empty", "ADAPTER = 3", "plugin_empty:ADAPTER")
    install(site, "plugin_good", FOREIGN, "plugin_good:ADAPTERS")
    install(site, "plugin_wrong", FOREIGN, "plugin_wrong:Wrong")
    module: Any = importlib.import_module("plugin_good")
    thing = module.Thing()
    handle = guard.adopt(thing)
    assert 1 == handle.info().entries
    assert 3 == guard.registry.failures.total
    handle.close()
    assert thing.ended


def test_a_derived_type_is_its_nearest_adapters(guard: Guard, site: Path) -> None:
    """
    The adapter for the very type comes first; else the nearest base decides.
    """
    source = """
import collections
from memguard.typing import Adapter, Measured

class Bag(collections.OrderedDict):
    pass

class Bags(Adapter):
    kind = "bag"
    must_close = False
    def types(self):
        return (Bag, collections.OrderedDict)
    def measure(self, obj):
        return Measured(entries=len(obj))
"""
    install(site, "plugin_bags", source, "plugin_bags:Bags")
    module: Any = importlib.import_module("plugin_bags")

    class Sack(module.Bag):  # type: ignore[misc]
        pass

    sack = Sack(a=1)
    assert "bag" == guard.adopt(sack).kind


def test_an_adapter_needs_types_and_a_measure() -> None:
    """
    Everything else has a default, and an awaited close is found out.
    """

    class Least(Adapter):
        def types(self) -> tuple[type, ...]:
            return ()

        def measure(self, obj: Any) -> Measured:
            return Measured()

    class Awaited(Least):
        async def close(self, obj: Any) -> None:
            return None

    least = Least()
    assert ("resource", "clients", "any") == (least.kind, least.phase, least.affinity)
    assert (False, True) == (Least.awaits, Awaited.awaits)
    assert least.close(object()) is None
    assert [] == least.trim(object(), {}, 1)
    assert None is least.weigh(object())
    assert None is least.risk(object())
    assert least.is_open(object())
