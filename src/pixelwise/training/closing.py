"""After the last step: the kept weights evaluated, and the page about the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise import model, runfolder
from pixelwise.environment import environment
from pixelwise.files import write_json
from pixelwise.report import build

if TYPE_CHECKING:
    from pixelwise.training.setup import Setup


def close(setup: Setup, weights: Path) -> None:
    """Write ``environment.json``, ``evaluation/`` and ``report.html`` into the run folder."""
    write_json(setup.run / runfolder.ENVIRONMENT, environment())
    if setup.validation:
        kept = model.load(weights, device=setup.fabric.device.type)
        guesses = setup.run / runfolder.GUESSES
        found = kept.evaluate(setup.dataset, setup.recipe.val_split, keep=guesses)
        write_json(setup.run / runfolder.SCORES, found.as_dict())
    build(setup.run, dataset=setup.dataset)
