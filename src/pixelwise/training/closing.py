"""After the last step: the kept weights evaluated, and the page about the run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise import folders
from pixelwise.machine.environment import environment
from pixelwise.machine.files import write_json
from pixelwise.pages import build
from pixelwise.predict import model

if TYPE_CHECKING:
    from pixelwise.training.setup import Setup


def close(setup: Setup, weights: Path, *, watch: Callable[[], object]) -> None:
    """Write ``environment.json``, ``evaluation/`` and ``report.html`` into the run folder.

    Args:
        setup: of the run.
        weights: the checkpoint that is kept.
        watch: called after each picture of the evaluation.
    """
    write_json(setup.run / folders.ENVIRONMENT, environment())
    if setup.validation:
        kept = model.load(weights, device=setup.fabric.device.type)
        guesses = setup.run / folders.GUESSES
        shutil.rmtree(guesses, ignore_errors=True)  # the run's own, of other weights
        found = kept.evaluate(setup.dataset, setup.recipe.val_split, keep=guesses, watch=watch)
        write_json(setup.run / folders.SCORES, found.as_dict())
    build(setup.run, dataset=setup.dataset)
