"""Splits that are written down: train, val and test, or folds, by group and by class."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import DataSet
from pixelwise.data.grouping import Grouping, grouped
from pixelwise.data.listing import lists_in
from pixelwise.data.sample import Item, each
from pixelwise.data.splits import HELD, dealt
from pixelwise.errors import DataError, UsageError, first_few
from pixelwise.labels import VOID

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Shares:
    """How large splits are to be; checked as it is made, U002."""

    held: float = HELD
    """Of the pictures, in val; of folds each has an equal part."""
    test: float = 0.0
    """Of the pictures; 0: no split of this name."""
    folds: int = 0
    """Of cross-validation; 0: train and val."""

    def __post_init__(self) -> None:
        most = 1.0 if self.folds else 1 - self.held
        rule = "from 0 to 1" if self.folds else f"that leaves something beside --held {self.held:g}"
        checks = (
            ("held", bool(self.folds) or 0 < self.held < 1, "a share between 0 and 1", HELD),
            ("test", 0 <= self.test < most, f"a share {rule}", HELD),
            ("folds", self.folds == 0 or self.folds > 1, "2 or more", 5),
        )
        for name, fits, expected, example in checks:
            if not fits:
                what = f"--{name} is {getattr(self, name):g}, expected {expected}"
                raise UsageError("U002", what, f"--{name} {example}")

    @property
    def parts(self) -> dict[str, float]:
        """Part to share, together 1; of folds by their numbers."""
        if self.folds:
            parts = {str(k): (1 - self.test) / self.folds for k in range(self.folds)}
        else:
            parts = {"train": 1 - self.held - self.test, "val": self.held}
        return {**parts, "test": self.test} if self.test else parts

    def splits(self, parts: Mapping[str, tuple[Item, ...]]) -> dict[str, tuple[Item, ...]]:
        """The splits of those parts: a fold is trained on all other folds."""
        if not self.folds:
            return dict(parts)
        folds = {part: items for part, items in parts.items() if part != "test"}
        splits: dict[str, tuple[Item, ...]] = {}
        for fold, items in folds.items():
            others = (i for other, items in folds.items() if other != fold for i in items)
            splits[f"fold{fold}-train"] = tuple(sorted(others, key=lambda item: item.name))
            splits[f"fold{fold}-val"] = items
        return splits | {part: items for part, items in parts.items() if part not in folds}


@dataclass(frozen=True)
class Drawn:
    """Splits that were drawn, and what they hold."""

    splits: Mapping[str, tuple[Item, ...]]
    grouping: Grouping
    pixels: Mapping[str, Ints]
    """By split (K,) labelled pixels of each class of the first head."""
    images_with: Mapping[str, Ints]
    """By split (K,) pictures in which the class occurs."""
    notes: tuple[str, ...]
    """What is in no list, and label maps that could not be read."""

    def absent(self, classes: Sequence[str]) -> dict[str, list[str]]:
        """Split to those classes that occur somewhere, and not in it."""
        known = np.sum([*self.pixels.values()], axis=0) > 0
        return {
            split: [name for name, gap in zip(classes, known & (pixels == 0), strict=True) if gap]
            for split, pixels in self.pixels.items()
        }

    def as_dict(self, classes: Sequence[str]) -> dict[str, object]:
        """Plain data for ``--json``: pictures by split, and what they are."""
        return {
            **{split: len(items) for split, items in self.splits.items()},
            "groups": self.grouping.count if self.grouping.evidence else None,
            "evidence": self.grouping.evidence,
            "classes": [
                {
                    "name": name,
                    "pixels": {split: int(row[i]) for split, row in self.pixels.items()},
                    "images": {split: int(row[i]) for split, row in self.images_with.items()},
                }
                for i, name in enumerate(classes)
            ],
            "absent": self.absent(classes),
            "notes": list(self.notes),
        }


def draw(
    dataset: DataSet,
    shares: Shares,
    *,
    by: str = "group",
    seed: int = 0,
    stratified: bool = False,
    watch: Callable[[], object] = lambda: None,
) -> Drawn:
    """Draw splits of the labelled pictures; those of a given test split stay where they are.

    Args:
        dataset: its first head is counted.
        shares: of the splits.
        by: see ``data.grouping.grouped``.
        seed: another one, another split.
        stratified: every split gets its share of each class, in pixels and in pictures.
        watch: called after each label map.

    Raises:
        UsageError: U002 fewer groups than splits, or ``by`` joins no two pictures.
    """
    given = set() if shares.test else {item.name for item in dataset.splits.get("test", ())}
    head = dataset.heads[0]
    labelled = [item for item in dataset.all_items() if head in item.labels]
    items = [item for item in labelled if item.name not in given]
    counts, problems = class_pixels(dataset, labelled, watch)
    try:
        grouping = grouped(items, by)
    except re.error as error:
        what = f"--by is `{by}`, which is no regular expression ({error})"
        raise UsageError("U002", what, "--by '^([a-z]+)_'") from error
    if by not in ("group", "picture") and not grouping.evidence:
        what = f"--by is `{by}`, which joins no two of {len(items)} pictures"
        raise UsageError("U002", what, "--by picture where each may stand alone")
    if grouping.count < len(shares.parts):
        groups = f"{grouping.count} {'groups' if grouping.evidence else 'labelled pictures'}"
        what = f"{dataset.root} holds {groups}, expected {len(shares.parts)} at least"
        raise UsageError("U002", what, "add pictures, ask for fewer splits, or --by picture")
    amounts = _amounts(counts) if stratified else {}
    parts = dealt(items, shares.parts, grouping, seed=seed, amounts=amounts)
    splits = shares.splits(parts)
    none = np.zeros(len(dataset.classes), np.int64)
    rows = {split: [counts.get(i.name, none) for i in m] for split, m in splits.items()}
    bare = len(dataset.all_items()) - len(labelled)
    kept = len(labelled) - len(items)
    notes = [
        f"{bare} pictures without labels are in no list" if bare else "",
        f"the {kept} pictures of split test stay in it, and in no other" if kept else "",
        *(f"its classes are not counted: {problem}" for problem in problems),
    ]
    return Drawn(
        splits,
        grouping,
        {split: np.sum([none, *row], axis=0) for split, row in rows.items()},
        {split: np.sum([none, *(r > 0 for r in row)], axis=0) for split, row in rows.items()},
        tuple(filter(None, notes)),
    )


def class_pixels(
    dataset: DataSet, items: Sequence[Item], watch: Callable[[], object]
) -> tuple[dict[str, Ints], list[DataError]]:
    """By name (K,) pixels of each class of the first head, where a picture has labels; and what
    cannot be read. The pictures are not looked at.
    """
    head, k = dataset.heads[0], len(dataset.classes)

    def of(item: Item) -> Ints:
        labels = item.labels[head].read(dataset.class_map)
        return np.bincount(labels.ravel(), minlength=VOID + 1)[:k].astype(np.int64)

    counted, problems = each((i for i in items if head in i.labels), of, watch)
    return {i.name: counted[i.files] for i in items if i.files in counted}, problems


def _amounts(counts: Mapping[str, Ints]) -> dict[str, list[float]]:
    """What each picture holds of each class: half by pixels, half by being a picture with it.

    Pixels are what scores count, pictures what intervals are drawn from.
    """
    table = np.array(list(counts.values()), np.float64).reshape(len(counts), -1)
    shares = [t / np.maximum(t.sum(0), 1) for t in (table, (table > 0).astype(np.float64))]
    return dict(zip(counts, ((shares[0] + shares[1]) / 2).tolist(), strict=True))


def refuse_taken_lists(folder: Path, splits: Sequence[str], force: bool) -> None:
    """Lists that are there are replaced with ``force`` alone: else U003."""
    taken = [path.name for path in lists_in(folder) if path.stem in splits]
    if taken and not force:
        what = f"{folder} holds {first_few(taken)}, which would be replaced"
        raise UsageError("U003", what, "--force replaces them; -o FOLDER writes elsewhere")
