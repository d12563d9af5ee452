"""From the numbers (or colours) in label files to classes; what names no class is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.doubts import Doubts
from pixelwise.errors import DataError, first_few, raise_all
from pixelwise.labels import VOID, Labels, colours_for, default_names
from pixelwise.pictures.images import read_colours, read_labels

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

    def __post_init__(self) -> None:
        count = len(self.classes)
        if not 1 <= count <= MAX_CLASSES:
            hint = "give rare values one common name in classes.json, or ignore them"
            raise DataError("D034", f"{count:,} classes, expected 1 to {MAX_CLASSES}", hint)
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise DataError("D034", f"class `{twice[0]}` stands there twice", "rename one of them")

    def read(self, path: Path) -> NDArray[np.uint8]:
        """A label map as class ids, (H, W) uint8, 255 void.

        Raises:
            DataError: D012 a value that names no class, with its count and first place; D016
                colours where indices were expected, or an unlisted colour.
        """
        return self._by_colour(path) if self.colours else self.ids(read_labels(path), path)

    def ids(self, raw: Labels, path: Path) -> NDArray[np.uint8]:
        """The numbers of a label map as class ids, 255 void; ``path`` is for messages.

        Raises:
            DataError: D012 a value that names no class, with its count and first place.
        """
        table = np.full(int(raw.max(initial=0)) + 1, -1, np.int16)
        for value, label in self.values.items():
            if value < len(table):
                table[value] = label
        labels = table[raw]
        strange = labels < 0
        if strange.any():
            row, column = (int(i[0]) for i in np.nonzero(strange))
            shown = first_few([str(value) for value in np.unique(raw[strange])])
            raise DataError(
                "D012",
                f"{path}: value {shown} names no class ({int(strange.sum())} px, first at "
                f"x={column} y={row}; expected {_spans(self.values)})",
                "name each such value in classes.json (or dataset.json), or list it there under "
                "`ignore`",
            )
        return labels.astype(np.uint8)

    def _by_colour(self, path: Path) -> NDArray[np.uint8]:
        rgb = read_colours(path).astype(np.uint32)
        packed = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]  # unique is fast on numbers
        rgbs, inverse = np.unique(packed, return_inverse=True)
        colours = [(v >> 16, v >> 8 & 255, v & 255) for v in rgbs.tolist()]
        table = np.array([self.colours.get(colour, -1) for colour in colours], np.int16)
        if (table < 0).any():
            strange = ["({},{},{})".format(*c) for c in colours if c not in self.colours]
            pixels = int((table[inverse] < 0).sum())
            raise DataError(
                "D016",
                f"{path}: {len(strange)} colours name no class ({pixels} px): {first_few(strange)}",
                "list them in classes.json; many of them at edges mean an antialiased mask",
            )
        return table[inverse].reshape(packed.shape).astype(np.uint8)


def numbered(
    names: Sequence[str], palette: Sequence[Colour] = (), *, void: Sequence[int] = (VOID,)
) -> ClassMap:
    """Classes stored as 0, 1, 2, ...; the values in ``void`` count for nothing."""
    values = {i: i for i in range(len(names))} | dict.fromkeys(void, VOID)
    return ClassMap(tuple(names), colours_for(len(names), palette), values)


def found_in(paths: Sequence[Path], root: Path) -> tuple[ClassMap, str]:
    """Classes from the values that occur, where nothing describes them.

    Values from 0 to K-1 (and 255 as void) are taken for K classes, also where some do not occur.
    0 and one value beyond 1 are refused, because two readings are possible: a mask's mark (or void,
    if it is 255), or the number of a class.

    Returns:
        The map, and a sentence on what was concluded.

    Raises:
        DataError: label maps that cannot be read, all of them; D012 two readings, those of
            ``Doubts`` too.
    """
    values: set[int] = set()
    problems, doubts = [], Doubts(root)
    for path in paths:
        try:
            labels = read_labels(path)
        except DataError as error:
            problems.append(error)
            continue
        values.update(np.unique(labels).tolist())
        doubts.look(path, labels)
    raise_all(root, [*problems, *doubts.problems.values()])
    known, held = sorted(values - {VOID}), _spans(values)
    marked = len(known) == 2 and known[0] == 0 and known[1] > 1
    if values == {0, VOID} or marked or (known and known[-1] >= MAX_CLASSES):
        what = "is 255 a class, or void?" if values == {0, VOID} else "which classes are they?"
        named = first_few([f'"{v}": "name{i}"' for i, v in enumerate(sorted(values))], 4)
        raise DataError(
            "D012",
            f"{root}: the label maps hold the values {held}: {what}",
            f'write {root}/classes.json: {{"classes": {{{named}}}, "ignore": []}}',
        )
    count = (known[-1] if known else 0) + 1
    what = "1 class" if count == 1 else f"{count} classes"
    note = f"{what} concluded from the values {held}"
    if gaps := set(range(count)) - values:
        note += f"; among the labels there is no {_spans(gaps)}"
    return numbered(default_names(count)), note


def _spans(values: Iterable[int]) -> str:
    """0, 1, 2, 7 as ``0..2, 7``."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1][1:] = [value]
        else:
            runs.append([value])
    return first_few(["..".join(map(str, run)) for run in runs], 8)
