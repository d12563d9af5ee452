"""Every file of a data set read once, and everything that training would stumble over listed."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import raise_all
from pixelwise.data.sample import Item, Reader
from pixelwise.data.statistics import Counts, Statistics, count, refuse_mixed, summarise
from pixelwise.errors import DataError, hxw
from pixelwise.labels import VOID

APART = ("train", "val", "test")
"""Splits that must not share a picture."""


@dataclass(frozen=True)
class Inspection:
    """What was found."""

    dataset: DataSet
    counted: Mapping[str, tuple[Counts, ...]]
    """Split to the counts of its samples that could be read."""
    sizes: Counter[tuple[int, int]]
    """(height, width) to pictures."""
    sizes_in: Mapping[str, Counter[tuple[int, int]]]
    """The same by split."""
    problems: tuple[DataError, ...]
    """Training refuses while there is one."""
    warnings: tuple[str, ...]

    @property
    def counts(self) -> dict[str, NDArray[np.int64]]:
        """Split to (K,) pixels by class."""
        return {s: _table(self.dataset, rows).sum(0) for s, rows in self.counted.items()}

    @property
    def images_with(self) -> dict[str, NDArray[np.int64]]:
        """Split to (K,) pictures in which the class occurs."""
        return {s: (_table(self.dataset, rows) > 0).sum(0) for s, rows in self.counted.items()}

    def statistics(self, split: str) -> Statistics:
        """Of a split that was inspected."""
        return summarise(self.dataset.classes, self.counted[split])

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        d, pixels, images = self.dataset, self.counts, self.images_with
        return {
            "root": str(d.root),
            "layout": d.layout,
            "evidence": d.evidence,
            "notes": list(d.notes),
            "classes": [
                {
                    "name": name,
                    "colour": list(d.palette[i]),
                    "pixels": {s: int(c[i]) for s, c in pixels.items()},
                    "images": {s: int(c[i]) for s, c in images.items()},
                }
                for i, name in enumerate(d.classes)
            ],
            "splits": {s: len(items) for s, items in d.splits.items()},
            "sizes": {hxw(size): pictures for size, pictures in self.sizes.items()},
            "problems": [p.as_dict() for p in self.problems],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class _Seen:
    """One item, read."""

    size: tuple[int, int] | None = None
    counts: Counts | None = None
    digest: str = ""
    problem: DataError | None = None


def inspect(
    dataset: DataSet,
    splits: Sequence[str] = (),
    *,
    read: Reader | None = None,
    watch: Callable[[], object] = lambda: None,
) -> Inspection:
    """Read every item of the splits (of all, by default).

    Args:
        dataset: of ``open_dataset``, strict or not.
        splits: names; no picture may be in two of them. By default train, val and test are kept
            apart, and others (trainval) may share pictures with them.
        read: ``dataset.read``, or one that remembers.
        watch: called after each item.
    """
    chosen = {s: dataset.items(s) for s in splits} or dict(dataset.splits)
    items = {item.name: item for members in chosen.values() for item in members}
    read = read or dataset.read

    def look(item: Item) -> _Seen:
        try:
            sample = read(item)
        except DataError as error:
            return _Seen(problem=error)
        finally:
            watch()
        height, width = sample.labels.shape
        digest = hashlib.sha256(sample.image.tobytes()).hexdigest()
        return _Seen((height, width), count(sample), digest)

    with ThreadPoolExecutor(2) as pool:
        seen = dict(zip(items, pool.map(look, items.values()), strict=True))
    problems = [*dataset.problems, *(s.problem for s in seen.values() if s.problem)]
    apart = chosen if splits else {s: i for s, i in chosen.items() if s in APART}
    problems += _leaks(apart, seen)
    kinds = {i.image: c.kind for n, i in items.items() if (c := seen[n].counts) is not None}
    problems += refuse_mixed(kinds)
    counted = {
        split: tuple(c for i in members if (c := seen[i.name].counts) is not None)
        for split, members in chosen.items()
    }
    needed = splits or ("train", "val")  # the labels of a test split may be withheld
    problems += _nothing_labelled(dataset, {s: c for s, c in counted.items() if s in needed})
    sizes = Counter(s.size for s in seen.values() if s.size)
    sizes_in = {
        split: Counter(size for i in members if (size := seen[i.name].size))
        for split, members in chosen.items()
    }
    warnings = _warnings(dataset, counted, seen)
    return Inspection(dataset, counted, sizes, sizes_in, tuple(problems), tuple(warnings))


def _table(dataset: DataSet, rows: Sequence[Counts]) -> NDArray[np.int64]:
    """(N + 1, K) pixels by sample and class, after a row of zeros: there may be no sample."""
    k = len(dataset.classes)
    return np.vstack([np.zeros((1, k), np.int64), *(c.labels[:k] for c in rows)])


def _leaks(chosen: dict[str, tuple[Item, ...]], seen: dict[str, _Seen]) -> list[DataError]:
    """Files with the same pixels in more than one of these splits."""
    where: dict[str, dict[str, Item]] = defaultdict(dict)
    for split, items in chosen.items():
        for item in items:
            if seen[item.name].digest:
                where[seen[item.name].digest].setdefault(split, item)
    return [
        DataError(
            "D033",
            " and ".join(f"{item.image} ({split})" for split, item in found.items())
            + " hold the same picture",
            "keep it in one split only: scores on pictures that were trained on say nothing",
        )
        for found in where.values()
        if len(found) > 1
    ]


def _nothing_labelled(
    dataset: DataSet, counted: Mapping[str, Sequence[Counts]]
) -> Iterator[DataError]:
    """Splits whose label maps are void everywhere: nothing can be learned or scored."""
    for split, rows in counted.items():
        if rows and not any(c.labels[:VOID].any() for c in rows):
            yield DataError(
                "D032",
                f"{dataset.root}: every pixel of split `{split}` is void, expected labels",
                "check the label maps, or what classes.json ignores",
            )


def _warnings(
    dataset: DataSet, counted: Mapping[str, Sequence[Counts]], seen: Mapping[str, _Seen]
) -> list[str]:
    found = []
    for split, rows in counted.items():
        never = np.flatnonzero(_table(dataset, rows).sum(0) == 0)
        if len(never):
            names = ", ".join(f"`{dataset.classes[i]}`" for i in never[:10])
            more = f" and {len(never) - 10} more classes" if len(never) > 10 else ""
            found.append(f"no pixel of {names}{more} in split {split}")
    if "train" not in dataset.splits:
        told = ", ".join(dataset.splits) or "none"
        found.append(f"there is no split train (there are: {told}): name one, --set train_split=")
    elif "train" in counted and "val" not in dataset.splits:
        found.append("there is no split val: train with --set val_split=, or add pictures")
    empty = [n for n, s in seen.items() if s.counts and not s.counts.labels[:VOID].any()]
    if empty:
        found.append(f"{len(empty)} label maps are void everywhere: {', '.join(empty[:5])}")
    return found


def refuse_problems(
    dataset: DataSet,
    splits: Sequence[str],
    *,
    read: Reader | None = None,
    watch: Callable[[], object] = lambda: None,
) -> Inspection:
    """Read the splits and raise all that is wrong with them, before anything is trained.

    The arguments are those of ``inspect``.

    Raises:
        DataError: the problem, or a D035 with all of them.
    """
    found = inspect(dataset, splits, read=read, watch=watch)
    raise_all(dataset.root, found.problems)
    return found
