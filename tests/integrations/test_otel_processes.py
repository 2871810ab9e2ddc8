"""
The metrics in processes of their own: forks, late providers, what is not imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import RunPython

READER = """
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

reader = InMemoryMetricReader()
provider = MeterProvider([reader], shutdown_on_exit=False)

def exported(reader=reader):
    data = reader.get_metrics_data()
    return {
        metric.name: [
            [dict(point.attributes), getattr(point, "value", None)]
            for point in metric.data.data_points
        ]
        for resource in (data.resource_metrics if data else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
"""


def test_a_forked_child_exports_its_own_figures(run_python: RunPython) -> None:
    """
    Memory, age, resources and own cost are those of the child, the parent's untouched.
    """
    done = run_python(
        READER
        + """
import json, os, time
import memguard
from memguard.integrations.otel import instrument

class Thing:
    def close(self): pass

guard = memguard.Guard()
guard.timer(lambda: None, every="1h", name="declared")
instrument(guard, provider)
guard.start()
things = [guard.register(Thing(), kind="door") for _ in range(5)]
end = time.monotonic() + 0.05
while time.monotonic() < end: pass
before = exported()
receiving, sending = os.pipe()
child = os.fork()
if child == 0:
    block = bytearray(64 << 20)
    block[::4096] = b"x" * len(block[::4096])
    one = guard.register(Thing(), kind="door")
    own = InMemoryMetricReader()
    provider.add_metric_reader(own)
    os.write(sending, json.dumps([exported(), exported(own)]).encode())
    os.close(sending)
    os._exit(0)
os.close(sending)
with os.fdopen(receiving) as answer:
    inherited, own = json.loads(answer.read())
os.waitpid(child, 0)
print(json.dumps([before, inherited, own, exported()]))
guard.shutdown()
"""
    )
    assert done.returncode == 0, done.stderr
    before, inherited, own, after = json.loads(done.stdout)
    door, timer = {"memguard.resource.type": "door"}, "declared"
    for child in (inherited, own):
        grown = (
            child["process.memory.usage"][0][1] - before["process.memory.usage"][0][1]
        )
        assert grown > 48 << 20
        assert child["process.uptime"][0][1] < before["process.uptime"][0][1] + 0.05
        counts = child["memguard.resource.count"]
        assert [door, 1] in counts
        assert [1] == [
            value
            for attributes, value in counts
            if attributes.get("memguard.resource.name") == timer
        ]
        assert child["memguard.self.overhead.time"][0][1] == 0.0
    assert [door, 5] in after["memguard.resource.count"]


def test_a_child_that_is_forked_during_a_look_does_not_hang(
    run_python: RunPython,
) -> None:
    """
    The observer has no lock that a fork could leave locked.
    """
    done = run_python(
        READER
        + """
import os, threading
import memguard
from memguard.integrations.otel import instrument
from memguard.testing import FakeProbe

inside, go_on = threading.Event(), threading.Event()
class Slow(FakeProbe):
    def memory(self):
        if os.getpid() == parent:
            inside.set()
            go_on.wait(10)
        return super().memory()

parent = os.getpid()
guard = memguard.Guard(probe=Slow())
instrument(guard, provider)
looking = threading.Thread(target=exported)
looking.start()
assert inside.wait(10)
child = os.fork()
if child == 0:
    fresh = InMemoryMetricReader()
    other = MeterProvider([fresh], shutdown_on_exit=False)
    instrument(guard, other)
    found = exported(fresh)
    os._exit(0 if "process.memory.usage" in found else 1)
_, status = os.waitpid(child, 0)
go_on.set()
looking.join()
print(os.waitstatus_to_exitcode(status))
""",
        options=("-W", "ignore::DeprecationWarning"),
    )
    assert done.stdout.strip() == "0", done.stderr


def test_the_global_provider_may_come_late_and_there_is_one_series(
    run_python: RunPython,
) -> None:
    """
    What was made on the API's proxy goes over to the real provider, and only once.
    """
    done = run_python(
        READER
        + """
import json
from opentelemetry import metrics
import memguard
from memguard.integrations.otel import instrument
from memguard.testing import FakeProbe

one = memguard.Guard(probe=FakeProbe(rss="10MiB"))
two = memguard.Guard(probe=FakeProbe(rss="20MiB"))
first = instrument(one)
metrics.set_meter_provider(provider)
early = exported()["process.memory.usage"]
again = instrument(one) is first and instrument(one, provider) is first
second = instrument(two)
late = exported()["process.memory.usage"]
second.shutdown()
print(json.dumps([early, again, late, exported()]))
"""
    )
    assert done.stderr == ""
    assert [[[{}, 10 << 20]], True, [[{}, 20 << 20]], {}] == json.loads(done.stdout)


def test_install_exports_where_the_api_is_loaded(run_python: RunPython) -> None:
    """
    Without a word, until the guard is uninstalled; the final figures are flushed.
    """
    done = run_python(
        READER
        + """
from opentelemetry import metrics
import memguard

metrics.set_meter_provider(provider)
guard = memguard.install()
assert "process.memory.usage" in exported()
guard.shutdown()
assert "memguard.shutdown.duration" in exported()
guard.uninstall()
assert "process.memory.usage" not in exported()
for _ in range(3):
    with memguard.install() as guard:
        assert "process.memory.usage" in exported()
assert memguard.current().children() == type(memguard.current().children())()
print("done")
"""
    )
    assert done.stdout == "done\n", done.stderr


def test_nothing_is_imported_without_need(run_python: RunPython) -> None:
    """
    A program without OpenTelemetry does not load it by using memguard.
    """
    done = run_python(
        """
import sys
import memguard

with memguard.install() as guard:
    guard.snapshot()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
print("done")
"""
    )
    assert done.stdout == "done\n", done.stderr


def test_without_the_tools_for_instrumentations(run_python: RunPython) -> None:
    """
    The instrumentor says what to install; the function `instrument` works without.
    """
    done = run_python(
        READER
        + """
import sys
sys.modules["opentelemetry.instrumentation.instrumentor"] = None
import memguard
from memguard.integrations.otel import MemguardInstrumentor, instrument

instrument(meter_provider=provider)
assert "process.memory.usage" in exported()
try:
    MemguardInstrumentor()
except ImportError as error:
    print(error)
"""
    )
    assert "pip install 'memguard[otel]'" in done.stdout, done.stderr


def test_zero_code_instrumentation(run_python: RunPython, tmp_path: Path) -> None:
    """
    `opentelemetry-instrument` finds the instrumentor and exports, with no word of
    memguard in the program.
    """
    program = tmp_path / "program.py"
    program.write_text(
        READER
        + "from opentelemetry import metrics\n"
        + "metrics.set_meter_provider(provider)\n"
        + "print(*exported())\n",
        encoding="utf-8",
    )
    done = run_python(
        """
import sys
from opentelemetry.instrumentation.auto_instrumentation import run
sys.argv = ["opentelemetry-instrument", *sys.argv[1:]]
run()
""",
        sys.executable,
        str(program),
    )
    assert "memguard.pressure.status" in done.stdout.split(), done.stderr


def test_zero_code_instrumentation_survives_wrong_settings(
    run_python: RunPython,
) -> None:
    """
    Without arguments the instrumentor logs what is wrong and never raises.
    """
    done = run_python(
        """
from memguard.integrations.otel import MemguardInstrumentor

MemguardInstrumentor().instrument()
MemguardInstrumentor().uninstrument()
print("went on")
""",
        env={"MEMGUARD_WARNING": "twelve"},
    )
    assert done.stdout == "went on\n"
    assert "exports no metrics" in done.stderr
    assert "Traceback" not in done.stderr
