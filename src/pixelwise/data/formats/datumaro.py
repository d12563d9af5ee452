"""Datumaro's own format: annotations/<subset>.json and images/, as also CVAT exports it.

Polygons and masks (run lengths) are painted by ``z_order``, then in the order of the file; other
annotations are left out and told. Files named after splits are splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
)
from pixelwise.data.runs import mask_of
from pixelwise.data.sample import Item
from pixelwise.errors import DataError
from pixelwise.pictures.outlines import Outline

KEYS = (b"items", b"categories", b"labels", b"annotations")
PAINTED = ("polygon", "mask")
Row = Mapping[str, Any]


def recognise(root: Path) -> bool:
    """annotations/ with JSON files of ``items`` and ``categories``."""
    return bool(json_files(root / "annotations", KEYS))


def open_layout(listing: Listing) -> DataSet:
    """The data set, of the classes of its first file."""
    by_file: dict[str, dict[str, Item]] = {}
    names: tuple[str, ...] = ()
    others: Counter[str] = Counter()
    for path in json_files(listing.root / "annotations", KEYS):
        try:
            labels, items = _contents(path)
            if names not in ((), labels):
                raise malformed(path, "other classes than the files before it")
            names = labels
            by_file[path.stem] = _items(listing, path, items, names)
            others.update(str(a.get("type")) for i in items for a in i["annotations"])
        except DataError as error:
            listing.problems.append(error)
    left = [f"{n:,} of kind {kind}" for kind, n in others.items() if kind not in PAINTED]
    listing.notes += [f"annotations without area are left out: {', '.join(left)}"] if left else []
    classes, note = classes_of(names, listing.described)
    listing.notes.append(note)
    splits = listing.parts([(SPLITS.get(name, ""), items) for name, items in by_file.items()])
    evidence = f"Datumaro's keys in annotations/ ({', '.join(by_file)})"
    return listing.dataset("datumaro", evidence, classes, splits)


def _contents(path: Path) -> tuple[tuple[str, ...], Sequence[Row]]:
    """Names by number, and the items, each with its annotations and picture."""
    data = object_in(path)
    try:
        names = tuple(str(label["name"]) for label in data["categories"]["label"]["labels"])
        items: list[Row] = data["items"]
        for item in items:
            if not all(isinstance(row, dict) for row in item["annotations"]):
                raise malformed(path, f"an annotation of item {item.get('id')} is no object")
    except (KeyError, TypeError, AttributeError) as error:
        raise malformed(path, f"{error} is missing or of another kind") from error
    return names, items


def _items(
    listing: Listing, path: Path, rows: Sequence[Row], names: tuple[str, ...]
) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for row in rows:
        named, root = (row.get("image") or {}).get("path"), listing.root
        folders = (root / "images" / path.stem, root / "images", root)
        places = (beside(root, folder, named) for folder in folders)
        picture = next((p for p in places if p and p.is_file()), None)
        if picture is None:
            what = f"{path}: there is no picture {named}"
            hint = f"put the pictures into images/{path.stem}/"
            listing.problems.append(DataError("D031", what, hint))
            continue
        labels = Outlines(path, partial(_shapes, row, names))
        name = listing.name_of(picture)
        items[name] = Item(name, {listing.input: picture}, {listing.head: labels})
    return items


def _shapes(row: Row, names: Sequence[str]) -> tuple[tuple[int, int], list[tuple[str, Outline]]]:
    size = row["image"].get("size")
    if not isinstance(size, list) or [type(n) for n in size] != [int, int] or min(size) < 1:
        raise ValueError(f"the size of item {row.get('id')} is {size}, expected [height, width]")
    return (size[0], size[1]), list(_outlines(row, (size[0], size[1]), names))


def _outlines(
    row: Row, size: tuple[int, int], names: Sequence[str]
) -> Iterator[tuple[str, Outline]]:
    painted = [a for a in row["annotations"] if a.get("type") in PAINTED]
    for annotation in sorted(painted, key=lambda a: a.get("z_order") or 0):
        label = annotation.get("label_id")
        if type(label) is not int or not 0 <= label < len(names):
            raise ValueError(f"item {row.get('id')}: label_id {label} is no class that is listed")
        if annotation["type"] == "mask":
            mask = mask_of(annotation.get("rle") or {}, size)
            yield names[label], Outline("mask", 0, ((0, 0),), mask)
        else:
            yield names[label], Outline("polygon", 0, ring_of(annotation.get("points")))
