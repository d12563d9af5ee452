"""Our own layout: images/, labels/ (palette PNG, 255 void), splits/*.txt, dataset.json.

``dataset.json`` holds ``classes`` (names), ``palette`` (one [r, g, b] each), ``ignore`` (255),
``values`` (``8-bit`` or ``stored``, see ``pictures.reading``) and ``source`` (where it came from).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data import splits
from pixelwise.data.class_files import Classes, Raw, class_ids, parsed
from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import (
    listed_items,
    lists_in,
    partners,
    raise_all,
    read_list,
    refuse_unlistable,
    without_empty,
    write_list,
)
from pixelwise.data.sample import Item
from pixelwise.errors import DataError, UsageError
from pixelwise.labels import VOID, colours_for
from pixelwise.machine.files import atomic_write, refuse_taken, whole_folder, write_json
from pixelwise.pictures.images import write_labels
from pixelwise.pictures.reading import Values
from pixelwise.settings import Byte, parse_json, read, settings

NAME = "dataset.json"
FORM = '{"classes": ["road", ...], "palette": [[128, 64, 128], ...], "ignore": 255}'


def recognise(root: Path) -> bool:
    """There is a dataset.json beside images/."""
    return (root / NAME).is_file() and (root / "images").is_dir()


def open_layout(root: Path) -> DataSet:
    """The data set; its splits are drawn where splits/ holds no list."""
    class_map, values = parsed(root / NAME, _described, FORM)
    problems: list[DataError] = []
    pairs = partners(root / "images", root / "labels", problems)
    items = {i.name: i for i in pairs}
    lists = lists_in(root / "splits")
    found = {p.stem: listed_items(read_list(p, problems), items, p, problems) for p in lists}
    given = without_empty(root, found or splits.drawn(pairs), problems)
    notes = () if lists else (splits.told(given),)
    evidence = f"{NAME} beside images/ and labels/"
    return DataSet(
        root, "canonical", evidence, class_map, given, notes, not lists, tuple(problems), values
    )


def described(path: Path) -> ClassMap:
    """The classes that a ``dataset.json`` names.

    Raises:
        DataError: D034 it is malformed, with what was expected.
    """
    return parsed(path, _described, FORM)[0]


@settings(code="D034", others="ignore")
class Description:
    """What ``dataset.json`` holds."""

    classes: Classes
    palette: tuple[tuple[Byte, Byte, Byte], ...] = ()
    ignore: Raw = VOID
    values: Values = "8-bit"
    """Which numbers of the pictures are taken."""


def _described(content: bytes) -> tuple[ClassMap, Values]:
    held = read(Description, parse_json(content))
    names, ids = class_ids(held.classes, [held.ignore])
    class_map = ClassMap(names, colours_for(len(names), held.palette), {VOID: VOID, **ids})
    return class_map, held.values


def write_description(
    out: Path, classes: Any, palette: Any, source: str, values: Values = "8-bit"
) -> None:
    """``dataset.json``."""
    told = {
        "classes": list(classes),
        "palette": [list(map(int, c)) for c in palette],
        "ignore": VOID,
        "source": source,
    }
    write_json(out / NAME, told | ({"values": values} if values != "8-bit" else {}))


def write_splits(folder: Path, lists: Mapping[str, Sequence[str]]) -> None:
    """``<name>.txt`` for each split.

    Raises:
        DataError: D034 a picture's name that cannot be listed; nothing was written.
    """
    for name, names in lists.items():
        refuse_unlistable(folder / f"{name}.txt", names)
    for name, names in lists.items():
        write_list(folder / f"{name}.txt", names)


def convert(dataset: DataSet, out: Path, *, watch: Callable[[], object] = lambda: None) -> Path:
    """Write any data set in this layout; pictures are copied as they are.

    Nothing is left behind where a sample cannot be converted: the folder gets its name at the end.

    Raises:
        UsageError: U003 the output folder is not empty.
        DataError: samples that cannot be read or do not fit, all of them.
    """
    refuse_taken(out)
    if out.resolve().is_relative_to(dataset.root.resolve()):
        raise UsageError("U003", f"{out} lies inside {dataset.root}", "choose a folder beside it")
    lists = {s: [i.name for i in items] for s, items in dataset.splits.items()}
    for name, names in lists.items():
        refuse_unlistable(out / "splits" / f"{name}.txt", names)
    with whole_folder(out) as place:
        problems = []
        for item in dataset.all_items():
            try:
                _write(dataset, item, place)
            except DataError as error:
                problems.append(error)
            watch()
        raise_all(dataset.root, problems)
        write_splits(place / "splits", lists)
        source = f"{dataset.layout} {dataset.root}"
        write_description(place, dataset.classes, dataset.palette, source, dataset.values)
    return out


def _write(dataset: DataSet, item: Item, out: Path) -> None:
    palette = np.asarray(dataset.palette, np.uint8)
    write_labels(out / "labels" / f"{item.name}.png", dataset.read(item).labels, palette)

    def copy(f: Any) -> None:
        with item.image.open("rb") as original:
            shutil.copyfileobj(original, f)

    atomic_write(out / "images" / f"{item.name}{item.image.suffix.lower()}", copy)
