"""One mask for each object: ID/images/ID.png beside ID/masks/*.png (Data Science Bowl 2018).

What no mask covers is background, what one covers is object. Folders called as stages or splits
(``stage1_train/``, ``train/``) around the IDs are splits, where labelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassMap, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.folder import SPLITS
from pixelwise.data.listing import Listing, pictures
from pixelwise.data.sample import Item
from pixelwise.errors import DataError
from pixelwise.pictures.bands import refuse_other_size
from pixelwise.pictures.images import read_labels


@dataclass(frozen=True)
class ObjectMasks:
    """A mask in each file; what any of them sets is class 1, all else class 0."""

    files: tuple[Path, ...]

    def read(self, class_map: ClassMap) -> NDArray[np.uint8]:
        """As ``LabelSource.read``; D013 masks of two sizes."""
        union = read_labels(self.files[0]) > 0
        for path in self.files[1:]:
            mask = read_labels(path) > 0
            refuse_other_size(mask.shape, path, union.shape, self.files[0])
            union |= mask
        return class_map.ids(union.astype(np.uint8), self.files[0])


def recognise(root: Path) -> bool:
    """Folders with images/ and masks/ in each, here or in the folder of a split."""
    return bool(_parts(root))


def open_layout(listing: Listing) -> DataSet:
    """The data set, of two classes that ``classes.txt`` may name."""
    root = listing.root
    parts = {s: _items(listing, folders) for s, folders in _parts(root).items()}
    masks = sum(len(s.files) for part in parts.values() for i in part for s in i.labels.values())
    listing.notes.append(f"{masks:,} masks of objects are joined: background and object")
    splits = parts if "" not in parts else _drawn(listing, parts[""])
    classes = listing.described or numbered(("background", "object"))
    if len(classes.classes) != 2:
        what = f"{root}: {len(classes.classes)} classes, expected 2: background and object"
        listing.problems.append(DataError("D034", what, "correct classes.txt"))
    return listing.dataset("objects", "images/ and masks/ in each folder", classes, splits)


def _drawn(listing: Listing, items: tuple[Item, ...]) -> dict[str, tuple[Item, ...]]:
    return dict(listing.splits(listing.root / "splits", {item.name: item for item in items}))


def _parts(root: Path) -> dict[str, list[Path]]:
    """Split to the folders of its pictures; the split has no name where they lie in the root."""
    inside = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if any(_is_whole(folder) for folder in inside) and not _named(inside):
        return {"": [folder for folder in inside if (folder / "images").is_dir()]}
    parts = {split: sorted(p for p in f.iterdir() if p.is_dir()) for split, f in _named(inside)}
    return parts if any(_is_whole(f) for folders in parts.values() for f in folders) else {}


def _named(folders: list[Path]) -> list[tuple[str, Path]]:
    known = ((SPLITS.get(f.name.lower().rpartition("_")[2]), f) for f in folders)
    return [(split, folder) for split, folder in known if split]


def _is_whole(folder: Path) -> bool:
    return (folder / "masks").is_dir() and len(pictures(folder / "images")) == 1


def _items(listing: Listing, folders: list[Path]) -> tuple[Item, ...]:
    items = []
    for folder in folders:
        images, masks = pictures(folder / "images"), tuple(pictures(folder / "masks"))
        if len(images) != 1:
            what = f"{folder}/images holds {len(images)} pictures, expected one"
            listing.problems.append(DataError("D031", what, "add it, or move the others away"))
            continue
        labels = {listing.head: ObjectMasks(masks)} if masks else {}
        items.append(Item(folder.name, {listing.input: images[0]}, labels))
    return tuple(items)
