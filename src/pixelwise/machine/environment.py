"""What a result depends on beside code and data: versions and the machine."""

from __future__ import annotations

import platform
import sys

from pixelwise import __version__


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
