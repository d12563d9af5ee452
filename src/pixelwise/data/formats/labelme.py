"""Labelme: beside each picture a JSON file with outlines.

Shapes are painted in the order of the file, the later one over the earlier, by labelme's own rule
(``pictures.outlines``). Classes are those of ``labels.txt``, ``classes.txt`` or ``classes.json``,
else the names that occur, by alphabet, after the background. ``__ignore__`` is void.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pixelwise.data.class_files import names_in
from pixelwise.data.dataset import DataSet, no_partner
from pixelwise.data.listing import Listing, pictures
from pixelwise.data.outlined import Outlines, beside, classes_of, json_files, object_in, size_in
from pixelwise.data.sample import Item
from pixelwise.errors import DataError, first_few
from pixelwise.pictures.images import read_mask
from pixelwise.pictures.outlines import NEEDED, Outline, points_of

KEYS = (b"shapes", b"imagePath")


def recognise(root: Path) -> bool:
    """JSON files with ``shapes`` and ``imagePath``."""
    return bool(json_files(root, KEYS))


def open_layout(listing: Listing) -> DataSet:
    """The data set; a picture without a JSON file has no labels."""
    root, items, names = listing.root, dict[str, Item](), set[str]()
    for path in json_files(root, KEYS):
        try:
            data = object_in(path)
            names |= {str(s.get("label")) for s in _listed(data)}
        except ValueError as error:
            known = isinstance(error, DataError)
            listing.problems.append(error if known else DataError("D034", f"{path}: {error}"))  # type: ignore[arg-type]
            continue
        image = _picture(root, path, data.get("imagePath"))
        if image is None:
            listing.problems.append(no_partner(path, f"picture {data.get('imagePath')}"))
            continue
        labels = Outlines(path, partial(_shapes, path))
        items[path.stem] = Item(path.stem, {listing.input: image}, {listing.head: labels})
    taken = {item.image for item in items.values()}
    if alone := [p.name for p in pictures(root) if p not in taken]:
        listing.notes.append(f"{len(alone)} pictures have no JSON file: {first_few(alone)}")
    own = listing.described or names_in(root / "labels.txt")
    classes, note = classes_of(sorted(names), own)
    listing.notes.append(note)
    evidence = f"{len(items)} JSON files with shapes, as labelme writes them"
    splits = listing.splits(root / "splits", items)
    return listing.dataset("labelme", evidence, classes, splits)


def _picture(root: Path, path: Path, named: object) -> Path | None:
    """That of ``imagePath``, or of the JSON file's own name where it was moved."""
    image = beside(root, path.parent, named)
    if image and image.is_file():
        return image
    return next((p for p in pictures(path.parent) if p.stem == path.stem), None)


def _listed(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    shapes = data.get("shapes")
    if not isinstance(shapes, list) or not all(isinstance(s, dict) for s in shapes):
        raise ValueError("`shapes` is no list of shapes")
    return shapes


def _shapes(path: Path) -> tuple[tuple[int, int], list[tuple[str, Outline]]]:
    data = object_in(path)
    size = size_in(data, "imageHeight", "imageWidth")
    return size, list(_outlines(path, data))


def _outlines(path: Path, data: Mapping[str, Any]) -> Iterator[tuple[str, Outline]]:
    for number, shape in enumerate(_listed(data)):
        name, kind = str(shape.get("label")), str(shape.get("shape_type") or "polygon")
        try:
            yield name, _outline(path, shape, kind)
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"shape {number} (`{name}`): {error}") from error


def _outline(path: Path, shape: Mapping[str, Any], kind: str) -> Outline:
    if kind == "mask":  # a PNG in base64, its first corner at the first point
        corner = points_of(shape.get("points"), "point")[:1]
        png = base64.b64decode(str(shape.get("mask")), validate=True)
        return Outline(kind, 0, corner, read_mask(path, png))
    if kind not in NEEDED:
        raise ValueError(f"shape_type `{kind}`, expected {', '.join([*NEEDED, 'mask'])}")
    return Outline(kind, 0, points_of(shape.get("points"), kind))
