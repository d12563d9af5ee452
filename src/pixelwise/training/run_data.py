"""The data of a run: opened, read once, checked and counted before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.data.class_merging import merged
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.canonical import terms_of
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import Inspection, inspect
from pixelwise.data.remarks import SCORES
from pixelwise.data.sample import Item, Reader
from pixelwise.data.splits import kept, once_drawn
from pixelwise.data.statistics import Statistics
from pixelwise.errors import DataError, UsageError, hxw, raise_all, unknown_name
from pixelwise.losses.weighting import Scheme, class_weights
from pixelwise.nets.kinds import Kind
from pixelwise.pictures.bands import InputKind
from pixelwise.settings import as_dict
from pixelwise.training.feed import SampleCache
from pixelwise.training.recipe import Recipe
from pixelwise.weights.checkpoint import Header

FLAT = 2.0  # levels of 255: the deviation of a night photo is ten times that
SCALED_BY, FEWER = 60, 3  # pictures; rows and columns apart: means settle long before
RARE_SHARE = 0.25
"""A class is rare when it has less than this part of an equal share of the pixels."""


@dataclass(frozen=True)
class RunData:
    """What is trained on and evaluated on."""

    dataset: DataSet
    read: Reader
    """``dataset.read``, with what was read already."""
    items: tuple[Item, ...]
    """Of the training split."""
    held_out: tuple[Item, ...]
    """Of the validation split; empty: nothing is evaluated while training."""
    example: Item | None
    """The one of them with the most classes in the first head."""
    inputs: Mapping[str, InputKind]
    """By name what makes a picture, in the order of the bands."""
    statistics: Statistics
    """Of the training split alone: what is learned from the others is a leak."""
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of the training pictures, each once."""
    facts: Mapping[str, Any]
    """What tells later whether data is that of the run: ``path``, ``fingerprint`` of the files of
    both splits, ``splits``, the names in each, if they were drawn: they stay the run's own; and
    ``computed``, by input how it is made of depth."""
    not_apart: tuple[str, ...]
    """What makes scores on the validation split say too much."""
    contents: frozenset[str]
    """``data.sample.content`` of each training picture."""

    def class_weights(self, scheme: Scheme) -> dict[str, Tensor]:
        """By head (K,) by a scheme of ``losses.weighting``; nothing for none."""
        counted = self.statistics.heads.items() if scheme != "none" else ()
        return {
            head: torch.from_numpy(class_weights(c.pixels, c.pixels_where_present, scheme))
            for head, c in counted
        }

    @property
    def rare(self) -> tuple[int, ...]:
        """Classes of the first head that a crop may be centred on, and that may be pasted."""
        pixels = self._first_pixels * (not self.dataset.class_map.kind.measured)
        share = pixels / max(1, int(pixels.sum()))
        limit = RARE_SHARE / len(share)
        return tuple(i for i, s in enumerate(share) if 0 < s < limit)

    @property
    def _first_pixels(self) -> NDArray[np.int64]:
        """(K,) of the first head, by class."""
        return self.statistics.heads[self.dataset.heads[0]].pixels

    def pixels_per_step(self, recipe: Recipe) -> int:
        """Pixels that count in one optimizer step of all devices, about."""
        counted = int(self._first_pixels.sum()) / max(1, len(self.items)) * recipe.zoom**2
        if recipe.crop:
            counted = min(counted, recipe.crop[0] * recipe.crop[1])
        return max(1, round(counted * recipe.batch * recipe.accumulate * recipe.devices))

    def kinds(self, *, log: bool) -> dict[str, Kind]:
        """By head what it gives, where that is no classes; numbers on the scale of some pictures.

        Raises:
            UsageError: U002 logarithms of numbers that are not above 0.
        """
        kinds = {head: self.dataset.class_maps[head].kind for head in self.dataset.heads}
        some = self.items[:: -(len(self.items) // -SCALED_BY)]
        for head in [h for h, kind in kinds.items() if kind.kind == "numbers"]:
            rows = [self.read(item).heads[head][::FEWER, ::FEWER] for item in some]
            known = np.concatenate([row.reshape(-1, row.shape[2]) for row in rows]).astype(float)
            if log and not np.nanmin(known) > 0:
                what = f"loss.numbers log: head `{head}` has {np.nanmin(known):g}, expected above 0"
                raise UsageError("U002", what, "--set loss.numbers=l1; or declare what is void")
            known = np.log(known) if log else known
            centre, spread = np.nanmean(known, 0), np.maximum(np.nanstd(known, 0), 1e-6)
            scale = tuple(centre.tolist()), tuple(spread.tolist())
            kinds[head] = replace(kinds[head], log=log, centre=scale[0], spread=scale[1])
        return {head: kind for head, kind in kinds.items() if kind.measured}

    def warnings(self, recipe: Recipe) -> list[str]:
        """Classes that cannot be learned, scores that say little, settings without effect."""
        warnings = []
        for head, counted in self.statistics.heads.items():
            pairs = zip(counted.classes, counted.pixels, strict=True)
            absent = ", ".join(f"`{name}`" for name, pixels in pairs if not pixels)
            if absent:
                where = f"split {recipe.train_split}{self.dataset.of_head(head)}"
                warnings.append(
                    f"no pixel of {absent} in {where}: the net cannot learn them, and they are "
                    "scored 0 where the truth has them (add pictures, or drop them from the class "
                    "list)"
                )
        if recipe.train_split == recipe.val_split:
            warnings.append(
                f"the split that is trained on, `{recipe.train_split}`, is also evaluated on: "
                "its scores say nothing about other pictures"
            )
        largest = tuple(max(sides) for sides in zip(*self.sizes, strict=True))
        scale = recipe.zoom * recipe.augment.scale[1]
        if recipe.crop and any(c > scale * n for c, n in zip(recipe.crop, largest, strict=True)):
            warnings.append(
                f"crop {hxw(recipe.crop)} is larger than every picture (at most {hxw(largest)}, "
                f"enlarged {scale:g} times): what is beyond is void"
            )
        deviation = float(self.statistics.std.max())
        if self.statistics.dtype == "uint8" and deviation < FLAT:
            warnings.append(
                f"the pictures hardly vary as 8 bits (deviation {deviation:.2g} of 255 levels): of "
                "16-bit pictures of a small range take the numbers as they are (pixelwise data "
                'convert DATA NEW, and "values": "stored" in NEW/dataset.json)'
            )
        if not self.rare and (recipe.augment.rare or recipe.augment.paste):
            warnings.append("no class is rare here: augment.rare and augment.paste change nothing")
        return [*warnings, *self.not_apart]


def read_data(
    recipe: Recipe,
    begun: Header | None = None,
    *,
    watch: Callable[[float], object] = lambda _: None,
) -> RunData:
    """Open the data that a recipe names and read both of its splits once.

    Args:
        recipe: names data and splits.
        begun: of the state of a run that goes on: it keeps the split that it drew.
        watch: called after each picture with the share of all that were read.

    Raises:
        DataError: all problems of the data at once, named with their files.
        UsageError: U001 an input or head that the data has not, or a weight of none of its heads.
    """
    dataset = open_dataset(Path(recipe.data), strict=False, values=recipe.values)
    dataset = merged(dataset.using(inputs=recipe.inputs, heads=recipe.heads), recipe.map)
    for head in recipe.loss.head_weights:
        if head not in dataset.heads:
            raise unknown_name(f"head of {dataset.root} in use", head, dataset.heads)
    if begun is not None and dataset.drawn:
        dataset = _as_begun(dataset, begun)
    whole = dataset  # whose splits a run that goes on takes over
    if recipe.share < 1 and recipe.train_split in dataset.splits:
        few = _spread(dataset.splits[recipe.train_split], recipe.share)
        dataset = replace(dataset, splits={**dataset.splits, recipe.train_split: few})
    splits = tuple(s for s in (recipe.train_split, recipe.val_split) if s)
    try:
        fingerprint = dataset.fingerprint(*splits)
    except DataError as error:
        if recipe.val_split and recipe.val_split not in dataset.splits:
            error.hint = "--set val_split= trains without evaluation; or " + error.hint
        raise_all(dataset.root, [*dataset.problems, error])
    read = SampleCache(dataset.read, int(recipe.cache * 2**30))
    share = 1 / max(1, sum(len(dataset.splits[split]) for split in splits))
    number = count(1)  # next() is one step, also for two threads
    inspected = inspect(
        dataset, splits, read=read, net=recipe.net, watch=lambda: watch(share * next(number))
    )
    raise_all(dataset.root, inspected.problems)
    items = dataset.items(recipe.train_split)
    return RunData(
        dataset,
        read,
        items=items,
        held_out=dataset.items(recipe.val_split) if recipe.val_split else (),
        example=_example(inspected, recipe.val_split),
        inputs=dataset.kinds_of(items[0]),
        statistics=inspected.statistics(recipe.train_split),
        sizes=tuple(inspected.sizes(recipe.train_split)),
        facts=_facts(recipe, whole, fingerprint),
        not_apart=tuple(text for text in inspected.warnings if SCORES in text),
        contents=frozenset(
            view.content + view.labels_content * (view.item.image in dataset.parted)
            for view in inspected.seen[recipe.train_split]
        ),
    )


def _spread(items: Sequence[Item], share: float) -> tuple[Item, ...]:
    """So many of the items, at least one, evenly apart."""
    count = max(1, round(share * len(items)))
    return tuple(items[i * len(items) // count] for i in range(count))


def _facts(recipe: Recipe, dataset: DataSet, fingerprint: str) -> dict[str, Any]:
    """``RunData.facts``."""
    facts: dict[str, Any] = {"path": recipe.data, "fingerprint": fingerprint}
    if recipe.map:
        facts["map"] = dict(recipe.map)
    if dataset.false_colour:
        facts["false_colour"] = list(dataset.false_colour)
    if terms := terms_of(dataset.root):
        facts["terms"] = terms
    if dataset.drawn:
        drawn = {s: row for s, row in dataset.splits.items() if s in ("train", "val")}
        facts["splits"] = {s: [item.name for item in row] for s, row in drawn.items()}
    if computed := {n: made.source for n, made in dataset.computed.items() if n in dataset.inputs}:
        facts["computed"] = {name: as_dict(source) for name, source in computed.items()}
    return facts


def _as_begun(dataset: DataSet, begun: Header) -> DataSet:
    """With the splits that a run drew when it began."""
    items, before = dataset.all_items(), begun.data.get("splits")
    if not isinstance(before, dict):  # how runs drew that did not note it
        then = zip(("train", "val"), once_drawn(items), strict=True)
        before = {split: [i.name for i in members] for split, members in then if members}
    return replace(dataset, splits={**dataset.splits, **kept(items, before)})


def _example(inspected: Inspection, split: str) -> Item | None:
    """The item of a split with the most classes in the first head, the first of several."""
    head = inspected.dataset.heads[0]
    views = inspected.seen.get(split, ())
    most = max(views, key=lambda view: view.classes(head), default=None)
    return most.item if most else None
