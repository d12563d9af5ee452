"""CVAT's "Segmentation mask 1.1" (and Datumaro's VOC export): VOC's folders and labelmap.txt.

A line of ``labelmap.txt`` is ``name:r,g,b:parts:actions``; masks hold these colours, and which one
the background has is said there alone. Classes stand in the order of the file.
"""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.class_files import VOIDS, Shade, class_ids, parsed
from pixelwise.data.classes import ClassMap
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats import voc
from pixelwise.data.listing import Listing
from pixelwise.settings import Name, decoded, read, refuse, settings

NAME = "labelmap.txt"
FORM = "lines `name:red,green,blue::`, as `road:128,64,128::`"


@settings(code="D034")
class Line:
    """A line of labelmap.txt."""

    name: Name
    colour: Shade


def recognise(root: Path) -> bool:
    """labelmap.txt beside JPEGImages/ and SegmentationClass/."""
    return (root / NAME).is_file() and voc.recognise(root)


def label_folders(root: Path) -> list[Path]:
    """As of VOC."""
    return voc.label_folders(root)


def open_layout(listing: Listing) -> DataSet:
    """The data set, with lists and partners as of VOC."""
    return voc.open_with(listing, "cvat", classes(listing.root), f"{NAME} beside ")


def classes(root: Path) -> ClassMap:
    """Those of labelmap.txt.

    Raises:
        DataError: D034 it is malformed.
    """
    return parsed(root / NAME, _class_map, FORM)


def _class_map(content: bytes) -> ClassMap:
    rows = [line.strip().split(":") for line in decoded(content).splitlines() if line.strip()]
    rows = [row for row in rows if not row[0].startswith("#")]
    short = [":".join(row) for row in rows if len(row) < 2]
    refuse(*(f"`{line}` has no colour" for line in short))
    lines = [read(Line, {"name": row[0], "colour": row[1]}) for row in rows]
    refuse(not lines and "no line in it names a class")
    colours = [line.colour for line in lines]
    refuse(*(f"two classes of colour {c}" for i, c in enumerate(colours) if c in colours[:i]))
    named = {line.colour: line.name for line in lines if line.name.lower() not in VOIDS}
    names, ids = class_ids(named, [c for c in colours if c not in named])
    first = {name: colour for colour, name in reversed(list(named.items()))}
    return ClassMap(names, tuple(first[name] for name in names), colours=ids)
