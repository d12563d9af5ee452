"""Any data set written in the canonical layout."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.canonical import Description, terms_of, write_description
from pixelwise.data.formats.shards import FOLDER, Pieces, write_shards
from pixelwise.data.inspect import APART, leaks
from pixelwise.data.listing import refuse_unlistable, write_splits
from pixelwise.data.sample import Item, content, each
from pixelwise.errors import DataError, UsageError, raise_all
from pixelwise.machine.files import atomic_write, refuse_taken, whole_folder
from pixelwise.nets.kinds import EDGES
from pixelwise.pictures.imagefile import file_bytes
from pixelwise.pictures.images import encode, label_image

log = logging.getLogger(__name__)

Make = Callable[[Item], tuple[str, Pieces]]
"""What is written of an item, behind the ``content`` of its picture."""


def convert(
    dataset: DataSet, out: Path, *, shards: int = 0, watch: Callable[[], object] = lambda: None
) -> Path:
    """Write a data set in the canonical layout; pictures are copied as they are.

    With ``shards`` in tars of about so many bytes, whose samples are called by the items' names
    with ``_`` for dots and spaces, which end a name there. A picture in two of train, val and test
    is warned of (D033). Nothing is left behind where something cannot be converted: the folder gets
    its name at the end.

    Raises:
        UsageError: U003 the output folder is not empty.
        DataError: samples that cannot be read or do not fit, lists that name what is not there,
            D030 a picture with two label maps, or two of one name; all of them.
    """
    refuse_taken(out)
    if out.resolve().is_relative_to(dataset.root.resolve()):  # it would be read as part of it
        raise UsageError("U003", f"{out} lies inside {dataset.root}", "choose a folder beside it")
    items = dataset.all_items()
    # Names can be judged before anything is copied.
    keys = {item.name: re.sub(r"[.\s]", "_", item.name) if shards else item.name for item in items}
    lists = {split: [keys[i.name] for i in members] for split, members in dataset.splits.items()}
    refuse_unlistable(out / "splits", lists)
    by_key = {keys[item.name]: item for item in items}
    if twice := [i for i in items if by_key[keys[i.name]] is not i]:
        what = f"{twice[0].image} would be called `{keys[twice[0].name]}` in a tar, as another one"
        raise DataError("D030", what, "rename it")
    description = _description(dataset)
    make = partial(_pieces, dataset, description)
    with whole_folder(out) as place:
        if shards:
            contents, problems = _pack(make, place, by_key, shards, watch)
        else:
            contents, problems = each(items, partial(_write, make, place), watch)
        raise_all(dataset.root, [*_listing_problems(dataset), *problems])
        write_splits(place / "splits", lists)
        source, terms = f"{dataset.layout} {dataset.root}", terms_of(dataset.root)
        write_description(place, description, source, terms)
    by_name = {item.name: contents[item.files] for item in items}
    for leak in leaks({s: dataset.splits.get(s, ()) for s in APART}, by_name, dataset):
        log.warning("%s; training will refuse it", leak)
    return out


def _listing_problems(dataset: DataSet) -> Iterator[DataError]:
    """Of the lists, which are all written; and a name must stand for one picture and its labels."""
    for split in dataset.splits:
        yield from dataset.split_problems(split, labelled=False)
    for one, other in dataset.namesakes():
        both = f"{one.files[-1]} and {other.files[-1]} are both label maps of {other.image}"
        yield DataError("D030", both, "remove one of the lists that name them")


def _description(dataset: DataSet) -> Description:
    """Names as they were; the first input lies in images/, the first head in labels/.

    Inputs that are computed are written as pictures where they are used, and left out elsewhere.
    """
    offered = (name for item in dataset.all_items() for name in item.inputs)
    known = (name for name in offered if name not in dataset.computed)
    taken = {"splits"}
    inputs = _folders("images", (*dataset.inputs, *known), taken)
    named = (*dataset.heads, *dataset.class_maps)
    stored = [h for h in named if dataset.class_maps[h].kind.kind != EDGES]  # others are derived
    heads = _folders("labels", stored, taken)
    used = *dataset.inputs, *([head for head in dataset.heads if head in heads] or stored[:1])
    use = used if len(used) < len(inputs) + len(heads) else ()
    maps = {name: dataset.class_maps[name] for name in heads}
    told = Description(maps, inputs, heads, use, dataset.values)
    return replace(told, false_colour=dataset.false_colour, variable=dataset.variable)


def _folders(first: str, names: Iterable[str], taken: set[str]) -> dict[str, str]:
    """A folder of its own for each name, called like it but for the first."""
    folders: dict[str, str] = {}
    for name in dict.fromkeys(names):
        folder = name if folders else first
        while folder in taken:
            folder += "_"
        taken.add(folder)
        folders[name] = folder
    return folders


def _pieces(dataset: DataSet, description: Description, item: Item) -> tuple[str, Pieces]:
    """The ``content`` of an item's picture and its files, which are read and checked for it."""
    sample = dataset.read(item) if item.labelled(dataset.heads) else None
    image = sample.image if sample else dataset.image(item)
    pieces = [
        (description.inputs[name], path.suffix.lower(), file_bytes(path))
        for name, path in item.inputs.items()
        if name not in dataset.computed
    ]
    for name in (n for n in dataset.inputs if n in dataset.computed):
        made = encode(dataset.using(inputs=[name]).image(item))
        pieces.append((description.inputs[name], ".png", made))
    heads = dict(sample.heads) if sample else {}
    for head in description.heads.keys() & item.labels:
        class_map, source = dataset.class_maps[head], item.labels[head]
        if class_map.kind.measured:
            path = source.files[0]
            suffix, data = path.suffix.lower(), file_bytes(path)
        else:
            labels = heads[head] if head in heads else source.read(class_map)
            drawn = label_image(labels, np.asarray(class_map.palette, np.uint8))
            suffix, data = ".png", encode(drawn)
        pieces.append((description.heads[head], suffix, data))
    return content(image), pieces


def _write(make: Make, out: Path, item: Item) -> str:
    """The files of an item in their folders; its picture's ``content``."""
    known, pieces = make(item)
    for folder, suffix, data in pieces:
        atomic_write(out / folder / f"{item.name}{suffix}", data)
    return known


def _pack(
    make: Make, out: Path, keys: Mapping[str, Item], size: int, watch: Callable[[], object]
) -> tuple[dict[tuple[Path, ...], str], list[DataError]]:
    """The files of all items in tars, one after the other; as ``each``."""
    contents: dict[tuple[Path, ...], str] = {}
    problems: list[DataError] = []

    def made() -> Iterator[tuple[str, Pieces]]:
        for key, item in keys.items():
            try:
                contents[item.files], pieces = make(item)
            except DataError as error:
                problems.append(error)
            else:
                yield key, pieces
            watch()

    write_shards(out / FOLDER, made(), size)
    return contents, problems
