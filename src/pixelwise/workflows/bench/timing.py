"""What every measurement shares: turns are taken, and the surroundings are told.

Only ratios within one run mean anything: ways are interleaved, and what other processes took of the
processor stands beside.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

PACKAGES = ("pixelwise", "torch", "numpy", "onnxruntime", "openvino", "opencv-python-headless")
"""Whose versions are told where they are installed."""


def interleaved(ways: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What every way returns in every round; the first of a round is the last of the next."""
    found: dict[str, list[T]] = {name: [] for name in ways}
    order = list(ways)
    for _ in range(rounds):
        for name in order:
            found[name].append(ways[name]())
        order = order[1:] + order[:1]
    return found


def seconds(work: Callable[[], object]) -> float:
    """Of the wall clock, of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = (float(q) for q in np.quantile(values, [0.25, 0.5, 0.75]))
    return {"median": middle, "low": low, "high": high}


def printed_by(module: str, *arguments: str) -> str:
    """What ``python -m module arguments`` prints: memory has to be that of a process of its own.

    Raises:
        RuntimeError: it failed; the error that it said.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [n for n in done.stderr.splitlines() if n.strip() and not n.startswith("hint:")]
        raise RuntimeError(lines[-1] if lines else f"it ended with {done.returncode}")
    return done.stdout


def own_memory(field: str = "VmHWM") -> int:
    """Bytes of this process: VmRSS now, VmHWM at its peak; 0 where Linux does not tell."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def threads_used() -> int:
    """As many as torch computes with."""
    import torch

    return torch.get_num_threads()


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
    """Print the surroundings."""
    sys.stdout.write(
        f"{facts['machine']}; {facts['versions']}; threads {facts['threads']}\n"
        f"others_cpu {facts['others_cpu']} (cores kept busy by other processes)\n"
    )


def versions() -> dict[str, str]:
    """Of Python and of the ``PACKAGES`` that are there."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def processor() -> str:
    """Its model's name."""
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
    """Cores that other processes kept busy between two ``cpu_times``."""
    if before is None or after is None:
        return None
    wall, busy, own = (b - a for a, b in zip(before, after, strict=True))
    return round(max(0.0, busy - own) / max(wall, 1e-9), 2)
