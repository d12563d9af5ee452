"""PASCAL VOC: JPEGImages/, SegmentationClass/ (palette PNG, 255 void), ImageSets/Segmentation/.

SegmentationClassAug/ may lie beside it, with the further label maps of SBD. A picture's label map
is that of the first folder that has one, unless a list names another in its second column.

Many tools write these folders for classes of their own. PASCAL's names are taken where the evidence
says PASCAL: its file names, or its palette and all of its 21 values.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from pixelwise.data.class_files import described
from pixelwise.data.classes import ClassMap, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats import folder
from pixelwise.data.listing import Listing, lists_in, pictures
from pixelwise.errors import DataError
from pixelwise.labels import VOC_CLASSES, VOID, voc_palette
from pixelwise.pictures.images import palette_in, read_labels

LABEL_FOLDERS = ("SegmentationClass", "SegmentationClassPNG", "SegmentationClassAug")
PASCAL_NAME = re.compile(r"20[01]\d_\d{6}")  # 2007_000032: year and number of VOC 2007 to 2012


def recognise(root: Path) -> bool:
    """JPEGImages/ beside a SegmentationClass/."""
    return (root / "JPEGImages").is_dir() and bool(label_folders(root))


def label_folders(root: Path) -> list[Path]:
    """The label folders with pictures in them."""
    return [folder for name in LABEL_FOLDERS if pictures(folder := root / name)]


def open_layout(listing: Listing) -> DataSet:
    """The data set. With lists only the listed pictures need labels (VOC has many without)."""
    if listing.described:
        return open_with(listing, "voc", listing.described)
    why = pascal(listing.root)
    listing.notes += [f"no class list: the 21 names of PASCAL VOC are meant ({why})"] if why else []
    return open_with(listing, "voc", numbered(VOC_CLASSES) if why else None)


def open_with(listing: Listing, layout: str, own: ClassMap | None, found: str = "") -> DataSet:
    """VOC's folders and lists with such classes, else with those that the label maps hold.

    ``found`` begins the evidence.
    """
    root, labels = listing.root, label_folders(listing.root)
    lists = root / "ImageSets" / "Segmentation"
    items = listing.pairs(root / "JPEGImages", *labels, strays=bool(lists_in(lists)))
    splits = listing.splits(lists, items)
    classes = own or folder.classes_of_folder(listing, splits)
    evidence = f"{found}folders JPEGImages/ and {labels[0].name}/"
    return listing.dataset(layout, evidence, classes, splits)


def classes(root: Path) -> ClassMap | None:
    """The folder's own, or VOC's 21 where they are meant."""
    return described(root) or (numbered(VOC_CLASSES) if pascal(root) else None)


def pascal(root: Path) -> str:
    """Why a folder without class list is PASCAL's; empty if nothing says so."""
    maps = [path for place in label_folders(root) for path in pictures(place)]
    if 2 * sum(bool(PASCAL_NAME.fullmatch(path.stem)) for path in maps) > len(maps):
        return f"the label maps are called as there: {maps[0].stem}"
    try:
        palettes = (palette_in(path) for path in maps)
        if not all(p is not None and (p[:21] == voc_palette(len(p))[:21]).all() for p in palettes):
            return ""
        values = {int(v) for path in maps for v in np.unique(read_labels(path))}
    except DataError:  # told by whoever reads it
        return ""
    return "its palette, and the values 0 to 20" if values - {VOID} == {*range(21)} else ""
