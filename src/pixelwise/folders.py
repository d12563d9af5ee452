"""What the folders that commands write look like, and how they are known again.

Training writes a run folder, others look:

RUN/recipe.yaml         the exact settings, itself a recipe
    journal.jsonl       one JSON object a line, as things happen
    weights/            best and last checkpoint
    state/              to go on from
    look.png            a held-out picture, its labels by the weights so far, and the true ones
    evaluation/         scores.json, guesses/NAME.png, guesses/HEAD/NAME.png of further heads
    calibration.json    the temperature of its probabilities, if it was calibrated
    environment.json    versions and machine
    report.html         the page about it all

A run in stages has its recipe and the page, and a run folder for each stage: RUN/1-fcn32s, ...
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pixelwise.machine.files import maker

RECIPE = "recipe.yaml"
JOURNAL = "journal.jsonl"
WEIGHTS = "weights"
STATE = "state"
LOOK = "look.png"
SCORES = "evaluation/scores.json"
GUESSES = "evaluation/guesses"
ENVIRONMENT = "environment.json"
CALIBRATION = "calibration.json"
REPORT = "report.html"
RATES = "find-lr.html"
"""A loose file beside what a run writes: the search for its learning rate."""


def weights(run: Path, which: str) -> Path:
    """The checkpoint ``best`` or ``last``."""
    return run / WEIGHTS / f"{which}.safetensors"


def is_run(folder: Path) -> bool:
    """Whether training wrote ``folder``, as far as it has come."""
    return (folder / RECIPE).is_file() or (folder / WEIGHTS).is_dir()


def of_head(folder: Path, head: str, heads: Iterable[str]) -> Path:
    """Where the label maps of one of several heads lie: the first one's in the folder itself.

    So the outputs of a net of one head are where they always were, and each folder can be scored
    against a folder of truth.
    """
    return folder if head == next(iter(heads)) else folder / head


DONE = "done"
"""The reason of the last event in a run's journal: it is trained, evaluated and has its page."""
_STAGE = re.compile(r"([1-9]\d*)-[A-Za-z0-9][\w-]*")


def stage(run: Path, number: int, name: str) -> Path:
    """The run folder of a stage; the first has number 1."""
    return run / f"{number}-{name}"


def stages(run: Path) -> list[Path]:
    """The stages that a run in stages has begun, in their order; empty: it is of one piece."""
    if not (run / RECIPE).is_file() or (run / WEIGHTS).exists():
        return []
    begun = {int(m[1]): p for p in run.iterdir() if (m := _STAGE.fullmatch(p.name))}
    return [p for _, p in sorted(begun.items()) if (p / JOURNAL).is_file()]


def is_finished(run: Path) -> bool:
    """Whether nothing is left to do of a run in one piece."""
    journal = run / JOURNAL
    return journal.is_file() and any(e.get("reason") == DONE for e in read_journal(journal))


def read_journal(path: Path) -> list[dict[str, Any]]:
    """All whole events; a line cut short by a crash, or that is no event, is left out."""
    return events_in(path.read_text(encoding="utf-8", errors="replace"))


def events_in(text: str) -> list[dict[str, Any]]:
    """The events of a part of a journal, as ``read_journal`` gives them."""
    events = []
    # Not splitlines(), which also splits at separators that a name in an event may hold.
    for line in text.split("\n"):
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and type(event.get("step", 0)) is int:
            events.append(event)
    return events


# -- predictions ------------------------------------------------------------------------------
MANIFEST = "manifest.json"
"""Marks a folder of predictions, and says which model made them."""
MAKER = "pixelwise predict"
OVERLAY = "_overlay.jpg"
"""Behind the name of a picture; its label map has the name alone."""


def is_predictions(folder: Path) -> bool:
    """Whether an earlier ``predict`` wrote ``folder``."""
    return maker(folder / MANIFEST) == MAKER
