"""SBD as its authors publish it: img/, cls/*.mat, train.txt and val.txt.

``data prepare sbd`` leaves out what VOC's own splits hold; here all of a list is taken.
"""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.classes import numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import Listing
from pixelwise.labels import VOC_CLASSES


def recognise(root: Path) -> bool:
    """img/ beside cls/ with MATLAB files."""
    return (root / "img").is_dir() and any((root / "cls").glob("*.mat"))


def open_layout(listing: Listing) -> DataSet:
    """The data set, of VOC's 21 classes."""
    items = listing.pairs(listing.root / "img", listing.root / "cls")
    splits = listing.splits(listing.root, items)
    classes = listing.described or numbered(VOC_CLASSES)
    return listing.dataset("sbd", "folders img/ and cls/ with .mat files", classes, splits)
