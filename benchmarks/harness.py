"""What every benchmark here shares: turns are taken, and the surroundings are told."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


def interleaved(ways: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """What every way returns in every round; the first of a round is the last of the next."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    order = list(ways)
    for _ in range(rounds):
        for name in order:
            found[name].append(ways[name]())
        order = order[1:] + order[:1]
    return found


def growth_in_process(file: str, way: str, arguments: Sequence[str]) -> int:
    """What ``growth`` is in a process of its own: ``file --memory-of way`` must print it."""
    command = [sys.executable, file, "--memory-of", way, *arguments]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def growth(way: Callable[[], object]) -> int:
    """Bytes by which the process grows at most while a way runs; 0 where it cannot be told."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return 0
    reset.write_text("5")  # the peak is counted from now on
    before = status("VmRSS")
    way()
    return status("VmHWM") - before


def status(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def surroundings(
    name: str, before: tuple[float, float, float] | None, *, threads: int = 1
) -> dict[str, Any]:
    """The facts around a run that began at ``before`` (of ``cpu_times``)."""
    return {
        "benchmark": name,
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "versions": versions(),
        "threads": threads,
        "others_cpu": others(before, cpu_times()),
    }


def tell(facts: dict[str, Any]) -> None:
    print(f"{facts['machine']}; {facts['versions']}; threads {facts['threads']}")
    print(f"others_cpu {facts['others_cpu']} (cores kept busy by other processes)")


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("numpy", "numba", "torch", "torchmetrics", "sklearn"):
        module = sys.modules.get(name)
        if module is not None:
            found[name] = str(module.__version__)
    return found


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def cpu_times() -> tuple[float, float, float] | None:
    """Wall clock, busy CPU seconds of the whole machine, and of this process with its children."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(f) for f in fields]
    busy = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")
    spent = os.times()
    own = spent.user + spent.system + spent.children_user + spent.children_system
    return time.monotonic(), busy, own


def others(
    before: tuple[float, float, float] | None, after: tuple[float, float, float] | None
) -> float | None:
    if before is None or after is None:
        return None
    wall, busy, own = (b - a for a, b in zip(before, after, strict=True))
    return round(max(0.0, busy - own) / wall, 2)
