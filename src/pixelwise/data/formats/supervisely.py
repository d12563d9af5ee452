"""Supervisely: meta.json with the classes, and in each data set's folder img/ and ann/a.jpg.json.

Objects are painted in the order of the file, the later one over the earlier; a bitmap is a PNG in
zlib and base64, a polygon may have holes. Folders named after splits are splits.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pixelwise.data.dataset import DataSet, no_partner
from pixelwise.data.formats.folder import SPLITS
from pixelwise.data.listing import Listing
from pixelwise.data.outlined import Outlines, classes_of, json_files, object_in, size_in
from pixelwise.data.sample import Item
from pixelwise.errors import DataError
from pixelwise.pictures.images import read_mask
from pixelwise.pictures.outlines import Outline, points_of

META = "meta.json"
MAX_PNG = 2**28
"""Bytes of a bitmap; 64 million pixels of 32 bits, not compressed."""


def recognise(root: Path) -> bool:
    """meta.json with ``classes``, beside folders with img/ and ann/."""
    files = (path.name for path in json_files(root, (b"classes", b"title")))
    return META in files and bool(_folders(root))


def open_layout(listing: Listing) -> DataSet:
    """The data set, of the classes of meta.json."""
    listed = object_in(listing.root / META).get("classes")
    titles = [str(row.get("title")) for row in listed or () if isinstance(row, dict)]
    classes, note = classes_of(titles, listing.described)
    listing.notes.append(note)
    folders = _folders(listing.root)
    parts = [(SPLITS.get(f.name.lower(), ""), _items(listing, f)) for f in folders]
    splits = listing.parts(parts)
    evidence = f"{META} beside folders with img/ and ann/"
    return listing.dataset("supervisely", evidence, classes, splits)


def _folders(root: Path) -> list[Path]:
    return sorted(p.parent for p in root.glob("*/ann") if (p.parent / "img").is_dir())


def _items(listing: Listing, folder: Path) -> dict[str, Item]:
    items: dict[str, Item] = {}
    for path in sorted((folder / "ann").glob("*.json")):
        picture = folder / "img" / path.stem
        if not picture.is_file():
            listing.problems.append(no_partner(path, f"picture {picture}"))
            continue
        name = listing.name_of(picture)
        labels = Outlines(path, partial(_shapes, path))
        items[name] = Item(name, {listing.input: picture}, {listing.head: labels})
    return items


def _shapes(path: Path) -> tuple[tuple[int, int], list[tuple[str, Outline]]]:
    data = object_in(path)
    size, objects = data.get("size"), data.get("objects")
    if not isinstance(size, dict) or not isinstance(objects, list):
        raise ValueError("`size` or `objects` is missing")
    return size_in(size, "height", "width"), list(_outlines(path, objects))


def _outlines(path: Path, objects: list[Any]) -> Iterator[tuple[str, Outline]]:
    for number, row in enumerate(objects):
        try:
            yield str(row.get("classTitle")), _outline(path, row)
        except DataError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError, zlib.error) as error:
            raise ValueError(f"object {number}: {error}") from error


def _outline(path: Path, row: Mapping[str, Any]) -> Outline:
    kind = row.get("geometryType")
    if kind == "bitmap":
        packed = base64.b64decode(str(row["bitmap"].get("data")), validate=True)
        png = zlib.decompressobj().decompress(packed, MAX_PNG)
        corner = points_of([row["bitmap"].get("origin")], "point")
        return Outline("mask", 0, corner, read_mask(path, png))
    if kind not in ("polygon", "rectangle", "line", "point"):
        raise ValueError(f"geometryType `{kind}`, expected bitmap, polygon, rectangle, line, point")
    points = points_of(row["points"].get("exterior"), kind)
    holes = tuple(points_of(ring) for ring in row["points"].get("interior") or ())
    return Outline(kind, 0, points, holes=holes)
