"""
SIGTERM at every moment in every host: cleaned up once, in order, and as without us.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from tests.system._hosts import (
    BODY,
    HOSTS,
    STREAM,
    Host,
    Moment,
    NotInTime,
    Outcome,
    run_cell,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.system

CELLS_AT_ONCE = 4
LONG_RUNS = 10


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_sigterm_at_every_moment(host: Host, tmp_path: Path, long_form: bool) -> None:
    """
    In each cell: closed once, requests finished, status and handlers as in the control.
    """
    runs = LONG_RUNS if long_form else 1
    with ThreadPoolExecutor(CELLS_AT_ONCE) as pool:
        futures = {
            (moment, run, arm): pool.submit(
                run_cell, host, moment, arm, tmp_path / f"{moment.value}-{run}-{arm}"
            )
            for moment in Moment
            for run in range(runs)
            for arm in ("memguard", "control")
        }
    problems: list[str] = []
    for moment in Moment:
        for run in range(runs):
            where = f"{host.name}, {moment.value}, run {run}"
            try:
                ours = futures[moment, run, "memguard"].result()
                control = futures[moment, run, "control"].result()
            except NotInTime as error:
                problems.append(f"{where}: {error}")
                continue
            if found := judge(host, moment, ours, control):
                problems.append(f"{where}: {'; '.join(found)}\n{ours.log[-3000:]}")
    assert not problems, "\n\n".join(problems)


def judge(host: Host, moment: Moment, ours: Outcome, control: Outcome) -> list[str]:
    """
    What is wrong with a cell, in words; nothing if it is as it should be.
    """
    problems = []
    if ours.status is None:
        problems.append("it did not end")
    if ours.status != control.status:
        problems.append(f"status {ours.status}, without memguard {control.status}")
    workers = set(ours.pids("worker"))
    for event in ("closing", "closed", "hook", "report"):
        expected = dict.fromkeys(workers, 1)
        if ours.pids(event) != expected:
            problems.append(f"{event}: {dict(ours.pids(event))}, workers {workers}")
    problems += [
        f"report: {report}" for report in ours.details("report") if report != "clean"
    ]
    if ours.pids("tick-begin") != ours.pids("tick-end"):
        problems.append("a timer's call was cut off")
    if late := after_close(ours):
        problems.append(f"after the close: {late}")
    expected_body = {Moment.REQUEST: BODY, Moment.STREAM: STREAM}.get(moment)
    if any(body != expected_body for body in ours.bodies):
        problems.append(f"answers {ours.bodies}, expected {expected_body} bytes each")
    problems += judge_handler(host, moment, ours, control)
    if any(ours.details("master")):
        problems.append(f"threads in the master: {ours.details('master')}")
    return problems


def judge_handler(
    host: Host, moment: Moment, ours: Outcome, control: Outcome
) -> list[str]:
    """
    The host's own handler has to run once a signal, in each process it reaches.
    """
    if host.bare:
        return []
    calls = ours.pids("previous")
    if moment is Moment.STOPPING:
        # Without memguard the process may be gone before the second signal.
        right = set(calls) == set(ours.pids("worker")) and max(calls.values()) <= 2
    else:
        right = sorted(calls.values()) == sorted(control.pids("previous").values())
    if right:
        return []
    return [
        f"the host's handler ran {calls}, without memguard {control.pids('previous')}"
    ]


def after_close(ours: Outcome) -> list[str]:
    """
    Events of work that came after its process had closed what the work uses.
    """
    closed: set[str] = set()
    late = []
    for event, pid, _ in ours.lines:
        if event == "closing":
            closed.add(pid)
        elif pid in closed and event in {"slow", "chunk", "tick-begin", "tick-end"}:
            late.append(event)
    return late
