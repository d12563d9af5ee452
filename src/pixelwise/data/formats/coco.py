"""COCO JSON: pictures, categories and objects in one file for each split.

Objects are painted in the order of the file, the later one over the earlier; the rings of one
object are joined. Polygons go by the rule of ``pictures.outlines``, run lengths by ``data.runs``.
A category called background, or outside all objects, is class 0; the others follow by their ids.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.folder import SPLITS
from pixelwise.data.listing import Listing
from pixelwise.data.outlined import (
    Outlines,
    beside,
    classes_of,
    json_files,
    malformed,
    object_in,
    ring_of,
    size_in,
)
from pixelwise.data.runs import mask_of
from pixelwise.data.sample import Item
from pixelwise.errors import DataError
from pixelwise.folders import is_predictions
from pixelwise.pictures.outlines import Outline

KEYS = (b"images", b"annotations", b"categories", b"segmentation")
PLACES = ("", "images", "JPEGImages", "data")
"""Where pictures lie, seen from the root or from the folder of the JSON file."""


@dataclass(frozen=True)
class Contents:
    """What a JSON file says."""

    path: Path
    images: Sequence[Mapping[str, Any]]
    names: Mapping[int, str]
    """Category to name."""
    objects: Mapping[int, list[Mapping[str, Any]]] = field(default_factory=dict)
    """By picture, in the order of the file."""

    @property
    def split(self) -> str:
        """``instances_train2017.json`` and ``train/_annotations.coco.json`` are of train."""
        words = [self.path.parent.name, *self.path.stem.replace(".", "_").split("_")]
        known = (SPLITS.get(word.lower().rstrip("0123456789")) for word in words)
        return next((split for split in known if split), "")


def recognise(root: Path) -> bool:
    """A JSON file with images, annotations, categories and segmentations."""
    return bool(_files(root))


def open_layout(listing: Listing) -> DataSet:
    """The data set; where no file is named after a split, splits are as of any folder."""
    root, names = listing.root, dict[int, str]()
    by_file: dict[Path, tuple[str, dict[str, Item]]] = {}
    for path in _files(root):
        try:
            _refuse_predictions(path)
            contents = _contents(path)
            clash = [c for c, n in contents.names.items() if names.setdefault(c, n) != n]
            if clash:
                what = f"category {clash[0]} is `{names[clash[0]]}` in another file"
                raise malformed(path, f"{what}, expected one name in all files")
            by_file[path] = contents.split, _items(listing, contents)
        except DataError as error:
            listing.problems.append(error)
    classes, note = classes_of([names[c] for c in sorted(names)], listing.described)
    listing.notes.append(note)
    places = ", ".join(str(path.relative_to(root)) for path in by_file)
    splits = listing.parts([*by_file.values()])
    return listing.dataset("coco", f"COCO's keys in {places}", classes, splits)


def _files(root: Path) -> list[Path]:
    parts = [f for f in root.iterdir() if f.is_dir() and f.name.lower() in SPLITS]
    folders = [root, root / "annotations", *sorted(parts)]
    return [path for folder in folders for path in json_files(folder, KEYS)]


def _refuse_predictions(path: Path) -> None:
    """What ``predict`` wrote beside it are label maps, called as the pictures are: D031."""
    if is_predictions(path.parent):
        what = f"{path}: lies among predictions, where a.png is a label map and no picture"
        raise DataError("D031", what, f"cp {path} PICTURES/ (the folder that was predicted)")


def _contents(path: Path) -> Contents:
    data = object_in(path)
    tables = {key: data.get(key) for key in ("images", "categories", "annotations")}
    for key, table in tables.items():
        if not isinstance(table, list) or not all(isinstance(row, dict) for row in table):
            raise malformed(path, f"`{key}` is no list of objects")
    ids = [("images", "id"), ("categories", "id"), ("annotations", "image_id")]
    for key, name in (*ids, ("annotations", "category_id")):
        if any(type(row.get(name)) is not int for row in tables[key] or ()):
            raise malformed(path, f"`{name}` in `{key}` is missing or no whole number")
    images, categories, annotations = tables.values()
    objects: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    names = {c["id"]: str(c.get("name")) for c in categories or ()}
    for row in annotations or ():
        if row["category_id"] not in names:
            raise malformed(path, f"object {row.get('id')} is of no category that is listed")
        objects[row["image_id"]].append(row)
    return Contents(path, images or (), names, objects)


def _items(listing: Listing, contents: Contents) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for image in contents.images:
        named = image.get("file_name")
        picture = _picture(listing.root, contents.path, named)
        if picture is None:
            what = f"{contents.path}: there is no picture {named}"
            listing.problems.append(DataError("D031", what, "put the pictures into images/"))
            continue
        labels = Outlines(contents.path, partial(_shapes, contents, image))
        name = listing.name_of(picture)
        if name in items:
            what = f"{contents.path}: {picture} stands there twice"
            listing.problems.append(DataError("D030", what, "join the objects of both entries"))
        items[name] = Item(name, {listing.input: picture}, {listing.head: labels})
    return items


def _picture(root: Path, path: Path, named: object) -> Path | None:
    folders = [
        start / place
        for start in (path.parent, root)
        for place in (*PLACES, path.stem.rpartition("_")[2])
    ]
    seen = (beside(root, folder, named) for folder in folders)
    return next((p for p in seen if p and p.is_file()), None)


def _shapes(
    contents: Contents, image: Mapping[str, Any]
) -> tuple[tuple[int, int], list[tuple[str, Outline]]]:
    size = size_in(image, "height", "width")
    rows = contents.objects.get(image["id"], [])
    return size, [
        (contents.names[row["category_id"]], outline)
        for row in rows
        for outline in _outlines(row, size)
    ]


def _outlines(row: Mapping[str, Any], size: tuple[int, int]) -> Iterator[Outline]:
    """Of an object: a polygon for each ring, or the mask of its run lengths."""
    segmentation = row.get("segmentation")
    try:
        if isinstance(segmentation, dict):
            yield Outline("mask", 0, ((0, 0),), mask_of(segmentation, size))
            return
        for ring in segmentation if isinstance(segmentation, list) else [None]:
            yield Outline("polygon", 0, ring_of(ring))
    except ValueError as error:
        raise ValueError(f"object {row.get('id')}: {error}") from error
