"""Every file of a data set read once, and everything that training would stumble over listed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import DataSet
from pixelwise.data.sample import Item, Reader, content, each
from pixelwise.data.statistics import Counts, Statistics, count, refuse_mixed, summarise
from pixelwise.errors import DataError, hxw, raise_all
from pixelwise.labels import VOID

APART = ("train", "val", "test")
"""Splits that must not share a picture."""


@dataclass(frozen=True)
class Inspection:
    """What was seen in the files of a data set."""

    dataset: DataSet
    counted: Mapping[str, tuple[Counts, ...]]
    """Split to the counts of its samples that could be read."""
    contents: Mapping[str, str]
    """Name to ``content`` of its picture, of those that could be read."""
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

    size: tuple[int, int]
    content: str
    counts: Counts | None
    """None without labels."""


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
    chosen = {s: dataset.splits.get(s, ()) for s in splits or dataset.splits}
    items = [item for members in chosen.values() for item in members]
    seen, unread = each(items, partial(_look, dataset, read or dataset.read), watch)
    needed = splits or [s for s in ("train", "val") if s in chosen]  # a test split may be withheld
    views = [(item, seen[item.files]) for item in items if item.files in seen]
    contents = {item.name: view.content for item, view in views}
    seen_in = {s: [seen[i.files] for i in m if i.files in seen] for s, m in chosen.items()}
    counted = {s: tuple(v.counts for v in own if v.counts) for s, own in seen_in.items()}
    apart = chosen if splits else {s: i for s, i in chosen.items() if s in APART}
    problems = (
        *dataset.problems,
        *unread,
        *(problem for split in needed for problem in dataset.split_problems(split)),
        *leaks(apart, contents),
        *refuse_mixed({item.image: v.counts.kind for item, v in views if v.counts}),
        *_nothing_labelled(dataset, {s: c for s, c in counted.items() if s in needed}),
    )
    empty = dict.fromkeys(item.name for item, view in views if _is_void(view.counts))
    warnings = (
        *_unused(dataset, chosen.keys() - set(needed)),
        *_warnings(dataset, counted, empty),
    )
    sizes = Counter(view.size for view in seen.values())
    sizes_in = {split: Counter(view.size for view in own) for split, own in seen_in.items()}
    return Inspection(dataset, counted, contents, sizes, sizes_in, problems, warnings)


def _look(dataset: DataSet, read: Reader, item: Item) -> _Seen:
    """One item; of one without labels the picture alone."""
    sample = read(item) if item.labelled(dataset.heads) else None
    image = sample.image if sample else dataset.image(item)
    return _Seen(image.shape[:2], content(image), count(sample) if sample else None)


def _table(dataset: DataSet, rows: Sequence[Counts]) -> NDArray[np.int64]:
    """(N + 1, K) pixels by sample and class, after a row of zeros: there may be no sample."""
    k = len(dataset.classes)
    return np.vstack([np.zeros((1, k), np.int64), *(c.labels[:k] for c in rows)])


def leaks(splits: Mapping[str, Sequence[Item]], contents: Mapping[str, str]) -> list[DataError]:
    """D033 for each picture in more than one of these splits.

    Args:
        splits: that must share none; others than train, val and test are the caller's wish.
        contents: name of an item to ``content`` of its picture, as far as it could be read.
    """
    where: dict[str, dict[str, Item]] = defaultdict(dict)
    for split, items in splits.items():
        for item in items:
            if item.name in contents:
                where[contents[item.name]].setdefault(split, item)
    return [
        DataError(
            "D033",
            " and ".join(f"{item.image} ({split})" for split, item in places.items())
            + " hold the same picture",
            "keep it in one split only: scores on pictures that were trained on say nothing",
        )
        for places in where.values()
        if len(places) > 1
    ]


def _is_void(counts: Counts | None) -> bool:
    return counts is not None and not counts.labels[:VOID].any()


def _nothing_labelled(
    dataset: DataSet, counted: Mapping[str, Sequence[Counts]]
) -> Iterator[DataError]:
    """Splits whose label maps are void everywhere: nothing can be learned or scored."""
    for split, rows in counted.items():
        if rows and all(map(_is_void, rows)):
            yield DataError(
                "D032",
                f"{dataset.root}: every pixel of split `{split}` is void, expected labels",
                "check the label maps, or what classes.json ignores",
            )


def _unused(dataset: DataSet, splits: Collection[str]) -> Iterator[str]:
    """What is wrong with splits that are not needed: whoever uses them is refused."""
    for split in sorted(splits):
        yield from (str(problem) for problem in dataset.split_problems(split, labelled=False))
        items = dataset.splits.get(split, ())
        bare = [item.name for item in items if not item.labelled(dataset.heads)]
        if bare:
            shown = ", ".join(bare[:5]) + (", ..." if len(bare) > 5 else "")
            yield (
                f"{len(bare)} of {len(items)} pictures in split {split} have no label map "
                f"({shown}): they can be predicted, not evaluated on"
            )


def _warnings(
    dataset: DataSet, counted: Mapping[str, Sequence[Counts]], empty: Collection[str]
) -> Iterator[str]:
    for split, rows in counted.items():
        never = np.flatnonzero(_table(dataset, rows).sum(0) == 0) if rows else ()
        if len(never):
            names = ", ".join(f"`{dataset.classes[i]}`" for i in never[:10])
            more = f" and {len(never) - 10} more classes" if len(never) > 10 else ""
            yield f"no pixel of {names}{more} in split {split}"
    if "train" not in dataset.splits:
        known = ", ".join(dataset.splits) or "none"
        yield f"there is no split train (there are: {known}): name one, --set train_split="
    elif "train" in counted and "val" not in dataset.splits:
        yield "there is no split val: train with --set val_split=, or add pictures"
    if empty:
        yield f"{len(empty)} label maps are void everywhere: {', '.join([*empty][:5])}"


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
    inspected = inspect(dataset, splits, read=read, watch=watch)
    raise_all(dataset.root, inspected.problems)
    return inspected
