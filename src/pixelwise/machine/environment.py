"""What a result depends on beside code and data: versions and the machine."""

from __future__ import annotations

import platform
import sys

from pixelwise import __version__
from pixelwise.errors import UsageError

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


def use_threads(count: int) -> None:
    """Let torch use so many CPU threads from now on; 0 leaves its choice.

    Raises:
        UsageError: U002 less than 0 or more than ``MOST_THREADS``.
    """
    if not 0 <= count <= MOST_THREADS:
        raise UsageError(
            "U002", f"--threads is {count}, expected 0 to {MOST_THREADS}", "--threads 0"
        )
    if count:
        import torch

        torch.set_num_threads(count)
