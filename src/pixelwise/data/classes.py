"""From the numbers (or colours) in label files to classes; what names no class is an error.

A folder may describe its label maps in ``classes.json``::

    {"classes": {"0": "membrane", "255": "cell"}, "ignore": []}       raw value to name
    {"colours": {"128,0,0": "roof", "0,0,0": "ground"}, "ignore": ["255,255,255"]}

or just name them, one a line, in ``classes.txt``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.images import read_colours, read_labels
from pixelwise.labels import VOID, distinct_palette, voc_palette

Colour = tuple[int, int, int]
MAX_CLASSES = 255  # ids 0..254; 255 is void


@dataclass(frozen=True)
class ClassMap:
    """Class names and colours, and what each raw value stands for."""

    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    values: Mapping[int, int] = field(default_factory=dict)
    """Raw value to class id or ``VOID``; what is missing names no class."""
    colours: Mapping[Colour, int] = field(default_factory=dict)
    """For masks in colours: colour to class id or ``VOID``; then ``values`` is not used."""

    def read(self, path: Path) -> NDArray[np.uint8]:
        """A label map as class ids.

        Returns:
            (H, W) uint8, 255 void.

        Raises:
            DataError: D012 a value that names no class, with its count and first place; D016
                colours where indices were expected, or an unlisted colour.
        """
        return self._by_colour(path) if self.colours else self._by_value(path)

    def _by_value(self, path: Path) -> NDArray[np.uint8]:
        raw = read_labels(path)
        table = np.full(int(raw.max(initial=0)) + 1, -1, np.int16)
        for value, label in self.values.items():
            if value < len(table):
                table[value] = label
        labels = table[raw]
        if (labels < 0).any():
            raise self._strange(path, raw, labels < 0)
        return labels.astype(np.uint8)

    def _strange(self, path: Path, raw: NDArray[Any], where: NDArray[np.bool_]) -> DataError:
        row, column = (int(i[0]) for i in np.nonzero(where))
        values = np.unique(raw[where])
        shown = ", ".join(str(v) for v in values[:5]) + (", ..." if len(values) > 5 else "")
        known = sorted(self.values)
        span = f"{known[0]}..{known[-1]}" if len(known) > 6 else ", ".join(map(str, known))
        return DataError(
            "D012",
            f"{path}: value {shown} names no class ({int(where.sum())} px, first at "
            f"x={column} y={row}; expected {span})",
            'say what it means in classes.json: {"classes": {"0": "..."}, "ignore": [...]}',
        )

    def _by_colour(self, path: Path) -> NDArray[np.uint8]:
        rgb = read_colours(path).astype(np.uint32)
        packed = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
        found, inverse = np.unique(packed, return_inverse=True)
        ids = [self.colours.get((int(v) >> 16, int(v) >> 8 & 255, int(v) & 255), -1) for v in found]
        table = np.array(ids, np.int16)
        if (table < 0).any():
            strange = [f"({v >> 16},{v >> 8 & 255},{v & 255})" for v in found[table < 0].tolist()]
            pixels = int((table[inverse] < 0).sum())
            raise DataError(
                "D016",
                f"{path}: {len(strange)} colours name no class ({pixels} px): "
                f"{', '.join(strange[:5])}",
                "list them in classes.json; many of them at edges mean an antialiased mask",
            )
        return table[inverse].reshape(packed.shape).astype(np.uint8)


def numbered(
    names: Sequence[str], palette: Sequence[Colour] = (), *, void: Sequence[int] = (VOID,)
) -> ClassMap:
    """Classes stored as 0, 1, 2, ...; the values in ``void`` count for nothing."""
    if len(names) > MAX_CLASSES:
        raise DataError("D034", f"{len(names)} classes; at most {MAX_CLASSES} are supported")
    values = {i: i for i in range(len(names))} | dict.fromkeys(void, VOID)
    return ClassMap(tuple(names), _colours(len(names), palette), values)


def _colours(count: int, palette: Sequence[Colour]) -> tuple[Colour, ...]:
    if len(palette) >= count:
        return tuple((int(r), int(g), int(b)) for r, g, b in palette[:count])
    made = voc_palette(count) if count == 21 else distinct_palette(count)
    return tuple((int(r), int(g), int(b)) for r, g, b in made)


def described(root: Path) -> ClassMap | None:
    """What ``classes.json`` or ``classes.txt`` in a folder says; None without them.

    Raises:
        DataError: D034 the file is malformed, with what was expected.
    """
    path = root / "classes.json"
    if path.is_file():
        return _from_json(path)
    for name in ("classes.txt", "class_names.txt"):
        path = root / name
        if path.is_file():
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
            names = [n for n in lines if n and n.lower() not in ("__ignore__", "_ignore_")]
            return numbered(names)
    return None


def _from_json(path: Path) -> ClassMap:
    try:
        told = json.loads(path.read_text(encoding="utf-8-sig"))
        ignore = told.get("ignore", [])
        if "colours" in told:
            return _coloured(told["colours"], ignore)
        listed = told["classes"]
        if isinstance(listed, list):
            return numbered([str(n) for n in listed], void=[VOID, *map(int, ignore)])
        return _valued({int(k): str(v) for k, v in listed.items()}, [int(v) for v in ignore])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "D034",
            f"{path}: not understood ({type(error).__name__}: {error}); expected "
            '{"classes": {"0": "name", ...}, "ignore": [255]} or {"colours": {"r,g,b": "name"}}',
            "see the documentation of pixelwise.data.classes",
        ) from error


def _valued(listed: Mapping[int, str], ignore: Sequence[int]) -> ClassMap:
    names = tuple(dict.fromkeys(listed.values()))  # two values may share a class
    values = {raw: names.index(name) for raw, name in listed.items()}
    values |= dict.fromkeys(ignore, VOID)
    values.setdefault(VOID, VOID)
    return ClassMap(names, _colours(len(names), ()), values)


def _coloured(listed: Mapping[str, str], ignore: Sequence[str]) -> ClassMap:
    def colour(text: str) -> Colour:
        r, g, b = (int(v) for v in str(text).strip("#() ").split(","))
        return r, g, b

    names = tuple(dict.fromkeys(listed.values()))
    colours = {colour(text): names.index(name) for text, name in listed.items()}
    first: dict[str, Colour] = {}
    for text, name in listed.items():
        first.setdefault(name, colour(text))
    colours |= {colour(text): VOID for text in ignore}
    return ClassMap(names, tuple(first[n] for n in names), colours=colours)


def found_in(paths: Sequence[Path], root: Path) -> tuple[ClassMap, str]:
    """Classes from the values that occur, where nothing describes them.

    Values 0, 1, ..., K-1 (and 255 as void) are taken for K classes; anything else is refused,
    because two readings would be possible.

    Returns:
        The map, and a sentence on what was concluded.
    """
    seen: set[int] = set()
    for path in paths:
        seen.update(np.unique(read_labels(path)).tolist())
    known = sorted(seen - {VOID})
    if seen == {0, VOID} or (known and known[-1] >= MAX_CLASSES):
        raise DataError(
            "D012",
            f"{root}: the label maps hold the values {_listed(sorted(seen))}, which can be read in "
            "more than one way (is 255 a class, or void?)",
            f'write {root}/classes.json: {{"classes": {{"0": "background", "255": "object"}}}}',
        )
    count = (known[-1] if known else 0) + 1
    gaps = [v for v in range(count) if v not in seen]
    note = f"{count} classes concluded from the values {_listed(sorted(seen))}"
    if gaps:
        note += f"; {_listed(gaps)} do not occur"
    return numbered([f"class {i}" for i in range(count)]), note


def _listed(values: Sequence[int]) -> str:
    shown = ", ".join(map(str, values[:12]))
    return shown + (f", ... ({len(values)} values)" if len(values) > 12 else "")
