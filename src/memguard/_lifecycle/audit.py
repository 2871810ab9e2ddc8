"""
The audit: what the operating system and the interpreter hold, against a baseline.

The baseline is taken when the guard starts. After a shutdown the audit looks again,
up to twenty times within two seconds, because threads and sockets need a moment to go.
What a look finds is judged by `attribution`; reading is done by `_probes`.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final
from weakref import ref

from memguard._kinds.closers import running_loop
from memguard._kinds.resource import Resource
from memguard._lifecycle.attribution import LEAKED
from memguard._lifecycle.inventory import Inventory, take_inventory
from memguard._lifecycle.order import Entry
from memguard._lifecycle.report import AuditReport, Finding
from memguard._lifecycle.tempfiles import TempFiles
from memguard._sites import call_site
from memguard._tree import Branch

__all__ = ("Auditor", "Owned")

_ATTEMPTS: Final = 20
_FIRST_PAUSE_S: Final = 0.005
_LONGEST_PAUSE_S: Final = 0.2


class Auditor:
    """
    Baseline and looks of one guard. Holds the guard weakly, its things not at all.
    """

    def __init__(self, guard: Branch, ignore: tuple[str, ...]) -> None:
        self._guard = ref(guard)
        self.ignore = ignore
        self._baseline: Inventory | None = None
        self._now: Inventory | None = None
        self._temp = TempFiles()
        self._loop: Any = None

    def take_baseline(self, loop: Any) -> None:
        """
        Everything that is there now belongs to the host.
        """
        self._loop = None if loop is None else ref(loop)
        self._temp.start()
        self._baseline = take_inventory(loop)

    def note_loop(self, loop: Any) -> None:
        """
        The loop whose tasks are looked at, when the guard was started outside it.
        """
        self._loop = ref(loop)

    def live(self) -> AuditReport:
        """
        One look at the running process; what is registered has an owner.
        """
        findings = list(self._look(owned=self._owned()))
        return self._report(findings, 1)

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
        known = [_of_entry(entry) for entry in failing]
        pause = _FIRST_PAUSE_S
        attempt = 0
        while True:
            attempt += 1
            found = [*self._look(owned=Owned()), *self._outlived(guard)]
            report = self._report([*known, *found], attempt)
            waiting_helps = not self._report(found, attempt).clean
            if not waiting_helps or attempt == _ATTEMPTS or now() + pause > deadline:
                self._temp.stop()
                guard.registry.expected.clear()
                return report
            if attempt == 2:
                _collect_garbage()
            yield pause
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def _look(self, owned: Owned) -> Iterator[Finding]:
        baseline = self._baseline
        if baseline is not None:
            loop = running_loop() or (None if self._loop is None else self._loop())
            self._leave_out_hosts(owned)
            self._now = now = take_inventory(loop)
            yield from now.beyond(baseline, owned)
            for path, site in self._temp.left():
                detail = self._temp.describe(path)
                yield Finding("tempfile", path, LEAKED, detail, call_site(site))

    def _leave_out_hosts(self, owned: Owned) -> None:
        """
        Descriptors that a node of the guard knows to be of a host: telemetry's.
        """
        guard = self._guard()
        for node in () if guard is None else guard.children():
            tell = getattr(node, "host_descriptors", None)
            if tell is not None:
                owned.fds.update(tell())

    @staticmethod
    def _outlived(guard: Branch) -> Iterator[Finding]:
        for one in guard.registry.expected:
            if one.alive:
                yield Finding("object", one.name, LEAKED, one.reason, one.site)

    def _owned(self) -> Owned:
        owned = Owned()
        guard = self._guard()
        if guard is not None:
            for node in guard.walk():
                if isinstance(node, Resource):
                    owned.add(node.target())
                else:
                    owned.add(getattr(node, "task", None))
        return owned

    def _report(self, findings: list[Finding], attempt: int) -> AuditReport:
        kept: list[Finding] = []
        ignored: list[Finding] = []
        for finding in findings:
            (ignored if self._is_ignored(finding) else kept).append(finding)
        now = self._now
        if now is None:
            return AuditReport(tuple(kept), tuple(ignored), {}, attempt)
        return AuditReport(tuple(kept), tuple(ignored), now.counts, attempt, now.unseen)

    def _is_ignored(self, finding: Finding) -> bool:
        """
        `audit_ignore` holds patterns for `kind`, `kind:name` or a name.
        """
        names = (finding.kind, f"{finding.kind}:{finding.name}", finding.name)
        return any(
            fnmatchcase(name, pattern) for pattern in self.ignore for name in names
        )


class Owned:
    """
    What the live audit must not report, because the tree owns it.
    """

    def __init__(self) -> None:
        self.fds: set[int] = set()
        self.pids: set[int] = set()
        self.identities: set[int] = set()

    def add(self, thing: Any) -> None:
        if thing is None:
            return
        self.identities.add(id(thing))
        fileno = getattr(type(thing), "fileno", None)
        if fileno is not None:
            try:
                self.fds.add(fileno(thing))
            except (OSError, ValueError):
                return  # closed meanwhile: it has no descriptor
        pid = getattr(thing, "pid", None)
        if isinstance(pid, int):
            self.pids.add(pid)


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
