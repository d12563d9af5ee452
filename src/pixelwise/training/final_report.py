"""After the last step: the kept weights evaluated, and the page about the run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from pixelwise import folders
from pixelwise.machine.environment import environment
from pixelwise.machine.files import write_json
from pixelwise.pages import build
from pixelwise.predict import model
from pixelwise.training.run_data import RunData


def write_final_report(
    run: Path, weights: Path, data: RunData, split: str, *, device: str, watch: Callable[[], object]
) -> None:
    """Write ``environment.json``, ``evaluation/`` and ``report.html`` into the run folder.

    Args:
        run: the run folder.
        weights: the checkpoint that is kept; it is loaded as users load it.
        data: of the run.
        split: what is evaluated on; empty: nothing.
        device: kind of device to evaluate on.
        watch: called after each picture of the evaluation.
    """
    write_json(run / folders.ENVIRONMENT, environment())
    if split:
        kept = model.load(weights, device=device)
        guesses = run / folders.GUESSES
        shutil.rmtree(guesses, ignore_errors=True)  # the run's own, of other weights
        scores = kept.evaluate(data.dataset, split, keep=guesses, watch=watch)
        write_json(run / folders.SCORES, scores.as_dict())
    build(run, dataset=data.dataset)
