"""Every file of a data set read once, and everything that training would stumble over listed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, combinations
from math import prod
from pathlib import Path
from typing import Any

from pixelwise.data.classes import NEAREST
from pixelwise.data.dataset import DataSet
from pixelwise.data.likeness import Sketch, sketch
from pixelwise.data.remarks import Remark, remarks
from pixelwise.data.sample import Item, LabelMap, LabelSource, Reader, content, each
from pixelwise.data.statistics import (
    ClassCounts,
    Counts,
    Statistics,
    count,
    refuse_mixed,
    summarise,
)
from pixelwise.data.within import NET, seen_in_training
from pixelwise.errors import DataError, first_few, hxw
from pixelwise.labels import VOID
from pixelwise.pictures.imagefile import orientation_of

APART = ("train", "val", "test")
"""Splits that must not share a picture."""


@dataclass(frozen=True)
class Seen:
    """What was seen of an item that could be read."""

    item: Item
    size: tuple[int, int]
    """(height, width)."""
    content: str
    """``content`` of its picture."""
    counts: Counts | None
    """None without labels."""
    labels_content: str
    """``content`` of its label maps; empty without."""
    sketch: Sketch
    """What it looks like."""
    orientation: int
    """EXIF's, of its file."""
    moved: int = 0
    """Pixels of its label maps that hold no value that is listed."""

    def classes(self, head: str) -> int:
        """How many of a head's occur."""
        return int((self.counts.heads[head][:VOID] > 0).sum()) if self.counts else 0

    def is_void_in(self, head: str) -> bool:
        """It has labels, and none of this head says anything."""
        return self.counts is not None and not self.counts.heads[head][:VOID].any()


@dataclass(frozen=True)
class Inspection:
    """What was seen in the files of a data set."""

    dataset: DataSet
    seen: Mapping[str, tuple[Seen, ...]]
    """By split."""
    problems: tuple[DataError, ...]
    """Training refuses while there is one."""
    remarks: tuple[Remark, ...]
    """What training does not refuse."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The remarks in words."""
        return tuple(remark.text for remark in self.remarks)

    def sizes(self, *splits: str) -> Counter[tuple[int, int]]:
        """(height, width) to pictures, each once, of some splits or all."""
        views = chain(*(self.seen[split] for split in splits or self.seen))
        return Counter({view.item.files: view.size for view in views}.values())

    def counts(self, head: str) -> dict[str, ClassCounts]:
        """By split the labels of a head."""
        return {split: self.statistics(split).heads[head] for split in self.seen}

    def statistics(self, split: str) -> Statistics:
        """Of a split that was inspected."""
        counted = [view.counts for view in self.seen[split] if view.counts]
        return summarise(self.dataset.classes_by_head, counted)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``; of several heads each one's classes are under ``heads``."""
        d = self.dataset
        heads = {head: {"classes": self._classes(head)} for head in d.heads}
        return {
            "root": str(d.root),
            "layout": d.layout,
            "evidence": d.evidence,
            "notes": list(d.notes),
            "inputs": {"used": list(d.inputs), "known": d.known_inputs},
            "computed": {name: made.source.of for name, made in d.computed.items()},
            "values": d.values,
            **heads[d.heads[0]],
            **({"heads": heads} if len(heads) > 1 else {}),
            "splits": {s: len(items) for s, items in d.splits.items()},
            "sizes": {hxw(size): pictures for size, pictures in self.sizes().items()},
            "problems": [p.as_dict() for p in self.problems],
            "warnings": list(self.warnings),
            "remarks": [vars(remark) for remark in self.remarks],
        }

    def _classes(self, head: str) -> list[dict[str, Any]]:
        class_map, counts = self.dataset.class_maps[head], self.counts(head)
        return [
            {
                "name": name,
                "colour": list(class_map.palette[i]),
                "pixels": {s: int(c.pixels[i]) for s, c in counts.items()},
                "images": {s: int(c.images_with[i]) for s, c in counts.items()},
            }
            for i, name in enumerate(class_map.classes)
        ]


