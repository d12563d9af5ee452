"""Labels that are outlines by class name, and what their formats share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.class_files import VOIDS
from pixelwise.data.classes import ClassMap, numbered
from pixelwise.errors import DataError, first_few
from pixelwise.labels import VOID
from pixelwise.pictures.outlines import Outline, Point, paint, points_of
from pixelwise.settings import parse_json

BACKGROUNDS = ("_background_", "background", "__background__")
MAX_JSON = 2**30
"""Bytes; COCO's train2017 has 470 million."""
Shapes = Callable[[], tuple[tuple[int, int], Sequence[tuple[str, Outline]]]]


@dataclass(frozen=True, eq=False)
class Outlines:
    """Objects in a JSON file; each is painted over those that stand before it."""

    path: Path
    shapes: Shapes
    """Gives (height, width) and the outlines with their names; raises ValueError or DataError."""

    @property
    def files(self) -> tuple[Path, ...]:
        """The JSON file, which may be that of other pictures too."""
        return (self.path,)

    def read(self, class_map: ClassMap) -> NDArray[np.uint8]:
        """As ``LabelSource.read``; pixels outside every outline are the background."""
        try:
            size, shapes = self.shapes()
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            raise malformed(self.path, str(error)) from error
        ids = {name: i for i, name in enumerate(class_map.classes)}
        strange = sorted({n for n, _ in shapes if n not in ids and n.lower() not in VOIDS})
        if strange and class_map.others != VOID:
            what = f"{self.path}: {first_few([f'`{n}`' for n in strange])} names no class"
            expected = f"; expected {first_few(list(ids), 8)}"
            raise DataError("D012", what + expected, "add it to classes.txt, or correct the label")
        background = next((ids[b] for b in BACKGROUNDS if b in ids), VOID)
        drawn = (replace(outline, value=ids.get(name, VOID)) for name, outline in shapes)
        return paint(size, drawn, background)


def classes_of(names: Iterable[str], own: ClassMap | None) -> tuple[ClassMap, str]:
    """The folder's own classes, or these names with the background first; and what was decided."""
    if own:
        known = own.classes
        outside = next((b for b in BACKGROUNDS if b in known), "")
    else:
        listed = [n for n in dict.fromkeys(names) if n.lower() not in VOIDS]
        outside = next((n for n in listed if n in BACKGROUNDS), "background")
        known = (outside, *(n for n in listed if n != outside))
    rest = f"class `{outside}`" if outside else "void, as no class is called background"
    note = f"pixels outside all outlines are {rest}; where outlines overlap, the later one counts"
    return own or numbered(known), note


def json_files(folder: Path, keys: Sequence[bytes]) -> list[Path]:
    """The JSON files of a folder in which these keys occur, by name."""
    paths = (p for p in folder.glob("*.json") if not p.name.startswith("."))
    return sorted(p for p in paths if p.is_file() and _holds(p, keys))


def _holds(path: Path, keys: Sequence[bytes]) -> bool:
    large = path.stat().st_size > MAX_JSON
    with path.open("rb") as f:
        content = f.read(2**20 if large else -1)
    if large and any(b'"' + key + b'"' in content for key in keys):
        what = f"{path}: more than {MAX_JSON >> 30} GiB of JSON, the limit of a file"
        raise DataError("D022", what, "split it into several, or move it away")
    return not large and all(b'"' + key + b'"' in content for key in keys)


def object_in(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file.

    Raises:
        DataError: D034 it is none.
    """
    try:
        data = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise malformed(path, str(error)) from error
    if not isinstance(data, dict):
        raise malformed(path, "no JSON object")
    return data


def size_in(data: Mapping[str, Any], height: str, width: str) -> tuple[int, int]:
    """(height, width) by their keys.

    Raises:
        ValueError: no whole numbers from 1 to 65,535.
    """
    size = data.get(height), data.get(width)
    for value in size:
        if type(value) is not int or not 0 < value < 2**16:
            raise ValueError(f"{height} and {width} are {size}, expected whole numbers of pixels")
    return size  # type: ignore[return-value]


def ring_of(flat: object) -> tuple[Point, ...]:
    """``[x, y, x, y, ...]`` as the points of a polygon.

    Raises:
        ValueError: it is something else, or too little.
    """
    numbers = flat if isinstance(flat, list) else []
    if len(numbers) % 2:
        raise ValueError("a ring of an odd number of coordinates")
    return points_of([numbers[i : i + 2] for i in range(0, len(numbers), 2)])


def malformed(path: Path, what: str) -> DataError:
    """D034 of a JSON file."""
    return DataError("D034", f"{path}: {what}", "export it again from the labelling tool")


def beside(root: Path, place: Path, name: object) -> Path | None:
    """The file that ``name`` means, as seen from a folder; None if it leads out of ``root``."""
    if not isinstance(name, str):
        return None
    path = place / name.replace("\\", "/")
    return path if path.resolve().is_relative_to(root.resolve()) else None
