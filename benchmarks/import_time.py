"""
How long `import memguard` takes, on every interpreter that is there.

Above an interpreter that has imported dataclasses, typing and logging already (most
applications have), and in all. Median of twenty fresh interpreters each.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RUNS = 20
BAR_MS = 8.0
SOURCE = str(Path(__file__).resolve().parents[1] / "src")
OWN = """
import dataclasses, typing, logging, time
began = time.perf_counter()
import memguard
memguard.Guard
print((time.perf_counter() - began) * 1000)
"""
COLD = OWN.replace("import dataclasses, typing, logging, time", "import time")
BARE = OWN.replace("\nmemguard.Guard", "")


def interpreters() -> list[str]:
    """
    One for each version from 3.10 to 3.13 that can be found.
    """
    found = {f"{sys.version_info[0]}.{sys.version_info[1]}": sys.executable}
    for version in ("3.10", "3.11", "3.12", "3.13"):
        candidates = [f"python{version}"]
        versions = Path.home() / ".pyenv" / "versions"
        candidates += [str(one) for one in versions.glob(f"{version}.*/bin/python")]
        for candidate in candidates:
            if version not in found and runs(candidate, version):
                found[version] = candidate
    return [found[version] for version in sorted(found, key=_number)]


def _number(version: str) -> int:
    return int(version.split(".")[1])


def runs(command: str, version: str) -> bool:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        said = subprocess.run(
            [command, "-c", code], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return said.stdout.strip() == version


def median_ms(python: str, code: str) -> float:
    times = []
    with tempfile.TemporaryDirectory() as compiled:
        # Byte code is compiled once, as in every installed package.
        environment = {
            **os.environ,
            "PYTHONPATH": SOURCE,
            "PYTHONPYCACHEPREFIX": compiled,
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for _ in range(RUNS + 1):
            said = subprocess.run(
                [python, "-S", "-c", code],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            times.append(float(said.stdout))
    return statistics.median(times[1:])  # the first one writes the byte code


def main() -> int:
    worst = 0.0
    for python in interpreters():
        version = subprocess.run(
            [python, "-V"], capture_output=True, text=True, check=True
        ).stdout.strip()
        own, cold, bare = (median_ms(python, code) for code in (OWN, COLD, BARE))
        worst = max(worst, bare)
        print(
            f"{version}: {bare:.1f} ms for `import memguard` (bar {BAR_MS:g} ms),"
            f" {own:.1f} ms with the guard, {cold:.1f} ms cold (medians of {RUNS})"
        )
    return 0 if worst <= BAR_MS else 1


if __name__ == "__main__":
    sys.exit(main())