def inspect(
    dataset: DataSet,
    splits: Sequence[str] = (),
    *,
    read: Reader | None = None,
    net: str = NET,
    watch: Callable[[], object] = lambda: None,
) -> Inspection:
    """Read every item of the splits (of all, by default).

    Args:
        dataset: of ``open_dataset``, strict or not.
        splits: names; no picture may be in two of them. By default train, val and test are kept
            apart, and others (trainval) may share pictures with them.
        read: ``dataset.read``, or one that remembers.
        net: that sees, of a picture whose labels are in parts, what lies around them.
        watch: called after each item.
    """
    chosen = {s: dataset.splits.get(s, ()) for s in splits or dataset.splits}
    look = partial(_look, dataset, read or dataset.read)
    by_files, unread = each(chain(*chosen.values()), look, watch)
    seen = {
        split: tuple(by_files[item.files] for item in members if item.files in by_files)
        for split, members in chosen.items()
    }
    # Labels of a test split may be withheld, so it is only needed where it was asked for.
    needed = [s for s in chosen if splits or s in ("train", "val")]
    contents = {view.item.name: view.content for view in by_files.values()}
    found = (
        *dataset.problems,
        *unread,
        *(problem for split in needed for problem in dataset.split_problems(split)),
        *leaks(chosen if splits else {s: chosen.get(s, ()) for s in APART}, contents, dataset),
        *refuse_mixed({v.item.image: v.counts.kind for v in by_files.values() if v.counts}),
        *(
            _all_void(dataset, split, head)
            for split in needed
            for head in dataset.heads
            if _is_void(seen[split], head)
        ),
    )
    # A label map that was looked at for its classes may be among those of the listing already.
    problems = tuple({str(problem): problem for problem in found}.values())
    inspection = Inspection(dataset, seen, problems, ())
    apart = splits or [split for split in APART if split in chosen]
    head, classes = dataset.heads[0], dataset.classes
    words = (
        *_unused(dataset, chosen.keys() - set(needed)),
        *_warnings(inspection),
        *_seen_in_training(dataset, (splits or APART)[0], apart, net),
    )
    told = *map(Remark, words), *remarks(seen, apart, head, classes)
    return replace(inspection, remarks=told)


def _look(dataset: DataSet, read: Reader, item: Item) -> Seen:
    """One item; of one without labels the picture alone."""
    sample = read(item) if item.labelled(dataset.heads) else None
    image = sample.image if sample else dataset.image(item)
    return Seen(
        item,
        image.shape[:2],
        content(image),
        count(sample) if sample else None,
        "".join(map(content, sample.heads.values())) if sample else "",
        sketch(image),
        orientation_of(item.image),
        _moved(dataset, item) if sample else 0,
    )


def _moved(dataset: DataSet, item: Item) -> int:
    """Pixels that are void or another class than their number says; a class for all is no doubt."""
    heads = {h: dataset.class_maps[h] for h in dataset.heads}
    sources = ((item.labels[h], m) for h, m in heads.items() if m.others in (NEAREST, VOID))
    return sum(m.moved(s.path) for s, m in sources if isinstance(s, LabelMap))


def leaks(
    splits: Mapping[str, Sequence[Item]], contents: Mapping[str, str], dataset: DataSet
) -> list[DataError]:
    """D033 for each picture in more than one of these splits, unless they share no labelled pixel.

    ``contents`` has the ``content`` of pictures by the name of their items, where it is known.
    """
    where: dict[str, dict[str, Item]] = defaultdict(dict)
    for split, items in splits.items():
        for item in items:
            if item.name in contents:
                where[contents[item.name]].setdefault(split, item)
    hint = "keep it in one split only: scores on pictures that were trained on say nothing"
    files = [
        " and ".join(f"{item.image} ({split})" for split, item in places.items())
        for places in where.values()
        if len(places) > 1 and not _in_parts(dataset, [*places.values()])
    ]
    return [DataError("D033", f"{twice} hold the same picture", hint) for twice in files]


