"""What a result depends on beside code and data: versions and the machine."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise import __version__
from pixelwise.errors import ResourceError, UsageError, unknown_name

if TYPE_CHECKING:
    import torch

HOME = "PIXELWISE_HOME"
"""The variable that names the folder of what is kept between commands."""
DEVICES = ("auto", "cpu", "cuda")

MOST_THREADS = 1024
"""OpenMP ends the process by a segmentation fault at some ten thousand; no machine has so many."""


def home() -> Path:
    """Where weights and unpacked data are kept; by default ``~/.cache/pixelwise``."""
    named = os.environ.get(HOME, "")
    return Path(named) if named else Path.home() / ".cache" / "pixelwise"


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


@contextmanager
def float32_is_float32(device: torch.device, *, repeatable: bool = False) -> Iterator[None]:
    """Within the block CUDA computes float32 as such, and, if asked for, alike each time.

    Torch lets cuDNN round the factors of convolutions to 10 bits (TF32) unless it is told not to:
    "fp32" would mean something less on a GPU than on a processor. The caller's choice comes back.
    Of the kernels that a training step takes only cuDNN's are not repeatable by themselves (seen on
    an H100 with six nets: same bits with this switch, other bits without).
    """
    if device.type != "cuda":
        yield
        return
    import torch

    cudnn: Any = torch.backends.cudnn
    matmul: Any = torch.backends.cuda.matmul
    # From torch 2.9 on the old names may not be mixed with the new, which the caller may have used.
    new = hasattr(cudnn, "conv")
    switches: list[tuple[Any, str, object]] = [
        *([(cudnn, "deterministic", True), (cudnn, "benchmark", False)] if repeatable else []),
        (cudnn.conv, "fp32_precision", "ieee") if new else (cudnn, "allow_tf32", False),
        (matmul, "fp32_precision", "ieee") if new else (matmul, "allow_tf32", False),
    ]
    before = [getattr(place, name) for place, name, _ in switches]
    for place, name, value in switches:
        setattr(place, name, value)
    try:
        yield
    finally:
        for (place, name, _), value in zip(switches, before, strict=True):
            setattr(place, name, value)


def use_threads(count: int) -> None:
    """Let torch use so many CPU threads from now on; 0 leaves its choice, U002 is out of range."""
    if not 0 <= count <= MOST_THREADS:
        bound = "at least 0" if count < 0 else f"at most {MOST_THREADS}"  # as of a recipe's
        raise UsageError("U002", f"--threads is {count}, expected {bound}", "--threads 0")
    if count:
        import torch

        torch.set_num_threads(count)
