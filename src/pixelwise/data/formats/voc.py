"""PASCAL VOC: JPEGImages/, SegmentationClass/ (palette PNG, 255 void), ImageSets/Segmentation/.

SegmentationClassAug/ may lie beside it, with the further label maps of SBD. A picture's label map
is that of the first folder that has one, unless a list names another in its second column.
"""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.class_files import described
from pixelwise.data.classes import ClassMap, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import Listing, lists_in, pictures
from pixelwise.labels import VOC_CLASSES

LABEL_FOLDERS = ("SegmentationClass", "SegmentationClassPNG", "SegmentationClassAug")


def recognise(root: Path) -> bool:
    """JPEGImages/ beside a SegmentationClass/."""
    return (root / "JPEGImages").is_dir() and bool(label_folders(root))


def label_folders(root: Path) -> list[Path]:
    """The label folders with pictures in them."""
    return [folder for name in LABEL_FOLDERS if pictures(folder := root / name)]


def open_layout(root: Path) -> DataSet:
    """The data set. With lists only the listed pictures need labels (VOC has many without)."""
    note = "no class list: the 21 names of PASCAL VOC are meant; classes.txt gives others"
    return open_with(root, "voc", classes(root), "", "" if described(root) else note)


def open_with(root: Path, layout: str, classes: ClassMap, found: str, note: str = "") -> DataSet:
    """VOC's folders and lists with other classes; ``found`` begins the evidence."""
    listing, labels = Listing(root), label_folders(root)
    lists = root / "ImageSets" / "Segmentation"
    items = listing.pairs(root / "JPEGImages", *labels, strays=bool(lists_in(lists)))
    splits = listing.splits(lists, items)
    listing.notes += [note] if note else []
    evidence = f"{found}folders JPEGImages/ and {labels[0].name}/"
    return listing.dataset(layout, evidence, classes, splits)


def classes(root: Path) -> ClassMap:
    """VOC's 21, or the folder's own."""
    return described(root) or numbered(VOC_CLASSES)
