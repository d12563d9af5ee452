"""What a result depends on beside code and data: versions and the machine."""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING

from pixelwise import __version__
from pixelwise.errors import ResourceError, UsageError, unknown_name

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")

MOST_THREADS = 1024
"""OpenMP ends the process by a segmentation fault at some ten thousand; no machine has so many."""


def environment() -> dict[str, str | int]:
    """What a run depended on beside its recipe."""
    import numpy as np
    import torch

    return {
        "pixelwise": __version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda or "none",
    }


def cpu_capability() -> str:
    """The vector instructions that torch uses here, such as AVX2."""
    import torch

    return torch.backends.cpu.get_cpu_capability()


def devices() -> list[dict[str, str]]:
    """Name and description of every device that torch sees."""
    import torch

    rows = [{"name": "cpu", "about": f"{torch.get_num_threads()} threads"}]
    for i in range(torch.cuda.device_count()):
        gpu = torch.cuda.get_device_properties(i)
        about = f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB"
        rows.append({"name": f"cuda:{i}", "about": about})
    return rows


def resolve_device(name: str) -> torch.device:
    """The device that is meant; ``auto`` is CUDA where there is one.

    Raises:
        ResourceError: R009 the device is asked for by name and absent.
        UsageError: U001 no such kind of device.
    """
    import torch

    if name not in DEVICES:
        raise unknown_name("device", name, DEVICES)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ResourceError("R009", "device cuda: no CUDA device is available", "--device cpu")
    return torch.device(name)


def use_threads(count: int) -> None:
    """Let torch use so many CPU threads from now on; 0 leaves its choice, U002 is out of range."""
    if not 0 <= count <= MOST_THREADS:
        bound = "at least 0" if count < 0 else f"at most {MOST_THREADS}"  # as of a recipe's
        raise UsageError("U002", f"--threads is {count}, expected {bound}", "--threads 0")
    if count:
        import torch

        torch.set_num_threads(count)
