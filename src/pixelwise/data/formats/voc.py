"""PASCAL VOC: JPEGImages/, SegmentationClass/ (palette PNG, 255 void), ImageSets/Segmentation/."""

from __future__ import annotations

from pathlib import Path

from pixelwise.data import splits
from pixelwise.data.class_files import described
from pixelwise.data.classes import numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import (
    by_stem,
    listed_items,
    lists_in,
    partners,
    pictures,
    read_list,
    without_empty,
)
from pixelwise.data.sample import Item
from pixelwise.errors import DataError
from pixelwise.labels import VOC_CLASSES, voc_palette

LABEL_FOLDERS = ("SegmentationClass", "SegmentationClassPNG", "SegmentationClassAug")


def recognise(root: Path) -> bool:
    """JPEGImages/ beside a SegmentationClass/."""
    return (root / "JPEGImages").is_dir() and _labels(root) is not None


def _labels(root: Path) -> Path | None:
    """The first label folder with pictures in it."""
    found = (root / name for name in LABEL_FOLDERS)
    return next((folder for folder in found if pictures(folder)), None)


def open_layout(root: Path) -> DataSet:
    """The data set. With lists only the listed pictures need labels (VOC has many without)."""
    problems: list[DataError] = []
    labels = _labels(root)
    assert labels is not None, "recognise said so"
    lists = lists_in(root / "ImageSets" / "Segmentation")
    found: dict[str, tuple[Item, ...]] = {}
    if lists:
        left = by_stem(pictures(root / "JPEGImages"), problems)
        right = by_stem(pictures(labels), problems)
        items = {s: Item(s, left[s], right[s]) for s in left.keys() & right.keys()}
        for listing in lists:
            names = read_list(listing, problems)
            found[listing.stem] = listed_items(names, items, listing, problems)
    else:
        pairs = partners(root / "JPEGImages", labels, problems)
        found = splits.drawn(pairs)
    given = without_empty(root, found, problems)
    palette = [(int(r), int(g), int(b)) for r, g, b in voc_palette(21)]
    own = described(root)
    class_map = own or numbered(VOC_CLASSES, palette)
    notes: tuple[str, ...] = () if lists else (splits.told(found),)
    if own is None:
        notes += ("no class list: the 21 names of PASCAL VOC are meant; classes.txt gives others",)
    evidence = f"folders JPEGImages/ and {labels.name}/"
    return DataSet(root, "voc", evidence, class_map, given, notes, not lists, tuple(problems))
