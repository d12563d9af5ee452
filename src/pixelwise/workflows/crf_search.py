"""The dense CRF's parameters for a model, chosen on a split by the mean IU that they give."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
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

RECORD = "crf-search.jsonl"  # beside the result: what has been tried


@dataclass(frozen=True)
class Judge:
    """What a net believes of pictures, and their truth."""

    seen: list[tuple[NDArray[Any], NDArray[Any], NDArray[np.float16]]] = field(default_factory=list)

    def see(self, model: Model, dataset: DataSet, split: str, count: int) -> None:
        """Up to ``count`` pictures of a split, evenly apart; the first head is judged."""
        items, head = dataset.items(split), dataset.heads[0]
        for i in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).round()):
            sample = dataset.read(items[int(i)])
            made = model.label(sample.image, probabilities=True)
            made = made.heads.get(head, made)
            assert made.probabilities is not None
            belief = made.probabilities.astype(np.float16)
            self.seen.append((sample.heads[head], three_bands(sample.image), belief))

    def scores(self, crf: DenseCrf | None) -> dict[str, Any]:
        """Mean IU, pixel accuracy and boundary IU."""
        counts, edges = [], []
        for truth, image, belief in self.seen:
            made = belief if crf is None else refine(belief, image, crf)
            guess = made.argmax(0).astype(np.uint8 if len(made) <= 255 else np.uint16)
            counts.append(confusion(truth, guess, len(made)))
            edges.append(boundaries(truth, guess, len(made)))
        of_all = scores(np.sum(counts, 0))
        told = {"mean_iu": of_all.mean_iu, "pixel_accuracy": of_all.pixel_accuracy}
        return {**told, "boundary_iu": sum(edges[1:], edges[0]).boundary_iu}


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
) -> dict[str, Any]:
    """Choose parameters; what was tried of the same question before is not tried again.

    ``trials`` come out, the net alone first, the ``chosen`` one, whether the search is ``complete``
    or the time was over, and ``out``, written if a CRF is better than none. ``fixed`` parameters
    are those of all trials.

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
    asked = {"weights": model.header.sha256, "view": model.predictor.view.as_dict()}
    asked = plain({**asked, "data": dataset.fingerprint(split), "of": [split, pictures]})
    record, end, judge = out.with_name(RECORD), time.monotonic() + 60 * minutes, Judge()
    known = _record(record, out)
    tried = {str(e["trial"]["crf"]): e["trial"] for e in known if e.get("asked") == asked}
    trials, complete = list[dict[str, Any]](), False

    def judged(crf: DenseCrf | None) -> float:
        told = crf and as_dict(crf)
        if str(told) not in tried:
            if not judge.seen:
                judge.see(model, dataset, split, pictures)
            tried[str(told)] = plain({"crf": told, **judge.scores(crf)})
            append_line(record, json.dumps({"asked": asked, "trial": tried[str(told)]}))
        trials.append(tried[str(told)])
        watch()
        return trials[-1]["mean_iu"] or 0.0

    steps = coordinate_search([read(DenseCrf, as_dict(s) | dict(fixed)) for s in STARTS])
    with failed_allocations(f"--pictures {max(1, pictures // 2)}"):
        judged(None)
        crf = next(steps)
        while not complete and (time.monotonic() < end or str(as_dict(crf)) in tried):
            try:
                crf = steps.send(judged(crf))
            except StopIteration:
                complete = True
    chosen = max(trials, key=lambda trial: trial["mean_iu"] or 0.0)  # of equals the first
    if chosen["crf"]:
        append_line(record, json.dumps({"chosen": chosen["crf"]}))
        write_json(out, chosen["crf"])
    written = str(out) if chosen["crf"] else None
    return {"out": written, "complete": complete, "chosen": chosen, "trials": trials}


def _record(path: Path, out: Path) -> list[dict[str, Any]]:
    """What was tried and chosen before; U003 where ``out`` was not."""
    lines = read_journal(path) if path.is_file() else []
    mine = [json.dumps(line["chosen"], indent=1) + "\n" for line in lines if "chosen" in line]
    if out.exists() and out.read_text("utf-8", "replace") not in mine:
        what = f"{out} exists and was not chosen by a search, expected none"
        raise UsageError("U003", what, f"mv {out} {out.with_suffix('.old.json')}")
    return lines
