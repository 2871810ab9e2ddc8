"""
Taking the footprint: reads everything once, and says what could not be read.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from memguard._footprint.record import Capability, Footprint, Rates
from memguard._health import timestamp_of
from memguard._leaks.memory import MemoryVerdict, memory_verdict
from memguard._probes.counters import Counters
from memguard._probes.descriptors import Descriptor
from memguard._probes.files import directory_size
from memguard._probes.process import PagesReading, ProcessView
from memguard._probes.readings import LimitReading
from memguard._probes.sample import Sample
from memguard._records import changed

if TYPE_CHECKING:
    from memguard._root import Root
    from memguard.typing import Clock

__all__ = ("footprint_of", "footprint_of_process")

_NOBODY = Counters(None, None, None, None, "unavailable")


def footprint_of(
    guard: Root,
    since: Footprint | None = None,
    *,
    log_dir: str | os.PathLike[str] | None = None,
    deep: bool = False,
) -> Footprint:
    """
    The footprint of the process that *guard* is in, by the guard's own probe.

    Takes some milliseconds, more with thousands of descriptors, sockets or regions.
    """
    if since is not None and not isinstance(since, Footprint):
        msg = (
            "since must be an earlier result of footprint(), not a"
            f" {type(since).__qualname__}"
        )
        raise TypeError(msg)
    probe, clock = guard.probe, guard.registry.clock
    view: ProcessView | None = getattr(probe, "view", None)
    now = clock.monotonic()
    found = _Taker(view, clock, now).take(
        since=since,
        log_dir=None if log_dir is None else os.fspath(log_dir),
        deep=deep,
        fallback=probe.memory(),
        limit=probe.limit(guard.settings.memory_limit),
        sessions=guard.registry.live("session"),
        sample=None if view is None else probe.sample(now),
    )
    if since is None and found.sample is not None:
        # What the first look of a process needed itself (code, tables) is no growth
        # until the next: look once more.
        sample = probe.sample(now)
        found = changed(found, sample=sample, verdict=_verdict(sample, None))
    return found


def footprint_of_process(
    view: ProcessView, clock: Clock, *, log_dir: str | None = None, deep: bool = False
) -> Footprint:
    """
    The footprint of any process, from outside: without what only it can know.
    """
    return _Taker(view, clock, clock.monotonic()).take(
        log_dir=log_dir, deep=deep, limit=view.limit()
    )


class _Taker:
    """
    Reads part by part, and notes where each figure is from and which are missing.
    """

    def __init__(
        self,
        view: ProcessView | None,
        clock: Clock,
        now: float,
    ) -> None:
        self._view = view
        self._clock = clock
        self._now = now
        self._sources: dict[str, str] = {}
        self._known: list[Capability] = []

    def take(
        self,
        *,
        limit: LimitReading,
        since: Footprint | None = None,
        log_dir: str | None = None,
        deep: bool = False,
        fallback: Any = None,
        sessions: int | None = None,
        sample: Sample | None = None,
    ) -> Footprint:
        view, wall = self._view, self._clock.time()
        pages = self._pages(sample, fallback)
        self._allocators(sample)
        stat = None if view is None else view.stat()
        self._note("process", stat is not None)
        found = None if view is None else view.descriptors()
        types = self._types(found)
        connections = None if view is None else view.connections(found)
        self._note("connections", connections is not None)
        children = None if view is None else view.children()
        self._note("children", children is not None)
        counters = _NOBODY if view is None else view.counters()
        self._sources["counters"] = counters.source
        self._note("faults", counters.minor_faults is not None)
        self._note("switches", counters.voluntary_switches is not None)
        mappings = None if view is None else view.mappings()
        self._note("mappings", mappings is not None)
        rollup = view.rollup() if deep and view is not None else None
        if deep:
            self._note("pages", rollup is not None)
        group = None if view is None else view.group()
        self._note("control group", group is not None, "no control group tells")
        system = None if view is None else view.system()
        self._note("host", system is not None)
        has_pressure = system is not None and system.pressure is not None
        self._note("pressure", has_pressure, "this kernel measures no pressure (PSI)")
        self._sources["limit"] = f"{limit.source}: {limit.detail}"
        log = None if log_dir is None else directory_size(log_dir)
        self._log(log_dir, log)
        rss = None if pages is None else pages.rss
        return Footprint(
            pid=_pid_of(view, stat),
            name="?" if stat is None else stat.name,
            timestamp=timestamp_of(wall),
            taken_s=self._now,
            uptime_s=None if view is None else view.uptime(stat, wall),
            rss=rss,
            virtual=None if pages is None else pages.virtual,
            shared=None if pages is None else pages.shared,
            swap=None if pages is None else pages.swap,
            memory_percent=None if not rss or not system else 100 * rss / system.total,
            limit=limit,
            descriptors=types,
            descriptors_limit=None if view is None else view.descriptors_limit(),
            connections=connections,
            children=None if children is None else len(children),
            zombies=None
            if children is None
            else sum(one.zombie for one in children.values()),
            threads=None if stat is None else stat.threads,
            counters=counters,
            mappings=mappings,
            rollup=rollup,
            group=group,
            system=system,
            log=log,
            active_sessions=sessions,
            sample=sample,
            verdict=_verdict(sample, since),
            rates=None if since is None else self._rates(since, rss, counters),
            sources=self._sources,
            capabilities=tuple(self._known),
        )

    # -- parts -------------------------------------------------------------------------

    def _pages(self, sample: Sample | None, fallback: Any) -> PagesReading | None:
        if sample is not None:
            pages: PagesReading | None = sample.pages
        else:
            pages = None if self._view is None else self._view.pages()
        if pages is None and fallback is not None and fallback.rss is not None:
            virtual = fallback.virtual or 0
            pages = PagesReading(
                fallback.rss, virtual, None, None, None, fallback.source
            )
        self._sources["memory"] = "unavailable" if pages is None else pages.source
        if pages is not None and pages.source == "rusage-peak":
            because = "only the highest value ever is known, not that of now"
            self._known.append(Capability("memory", "degraded", because))
        else:
            self._note("memory", pages is not None)
        return pages

    def _allocators(self, sample: Sample | None) -> None:
        if sample is None:
            because = "only the process itself can ask them"
            self._known.append(Capability("allocators", "off", because))
            return
        native, small = sample.malloc, sample.pymalloc
        self._sources["malloc"] = native.source
        self._sources["pymalloc"] = small.source
        self._note("malloc", native.used is not None, native.source)
        if native.degraded:
            because = "mallinfo counts in 32 bits; glibc 2.33 has mallinfo2"
            self._known[-1] = Capability("malloc", "degraded", because)
        self._note("pymalloc", small.arenas is not None, small.source)

    def _types(self, found: dict[int, Descriptor] | None) -> dict[str, int] | None:
        if found is not None:
            self._note("descriptors", True)
            types = Counter(one.type for one in found.values())
            return dict(sorted(types.items()))
        number = None if self._view is None else self._view.descriptors_count().value
        if number is None:
            self._note("descriptors", False)
            return None
        because = "their number is known, but not what they are"
        self._known.append(Capability("descriptors", "degraded", because))
        return {"unreadable": number}

    def _log(self, directory: str | None, found: Any) -> None:
        if directory is None:
            self._known.append(Capability("logs", "off", "no directory was named"))
        elif found is not None and not found.whole:
            because = f"only {found.files} files were counted"
            self._known.append(Capability("logs", "degraded", because))
        else:
            self._note("logs", found is not None, "the directory cannot be read")

    def _note(self, name: str, is_known: bool, because: str | None = None) -> None:
        if is_known:
            self._known.append(Capability(name, "supported"))
            return
        if self._view is None:
            because = "the guard was given a probe that does not tell"
        elif because is None:
            because = self._view.unreadable()
        self._known.append(Capability(name, "off", because))

    def _rates(
        self, since: Footprint, rss: int | None, counters: Counters
    ) -> Rates | None:
        seconds = self._now - since.taken_s
        if seconds <= 0:
            return None
        before = since.counters

        def rate(late: int | None, early: int | None) -> float | None:
            return None if late is None or early is None else (late - early) / seconds

        return Rates(
            seconds=seconds,
            rss=rate(rss, since.rss),
            minor_faults=rate(counters.minor_faults, before.minor_faults),
            major_faults=rate(counters.major_faults, before.major_faults),
            voluntary_switches=rate(
                counters.voluntary_switches, before.voluntary_switches
            ),
            involuntary_switches=rate(
                counters.involuntary_switches, before.involuntary_switches
            ),
        )


def _verdict(sample: Sample | None, since: Footprint | None) -> MemoryVerdict | None:
    before = None if since is None else since.sample
    if sample is None or (since is not None and before is None):
        return None
    return memory_verdict(sample, before)


def _pid_of(view: ProcessView | None, stat: Any) -> int:
    if stat is not None:
        return int(stat.pid)
    return os.getpid() if view is None or view.pid is None else view.pid
