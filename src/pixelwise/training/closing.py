"""After the last step: the kept weights evaluated, and the page about the run."""

from __future__ import annotations

import logging
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pixelwise import __version__, model
from pixelwise.evaluation.on_dataset import evaluate_model
from pixelwise.files import write_json
from pixelwise.report import build

if TYPE_CHECKING:
    from pixelwise.training.setup import Setup

log = logging.getLogger(__name__)


def close(setup: Setup, weights: Path) -> None:
    """Write ``environment.json``, ``evaluation/`` and ``report.html`` into the run folder."""
    write_json(setup.run / "environment.json", environment())
    if setup.validation:
        kept = model.load(weights, device=setup.fabric.device.type)
        found = evaluate_model(
            kept, setup.dataset, setup.recipe.val_split, keep=setup.run / "evaluation" / "guesses"
        )
        write_json(setup.run / "evaluation" / "scores.json", found.as_dict())
    build(setup.run)


def environment() -> dict[str, str | int]:
    """What a run depended on beside its recipe."""
    import numpy as np

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
