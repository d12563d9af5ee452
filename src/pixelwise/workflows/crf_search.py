"""The dense CRF's parameters for a model, chosen on a split by the mean IU that they give."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.crf.dense import refine
from pixelwise.crf.parameters import DenseCrf
from pixelwise.crf.search import STARTS, coordinate_search
from pixelwise.data.dataset import DataSet
from pixelwise.errors import UsageError
from pixelwise.folders import read_journal
from pixelwise.labels import three_bands
from pixelwise.machine.files import append_line, plain, write_json
from pixelwise.machine.memory import failed_allocations
from pixelwise.metrics.boundaries import boundaries
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores
from pixelwise.predict.model import Model
from pixelwise.settings import as_dict, read

RESULT, RECORD = "crf.json", "crf-search.jsonl"
"""What ``predict --crf`` reads, and what has been tried; in the run's folder."""


@dataclass(frozen=True)
class Trial:
    """Parameters and what they give on the pictures."""

    crf: DenseCrf | None
    """None: without a CRF."""
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class Search:
    """What was tried, the net alone first, and what was chosen."""

    trials: tuple[Trial, ...]
    complete: bool
    """No step made it better; else the time was over."""
    pictures: int
    written: Path | None = None
    """Where the chosen parameters are; None where none are better than no CRF."""

    @property
    def chosen(self) -> Trial:
        """The best; of equals the first."""
        return max(self.trials, key=lambda trial: trial.scores["mean_iu"] or 0.0)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        rows = [{"crf": trial.crf and as_dict(trial.crf), **trial.scores} for trial in self.trials]
        chosen = rows[self.trials.index(self.chosen)]
        facts = {"pictures": self.pictures, "complete": self.complete}
        return {**facts, "without": rows[0], "chosen": chosen, "trials": rows}


@dataclass(frozen=True)
class Judge:
    """What a net believes of pictures, and their truth: scores of any CRF."""

    truths: list[NDArray[Any]] = field(default_factory=list)
    images: list[NDArray[Any]] = field(default_factory=list)
    beliefs: list[NDArray[np.float16]] = field(default_factory=list)

    def see(self, model: Model, dataset: DataSet, split: str, count: int) -> None:
        """Up to ``count`` pictures of a split, evenly apart; the model's first head is judged."""
        items = dataset.items(split)
        theirs, own = dataset.heads[0], next(iter(model.heads))
        own = theirs if len(model.heads) > 1 else own
        for i in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round()):
            sample = dataset.read(items[int(i)])
            made = model.label(sample.image, probabilities=True)
            made = made.heads.get(own, made)
            assert made.probabilities is not None
            self.truths.append(sample.heads[theirs])
            self.images.append(three_bands(sample.image))
            self.beliefs.append(made.probabilities.astype(np.float16))

    def scores(self, crf: DenseCrf | None) -> dict[str, float | None]:
        """Mean IU, pixel accuracy and boundary IU."""
        counts, edges = [], []
        for truth, image, belief in zip(self.truths, self.images, self.beliefs, strict=True):
            made = belief if crf is None else refine(belief, image, crf)
            guess = made.argmax(0).astype(np.uint8 if len(made) <= 255 else np.uint16)
            counts.append(confusion(truth, guess, len(made)))
            edges.append(boundaries(truth, guess, len(made)))
        told, near = scores(np.sum(counts, 0)).as_dict(), sum(edges[1:], edges[0])
        facts = {name: told[name] for name in ("mean_iu", "pixel_accuracy")}
        means: dict[str, float | None] = plain({**facts, "boundary_iu": near.boundary_iu})
        return means


def search(
    model: Model,
    dataset: DataSet,
    split: str,
    out: Path,
    *,
    fixed: Mapping[str, Any],
    pictures: int = 20,
    minutes: float = 10.0,
    watch: Callable[[], object] = lambda: None,
) -> Search:
    """Choose parameters; what was tried of the same question before is not tried again.

    Args:
        model: a model of a run, and ``dataset`` as it is fitted to it.
        split: where the pictures are from.
        out: ``crf.json``, written if a CRF is better than none; the record is beside it.
        fixed: parameters that all trials have.
        pictures: how many of the split, evenly apart.
        minutes: after which no further trial begins.
        watch: called after each trial.

    Raises:
        UsageError: U002 numbers out of range, U003 ``out`` is of other hands.
        DataError: an unreadable picture, an unknown or empty split.
        ResourceError: R003 the pictures' scores do not fit into memory.
    """
    if pictures < 1 or minutes <= 0:
        what = f"{pictures} pictures and {minutes:g} minutes, expected numbers above zero"
        raise UsageError("U002", what, "--pictures 20 --minutes 10")
    model.shown(crf=DenseCrf())  # a coarse map is refused
    model = replace(model, predictor=model.predictor.shown({"crf": None}))
    end = time.monotonic() + 60 * minutes
    asked: dict[str, Any] = {"weights": model.header.sha256, "view": model.predictor.view.as_dict()}
    asked |= {"data": dataset.fingerprint(split), "split": split, "pictures": pictures}
    record, judge, made, complete = Record(out, plain(asked)), Judge(), list[Trial](), False

    def judged(crf: DenseCrf | None) -> float:
        if crf not in record.tried:
            if not judge.truths:
                judge.see(model, dataset, split, pictures)
            record.add(crf, judge.scores(crf))
        made.append(Trial(crf, record.tried[crf]))
        watch()
        return made[-1].scores["mean_iu"] or 0.0

    steps = coordinate_search([read(DenseCrf, as_dict(s) | dict(fixed)) for s in STARTS])
    with failed_allocations(f"--pictures {max(1, pictures // 2)}"):
        judged(None)
        crf = next(steps)
        while not complete and (time.monotonic() < end or crf in record.tried):
            try:
                crf = steps.send(judged(crf))
            except StopIteration:
                complete = True
    result = Search(tuple(made), complete, len(dataset.items(split)[:pictures]))
    if result.chosen.crf is None:
        return result
    record.choose(result.chosen.crf)
    return replace(result, written=out)


class Record:
    """What has been tried, and what was chosen, in a file beside the result."""

    def __init__(self, out: Path, asked: Mapping[str, Any]) -> None:
        """Of this question; U003 where the result is of other hands."""
        self.out, self.path, self.asked = out, out.with_name(RECORD), asked
        lines = read_journal(self.path) if self.path.is_file() else []
        if lines and not self.path.read_bytes().endswith(b"\n"):
            append_line(self.path, "")  # after a line that a crash cut short
        self.tried = {
            line["crf"] and read(DenseCrf, line["crf"]): line["scores"]
            for line in lines
            if line.get("asked") == asked
        }
        chosen = [line["chosen"] for line in lines if "chosen" in line]
        with suppress(ValueError):
            if not out.exists() or json.loads(out.read_bytes()) in chosen:
                return
        what = f"{out} exists and was not chosen by a search, expected none"
        raise UsageError("U003", what, f"mv {out} {out.with_suffix('.old.json')}")

    def add(self, crf: DenseCrf | None, scores: Mapping[str, float | None]) -> None:
        """One more trial."""
        self.tried[crf] = scores
        facts = {"asked": self.asked, "crf": crf and as_dict(crf), "scores": scores}
        append_line(self.path, json.dumps(facts))

    def choose(self, crf: DenseCrf) -> None:
        """Write the result."""
        append_line(self.path, json.dumps({"chosen": as_dict(crf)}))
        write_json(self.out, as_dict(crf))
