"""A model's scores on a split: the predictor that everyone uses, fed to the one evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pixelwise.data.dataset import DataSet
from pixelwise.errors import ModelError
from pixelwise.evaluation.evaluate import Evaluation, Pair, evaluate
from pixelwise.images import write_labels
from pixelwise.model import Model


def evaluate_model(
    model: Model,
    dataset: DataSet,
    split: str,
    *,
    keep: Path | None = None,
    watch: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Predict every picture of a split and compare it with its truth.

    Args:
        model: with the data set's classes, in its order.
        dataset: the pictures and label maps.
        split: which of them.
        keep: folder for the guessed label maps, ``<name>.png``.
        watch: called after each picture.

    Raises:
        ModelError: M040 the model's classes are not the data set's.
        DataError: an unreadable picture, an unknown or empty split.
    """
    check_classes(model, dataset)
    items = dataset.items(split)
    palette = np.asarray(dataset.palette, np.uint8)
    spent = 0.0

    def pairs() -> Iterator[Pair]:
        nonlocal spent
        for item in items:
            sample = dataset.read(item)
            began = time.perf_counter()
            guess = model.predictor.labels(sample.image)
            spent += time.perf_counter() - began
            if keep:
                write_labels(keep / f"{item.name}.png", guess, palette)
            yield Pair(item.name, sample.labels, guess)
            watch()

    found = evaluate(pairs(), dataset.classes)
    return found.timed(spent / max(1, len(items)))


def check_classes(model: Model, dataset: DataSet) -> None:
    """Refuse to compare apples with pears.

    Raises:
        ModelError: M040 with the first difference.
    """
    mine, theirs = model.classes, dataset.classes
    if mine == theirs:
        return
    differences = [
        f"{i}: `{a}` / `{b}`" for i, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b
    ]
    counts = [] if len(mine) == len(theirs) else [f"{len(mine)} / {len(theirs)} classes"]
    what = "; ".join([*counts, *differences[:3]])
    raise ModelError(
        "M040",
        f"the model's classes are not those of {dataset.root} (model / data: {what})",
        "evaluate on the data the model was trained for, or train on this data with --weights",
    )