def _in_parts(dataset: DataSet, items: Sequence[Item]) -> bool:
    """Whether items are one picture whose label maps know other pixels each."""
    if len({item.image for item in items}) > 1 or items[0].image not in dataset.parted:
        return False
    maps = (item.labels[dataset.heads[0]].read(dataset.class_map) for item in items)
    return all((a == VOID)[b != VOID].all() for a, b in combinations(maps, 2))


def _seen_in_training(
    dataset: DataSet, trained: str, apart: Sequence[str], net: str
) -> Iterator[str]:
    """Labels of one picture in two splits that lie nearer to each other than a net sees."""

    def parts(split: str) -> dict[Path, LabelSource]:
        items = dataset.splits.get(split, ()) if not dataset.class_map.kind.measured else ()
        return {i.image: i.labels[head] for i in items if i.image in dataset.parted}

    head = dataset.heads[0]
    first = parts(trained)
    for split, image, labels in ((s, *p) for s in apart if s != trained for p in parts(s).items()):
        if image in first:
            seen, held = (s.read(dataset.class_map) != VOID for s in (first[image], labels))
            share, where = seen_in_training(seen, held, net)
            if share:
                gap = f"`pixelwise data split {dataset.root} --gap N` parts them further"
                yield f"{share:.0%} of the pixels of {image.name} in split {split} {where} ({gap})"


def _is_void(views: Sequence[Seen], head: str) -> bool:
    labelled = [view for view in views if view.counts]
    return bool(labelled) and all(view.is_void_in(head) for view in labelled)


def _all_void(dataset: DataSet, split: str, head: str) -> DataError:
    """Nothing can be learned from such a split, or scored."""
    return DataError(
        "D032",
        f"{dataset.root}: every pixel of split `{split}`{dataset.of_head(head)} is void, "
        "expected labels",
        "check the label maps, or what classes.json ignores",
    )


def _unused(dataset: DataSet, splits: Collection[str]) -> Iterator[str]:
    """What is wrong with splits that are not needed: whoever uses them is refused."""
    for split in sorted(splits):
        yield from (str(problem) for problem in dataset.split_problems(split, labelled=False))
        items = dataset.splits.get(split, ())
        bare = [item.name for item in items if not item.labelled(dataset.heads)]
        if bare:
            yield (
                f"{len(bare)} of {len(items)} pictures in split {split} have no label map "
                f"({first_few(bare)}): they can be predicted, not evaluated on"
            )


def _warnings(inspection: Inspection) -> Iterator[str]:
    dataset, seen = inspection.dataset, inspection.seen
    for head, classes in dataset.classes_by_head.items():
        for split, own in inspection.counts(head).items():
            never = [f"`{n}`" for n, p in zip(classes, own.pixels, strict=True) if not p]
            if never and own.void + own.pixels.sum():  # else there are no labels
                where = f"split {split}{dataset.of_head(head)}"
                yield f"no pixel of {first_few(never, 10)} in {where}"
    if "train" not in dataset.splits:
        known = ", ".join(dataset.splits) or "none"
        yield f"there is no split train (there are: {known}): name one, --set train_split="
    elif "train" in seen and "val" not in dataset.splits:
        yield "there is no split val: train with --set val_split=, or add pictures"
    yield from _moves(dataset, {v.item.name: v for v in chain(*seen.values()) if v.moved})
    views = chain(*seen.values())
    void = {view.item.name for view in views if any(map(view.is_void_in, dataset.heads))}
    if void:
        yield f"{len(void)} label maps are void everywhere: {first_few(sorted(void))}"


def _moves(dataset: DataSet, moved: Mapping[str, Seen]) -> Iterator[str]:
    """How many pixels ``--values`` has given a class or void that their number alone does not."""
    if not moved:
        return
    pixels, area = sum(v.moved for v in moved.values()), sum(prod(v.size) for v in moved.values())
    most = max(moved, key=lambda name: moved[name].moved)
    near = any(dataset.class_maps[head].others == NEAREST for head in dataset.heads)
    yield (
        f"{pixels:,} of {area:,} pixels in {len(moved)} label maps hold no value that is listed "
        f"({pixels / area:.1%}, most in {most}) and were taken for "
        f"{'the nearest one' if near else 'void'}"
    )
