"""Scores on a split of a data set, of anything that labels pictures."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import DataSet
from pixelwise.data.sample import Item, Sample, content
from pixelwise.errors import ModelError, UsageError, first_few
from pixelwise.evaluation.evaluate import Evaluation, Pair, evaluate_heads
from pixelwise.folders import of_head
from pixelwise.pictures.images import text_in, write_labels

log = logging.getLogger(__name__)

Labelling = Callable[[NDArray[Any]], Mapping[str, NDArray[Any]]]
"""A picture (H, W, B) to its class ids (H, W), or numbers (H, W, P), by head."""
OURS = {"made_by": "pixelwise evaluate"}
"""What guesses that are kept say of themselves."""


def evaluate_split(
    label: Labelling,
    classes: Mapping[str, tuple[str, ...]],
    dataset: DataSet,
    split: str,
    *,
    trained_on: frozenset[str] | None = frozenset(),
    keep: Path | None = None,
    shown: Callable[[Sample], Sample] = lambda sample: sample,
    watch: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Label every picture of a split once and compare each head's labels with their truth.

    Args:
        label: what is evaluated.
        classes: by head the names of the ids it gives; must be the data set's, in its order.
        dataset: the pictures and label maps; its heads in use are those that are judged.
        split: which of them.
        trained_on: ``content`` of pictures that it has seen, told if judged; None if unknown.
        keep: folder for the guessed label maps, ``<name>.png``, of further heads in a folder of
            the head's name in it; earlier ones are replaced.
        shown: what of a sample is looked at, such as ``data.masking.masked_as``.
        watch: called after each picture.

    Raises:
        ModelError: M040 the classes are not the data set's.
        DataError: an unreadable picture, an unknown or empty split.
        UsageError: U003 ``keep`` holds files of the data set, or files that are not such guesses.
    """
    for head in dataset.heads:
        check_classes(classes[head], dataset, head)
    items = dataset.items(split)
    folders = {h: of_head(keep, h, dataset.heads) for h in dataset.heads} if keep else {}
    refuse_taken(keep, items, dataset)
    palettes = {h: np.asarray(dataset.class_maps[h].palette, np.uint8) for h in dataset.heads}
    kinds = {head: dataset.class_maps[head].kind for head in dataset.heads}
    spent, seen = 0.0, []

    def pairs() -> Iterator[dict[str, Pair]]:
        nonlocal spent
        for item in items:
            sample = dataset.read(item)
            if trained_on and {content(sample.image), dataset.contents(item, sample)} & trained_on:
                seen.append(item.name)
            image = shown(sample).image
            began = time.perf_counter()  # of the model alone: disks differ
            guesses = label(image)
            spent += time.perf_counter() - began
            for head, folder in folders.items():
                path = folder / f"{item.name}.png"
                write_labels(path, guesses[head], palettes[head], text=OURS, step=kinds[head].step)
            yield {h: Pair(item.name, sample.heads[h], guesses[h]) for h in dataset.heads}
            watch()

    evaluation = evaluate_heads(pairs(), dataset.classes_by_head, kinds)
    noted = None if trained_on is None else tuple(seen)
    warn_of_leaks(noted, dataset, split)
    facts: dict[str, Any] = {"seconds_per_image": spent / len(items), "trained_on": noted}
    heads = {head: replace(own, **facts) for head, own in evaluation.heads.items()}
    return replace(evaluation, heads=heads, **facts)


def warn_of_leaks(noted: tuple[str, ...] | None, dataset: DataSet, split: str) -> None:
    """Say which of the pictures judged were trained on, or that nobody knows."""
    if noted:
        share = f"{len(noted)} of the {len(dataset.items(split))} pictures in split {split}"
        log.warning("%s were trained on (%s): these scores say too much", share, first_few(noted))
    elif noted is None and dataset.drawn:
        log.warning(
            "the split %s was drawn, and these weights were trained before models noted their "
            "pictures: some of those judged may have been trained on",
            split,
        )


def refuse_taken(keep: Path | None, items: Sequence[Item], dataset: DataSet) -> None:
    """Truth and pictures are not overwritten with guesses, nor anything else that is not ours."""
    hint = "choose a new folder"
    for folder in {of_head(keep, head, dataset.heads) for head in dataset.heads} if keep else ():
        if folder.resolve() in dataset.folders:
            raise UsageError("U003", f"{folder} holds files of {dataset.root} itself", hint)
        for path in (folder / f"{item.name}.png" for item in items):
            if path.exists() and not text_in(path).items() >= OURS.items():
                raise UsageError("U003", f"{path} exists and is no guess of an evaluation", hint)


def check_classes(mine: tuple[str, ...], dataset: DataSet, head: str) -> None:
    """Refuse to compare apples with pears."""
    theirs = dataset.class_maps[head].classes
    if mine == theirs:
        return
    raise ModelError(
        "M040",
        f"the model's classes{dataset.of_head(head)} are not those of {dataset.root} "
        f"(model / data: {differing(mine, theirs)})",
        "if only the names differ, write the model's into the data's classes.txt, classes.json or "
        "dataset.json; else train on this data with --weights",
    )


def differing(mine: Sequence[str], theirs: Sequence[str]) -> str:
    """In what two lists of classes differ: their lengths, and the first three names."""
    counts = [] if len(mine) == len(theirs) else [f"{len(mine)} / {len(theirs)} classes"]
    named = enumerate(zip(mine, theirs, strict=False))
    differences = [f"{i}: `{a}` / `{b}`" for i, (a, b) in named if a != b]
    return "; ".join([*counts, *differences[:3]])
