"""
The audit: what the operating system and the interpreter hold, against a baseline.

The baseline is taken when the guard starts. After a shutdown the audit looks again,
up to twenty times within two seconds, because threads and sockets need a moment to go.
What a look finds is judged by `comparison` and `handles`; reading is done by `_probes`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final
from weakref import ref

from memguard._kinds.closers import running_loop
from memguard._lifecycle import comparison
from memguard._lifecycle.attribution import LEAKED
from memguard._lifecycle.handles import handles
from memguard._lifecycle.inventory import Inventory
from memguard._lifecycle.order import Entry
from memguard._lifecycle.origins import origins
from memguard._lifecycle.ownership import Owned
from memguard._lifecycle.report import AuditReport, Finding
from memguard._lifecycle.tempfiles import TempFiles
from memguard._probes.descriptors import describe
from memguard._registry import live_registries
from memguard._sites import call_site
from memguard._tree import Branch

__all__ = ("Auditor",)

_ATTEMPTS: Final = 20
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.2


class Auditor:
    """
    Baseline and looks of one guard. Holds the guard weakly, its things not at all.

    *ignore* holds patterns for a kind, a name, a path, `kind:name` or `kind:path`.
    """

    def __init__(self, guard: Branch, ignore: tuple[str, ...]) -> None:
        self._guard = ref(guard)
        self.ignore = ignore
        self._baseline: Inventory | None = None
        self._temp = TempFiles()
        self._loop: Any = None

    def take_baseline(self, loop: Any) -> None:
        """
        Everything that is there now belongs to the host.
        """
        self._loop = None if loop is None else ref(loop)
        self._temp.start()
        self._baseline = Inventory(loop, doors=True)

    def note_loop(self, loop: Any) -> None:
        """
        The loop whose tasks are looked at, when the guard was started outside it.
        """
        self._loop = ref(loop)

    def live(self) -> AuditReport:
        """
        One look at the running process; what the tree owns is no finding.
        """
        guard = self._guard()
        assert guard is not None  # the guard runs this
        owned = Owned.by(guard, [path for path, _ in self._temp.left()])
        return self._look(owned, (), 1)

    def examine(
        self, failing: list[Entry], deadline: float
    ) -> Generator[float, None, AuditReport]:
        """
        Look until it is clean, waiting cannot help, or *deadline* has come.

        Yields the pauses to make between the looks, in seconds.
        """
        guard = self._guard()
        assert guard is not None  # the guard runs this
        now = guard.registry.clock.monotonic
        # Counted in pauses as well: a fake clock does not move while this waits.
        patience = deadline - now()
        known = [_of_entry(entry) for entry in failing]
        pause = _FIRST_PAUSE_S
        attempt = 0
        while True:
            attempt += 1
            found = self._look(Owned(), tuple(_outlived(guard)), attempt)
            over = attempt == _ATTEMPTS or pause > min(patience, deadline - now())
            if found.clean or over:
                self._temp.stop()
                guard.registry.expected.clear()
                return self._report(
                    [*known, *found.findings, *found.ignored], found, attempt
                )
            if attempt == 2:
                _collect_garbage()
            yield pause
            patience -= pause
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    # -- one look ----------------------------------------------------------------------

    def _look(
        self, owned: Owned, outlived: tuple[Finding, ...], attempt: int
    ) -> AuditReport:
        baseline = self._baseline
        if baseline is None:
            return self._report(outlived, AuditReport(), attempt)
        loop = running_loop() or (None if self._loop is None else self._loop())
        now = Inventory(loop)
        guard = self._guard()
        if guard is not None:
            owned.fds.update(_of_hosts(guard))
            for other in live_registries():
                if other is not guard.registry:
                    owned.paths.update(tuple(other.files))
        findings = [
            *handles(now, baseline, owned, loop),
            *comparison.threads(now, baseline, owned),
            *comparison.children(now, baseline, owned),
            *comparison.tasks(loop, baseline, owned),
            *comparison.timers(loop, baseline, owned),
            *comparison.listeners(None if guard is None else guard.registry, baseline),
            *self._temporary(owned),
            *outlived,
        ]
        unseen = dict.fromkeys((*baseline.unseen, *now.unseen, *self._unheard(loop)))
        base = AuditReport(counts=now.counts, unseen=tuple(unseen))
        return self._report(findings, base, attempt)

    def _temporary(self, owned: Owned) -> Iterator[Finding]:
        for path, site in self._temp.left():
            if path not in owned.paths:
                shown = describe(0, path).target_class
                kind = self._temp.describe(path)
                yield Finding("tempfile", shown, LEAKED, kind, call_site(site), path)

    def _unheard(self, loop: Any) -> Iterator[str]:
        """
        What this audit could not see, besides what the system does not tell.
        """
        if loop is not None and not hasattr(loop, "_scheduled"):
            yield "timers of the loop"
        error = origins.trouble
        if error is not None:
            yield f"some creation sites ({error})"
        if self._temp.forgotten:
            yield f"{self._temp.forgotten} more temporary files"

    def _report(self, findings: Any, base: AuditReport, attempt: int) -> AuditReport:
        kept: list[Finding] = []
        ignored: list[Finding] = []
        for finding in findings:
            (ignored if self._is_ignored(finding) else kept).append(finding)
        return AuditReport(
            tuple(kept), tuple(ignored), base.counts, attempt, base.unseen
        )

    def _is_ignored(self, finding: Finding) -> bool:
        kind, name, target = finding.kind, finding.name, finding.target
        names = [kind, name, f"{kind}:{name}"]
        if target:
            names += [target, f"{kind}:{target}"]
        return any(
            fnmatchcase(name, pattern) for pattern in self.ignore for name in names
        )


def _of_hosts(guard: Branch) -> Iterator[int]:
    """
    Descriptors that a node of the guard knows to be of a host: telemetry's.
    """
    for node in guard.children():
        tell = getattr(node, "host_descriptors", None)
        if tell is not None:
            yield from tell()


def _outlived(guard: Branch) -> Iterator[Finding]:
    for one in guard.registry.expected:
        if one.alive:
            yield Finding("object", one.name, LEAKED, one.reason, one.site)


def _of_entry(entry: Entry) -> Finding:
    ending = entry.ending
    assert ending is not None  # only ended entries fail
    detail = f"{ending.outcome}: {ending.reason}"
    return Finding(
        entry.node.kind, entry.label, LEAKED, detail, call_site(entry.node.site)
    )


def _collect_garbage() -> None:
    """
    Once an audit: what only cycles hold is not leaked.
    """
    import gc

    gc.collect()
