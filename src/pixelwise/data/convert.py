"""Any data set written in the canonical layout."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.canonical import Description, terms_of, write_description
from pixelwise.data.inspect import APART, leaks
from pixelwise.data.listing import refuse_unlistable, write_splits
from pixelwise.data.sample import Item, content, each
from pixelwise.errors import DataError, UsageError, raise_all
from pixelwise.machine.files import atomic_write, refuse_taken, whole_folder
from pixelwise.nets.kinds import EDGES
from pixelwise.pictures.images import write_image, write_labels

log = logging.getLogger(__name__)


def convert(dataset: DataSet, out: Path, *, watch: Callable[[], object] = lambda: None) -> Path:
    """Write a data set in the canonical layout; pictures are copied as they are.

    A picture in two of train, val and test is warned of (D033). Nothing is left behind where
    something cannot be converted: the folder gets its name at the end.

    Raises:
        UsageError: U003 the output folder is not empty.
        DataError: samples that cannot be read or do not fit, lists that name what is not there,
            D030 a picture with two label maps; all of them.
    """
    refuse_taken(out)
    if out.resolve().is_relative_to(dataset.root.resolve()):  # it would be read as part of it
        raise UsageError("U003", f"{out} lies inside {dataset.root}", "choose a folder beside it")
    items = dataset.all_items()
    # Names can be judged before anything is copied.
    lists = {split: [i.name for i in members] for split, members in dataset.splits.items()}
    refuse_unlistable(out / "splits", lists)
    description = _description(dataset)
    with whole_folder(out) as place:
        contents, problems = each(items, partial(_write, dataset, description, place), watch)
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


def _write(dataset: DataSet, description: Description, out: Path, item: Item) -> str:
    """The files of an item, which are read and checked on the way; its picture's ``content``."""
    sample = dataset.read(item) if item.labelled(dataset.heads) else None
    heads = dict(sample.heads) if sample else {}
    for head in description.heads.keys() & item.labels:
        class_map, source = dataset.class_maps[head], item.labels[head]
        if class_map.kind.measured:
            _copy(source.files[0], out / description.heads[head], item.name)
            continue
        labels = heads[head] if head in heads else source.read(class_map)
        path = out / description.heads[head] / f"{item.name}.png"
        write_labels(path, labels, np.asarray(class_map.palette, np.uint8))
    for name in dataset.inputs:
        if name in dataset.computed:
            place = out / description.inputs[name] / f"{item.name}.png"
            write_image(place, dataset.using(inputs=[name]).image(item))
    for name, path in item.inputs.items():
        if name in dataset.computed:
            continue
        _copy(path, out / description.inputs[name], item.name)
    return content(sample.image if sample else dataset.image(item))


def _copy(path: Path, folder: Path, name: str) -> None:
    with path.open("rb") as original:
        copy = partial(shutil.copyfileobj, original)
        atomic_write(folder / f"{name}{path.suffix.lower()}", copy)
