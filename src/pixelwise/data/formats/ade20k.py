"""ADE20K as its scene parsing benchmark has it: images/, annotations/ and objectInfo150.txt.

Labels 1 to 150 are the classes of that table in its order; 0 ("other") is void, as the benchmark
leaves it out of its scores.
"""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.class_files import parsed
from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats import folder
from pixelwise.data.listing import Listing
from pixelwise.labels import VOID, colours_for
from pixelwise.settings import decoded, refuse

NAME = "objectInfo150.txt"


def recognise(root: Path) -> bool:
    """objectInfo150.txt beside folders of pictures and annotations."""
    return (root / NAME).is_file() and folder.recognise(root)


def open_layout(listing: Listing) -> DataSet:
    """The data set, with folders and splits as of any folder."""
    note = "label 0 is void, 1 to 150 are the classes, as in the benchmark"
    return folder.open_with(listing, "ade20k", classes(listing.root), note, f"{NAME} beside ")


def classes(root: Path) -> ClassMap:
    """Those of the table.

    Raises:
        DataError: D034 it is malformed.
    """
    form = "lines of `Idx`, `Ratio`, ..., `Name` with tabs between them"
    return parsed(root / NAME, _class_map, form)


def _class_map(content: bytes) -> ClassMap:
    rows = [line.split("\t") for line in decoded(content).splitlines() if line.strip()]
    order = [row[0].strip() for row in rows[1:]]
    refuse(not order and "no class in it")
    refuse(order != [str(i + 1) for i in range(len(order))] and "its indices are not 1, 2, 3, ...")
    full = [row[-1].strip() for row in rows[1:]]
    short = [name.split(",")[0] for name in full]  # of "door" there are two
    names = [s if short.count(s) == 1 else f for s, f in zip(short, full, strict=True)]
    names = [n if names.count(n) == 1 else f"{n} ({i + 1})" for i, n in enumerate(names)]
    values = {0: VOID, VOID: VOID} | {i + 1: i for i in range(len(names))}
    return ClassMap(tuple(names), colours_for(len(names)), values)
