"""From the numbers (or colours) in label files to classes; what names no class is an error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data import measured
from pixelwise.data.doubts import Doubts, answer
from pixelwise.data.label_files import read_numbers
from pixelwise.errors import DataError, first_few, raise_all
from pixelwise.labels import VOID, Labels, colours_for, default_names
from pixelwise.nets.kinds import CLASSES, Kind
from pixelwise.pictures.images import read_colours

Colour = tuple[int, int, int]
MAX_CLASSES = 255  # ids 0..254; 255 is void
NEAREST = -1
"""In ``ClassMap.others``: a value is taken for the nearest one that is listed."""
SPREAD = 8
"""One value in so many of 0 to the largest: levels chosen for the eye (0, 127, 254), not numbers of
classes, of which a small part of VOC or ADE20K still holds more."""
APART = 16
"""Values that mean one class, below which JPEG's error at edges would make it another."""


@dataclass(frozen=True)
class ClassMap:
    """Class names and colours, and what each raw value stands for; or planes of numbers."""

    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    values: Mapping[int, int] = field(default_factory=dict)
    """Raw value to class id or ``VOID``; what is missing names no class."""
    colours: Mapping[Colour, int] = field(default_factory=dict)
    """For masks in colours: colour to class id or ``VOID``. With ``values`` beside it for those of
    the label maps that do not hold numbers."""
    others: int | None = None
    """What every value or colour is that does not stand there: a class id, ``VOID``, ``NEAREST`` of
    those that do; None: an error."""
    kind: Kind = CLASSES
    """What a net that learns them gives."""

    def __post_init__(self) -> None:
        count = len(self.classes)
        if not 1 <= count <= MAX_CLASSES:
            hint = "give rare values one common name in classes.json, or ignore them"
            raise DataError("D034", f"{count:,} classes, expected 1 to {MAX_CLASSES}", hint)
        twice = [name for name in self.classes if self.classes.count(name) > 1]
        if twice:
            raise DataError("D034", f"class `{twice[0]}` stands there twice", "rename one of them")

    def read(self, path: Path) -> NDArray[Any]:
        """A label map as class ids, (H, W) uint8, 255 void; of numbers (H, W, P) float32.

        Raises:
            DataError: D012 a value that names no class, with its count and first place; D016
                colours where indices were expected, or an unlisted colour; D017 lossy compression,
                where its errors could make one class another.
        """
        if self.kind.measured:
            return measured.read_numbers(path, self.kind, self.classes)
        return self._read(path)[0]

    def moved(self, path: Path) -> int:
        """Pixels of a label map that are not listed, and are what ``others`` says; else as read."""
        return int(self._read(path)[1].sum())

    def _read(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Class ids, and where the label map holds what is not listed."""
        if not self.values:
            return self._by_colour(path)
        try:
            raw = read_numbers(path, lossy=self._takes_lossy)
        except DataError as error:
            grey = error.code == "D017" and not _is_coloured(path)  # blurred numbers, no colours
            if error.code not in ("D016", "D017") or grey or not self.colours:
                raise
            return self._by_colour(path)
        listed = np.zeros(int(raw.max(initial=0)) + 1, bool)
        listed[[value for value in self.values if value < len(listed)]] = True
        return self.ids(raw, path), ~listed[raw]

    @property
    def _takes_lossy(self) -> bool:
        """Whether every value means something, and none near it anything else."""
        table = self._table(256)
        ends = [0, *np.flatnonzero(np.diff(table)) + 1, 256]
        return bool((table >= 0).all() and np.diff(ends).min() >= APART)

    def _table(self, length: int) -> NDArray[np.int16]:
        """(length,) class ids of the values 0, 1, ...; -1 for what names no class."""
        others = -1 if self.others is None else self.others
        table = np.full(length, others, np.int16)
        known = np.array(sorted(self.values), np.int64)
        ids = np.array([self.values[value] for value in known.tolist()], np.int16)
        if others == NEAREST and self.others is not None:
            return ids[np.searchsorted((known[1:] + known[:-1]) / 2, np.arange(length))]
        table[known[known < length]] = ids[known < length]
        return table

    def ids(self, raw: Labels, path: Path) -> NDArray[np.uint8]:
        """The numbers of a label map as class ids, 255 void; ``path`` is for messages.

        Raises:
            DataError: D012 a value that names no class, with its count and first place.
        """
        labels = self._table(int(raw.max(initial=0)) + 1)[raw]
        strange = labels < 0
        if strange.any():
            row, column = (int(i[0]) for i in np.nonzero(strange))
            shown = first_few([str(value) for value in np.unique(raw[strange])])
            raise DataError(
                "D012",
                f"{path}: value {shown} names no class ({int(strange.sum())} px, first at "
                f"x={column} y={row}; expected {_spans(self.values)})",
                'name each such value in classes.json (or dataset.json); --values "*=void" leaves '
                "all of them out",
            )
        return labels.astype(np.uint8)

    def _by_colour(self, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        near = self.others == NEAREST
        rgb = read_colours(path, lossy=near).astype(np.uint32)
        packed = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]  # unique is fast on numbers
        rgbs, inverse = np.unique(packed, return_inverse=True)
        colours = [(v >> 16, v >> 8 & 255, v & 255) for v in rgbs.tolist()]
        table = np.array([self.colours.get(colour, -1) for colour in colours], np.int16)
        unlisted = table < 0
        if self.others is not None and unlisted.any():
            table[unlisted] = self._nearest(np.array(colours)[unlisted]) if near else self.others
        if (table < 0).any():
            strange = ["({},{},{})".format(*c) for c in colours if c not in self.colours]
            pixels = int((table[inverse] < 0).sum())
            raise DataError(
                "D016",
                f"{path}: {len(strange)} colours name no class ({pixels} px): {first_few(strange)}",
                'list them in classes.json; --values "*=nearest" takes each for the nearest colour '
                "that is listed (many of them at edges mean an antialiased mask)",
            )
        shape = packed.shape
        return table[inverse].reshape(shape).astype(np.uint8), unlisted[inverse].reshape(shape)

    def _nearest(self, colours: NDArray[np.int64]) -> NDArray[np.int64]:
        """(N,) class ids of the listed colours that are nearest to these (N, 3), in RGB."""
        best, ids = np.full(len(colours), np.inf), np.zeros(len(colours), np.int64)
        for listed, label in self.colours.items():  # one at a time: a JPEG has many colours
            distance = ((colours - np.array(listed)) ** 2).sum(1)
            nearer = distance < best
            ids[nearer], best[nearer] = label, distance[nearer]
        return ids


def _is_coloured(path: Path) -> bool:
    return bool(np.ptp(read_colours(path, lossy=True), axis=2).max() >= APART)


def numbered(
    names: Sequence[str], palette: Sequence[Colour] = (), *, void: Sequence[int] = (VOID,)
) -> ClassMap:
    """Classes stored as 0, 1, 2, ...; the values in ``void`` count for nothing."""
    values = {i: i for i in range(len(names))} | dict.fromkeys(void, VOID)
    return ClassMap(tuple(names), colours_for(len(names), palette), values)


def found_in(paths: Sequence[Path], root: Path) -> tuple[ClassMap, str, list[DataError]]:
    """Classes from the values that occur, where nothing describes them.

    Values from 0 to K-1 (and 255 as void) are taken for K classes, also where some do not occur.
    0 and one value beyond 1 are refused, because two readings are possible: a mask's mark (or void,
    if it is 255), or the number of a class. So are values of which 0 to K-1 lacks nearly all.

    Returns:
        The map, a sentence on what was concluded, and why label maps cannot be read.

    Raises:
        DataError: D012 two readings, those of ``Doubts`` too, with the label maps that cannot be
            read; these alone if no other is left.
    """
    values: set[int] = set()
    problems, doubts = [], Doubts(root)
    for path in paths:
        try:
            values |= doubts.look(path)
        except DataError as error:
            problems.append(error)
    if doubts.problems or not values:
        raise_all(root, [*problems, *doubts.problems])
    known, held = sorted(values - {VOID}), _spans(values)
    marked = len(known) == 2 and known[0] == 0 and known[1] > 1
    spread = len(known) > 1 and len(known) * SPREAD <= known[-1]
    if values == {0, VOID} or marked or spread or (known and known[-1] >= MAX_CLASSES):
        what = "is 255 a class, or void?" if values == {0, VOID} else "which classes are they?"
        classes = known if len(known) > 1 else sorted(values)
        names = ["background", "object"] if len(classes) == 2 else default_names(len(classes))
        said = [f"{v}={name}" for v, name in zip(classes, names, strict=True)][:MAX_CLASSES]
        said += [f"{VOID}=void"] if VOID in values - {*classes} else []
        hint = answer(root, ",".join(said))
        raise DataError("D012", f"{root}: the label maps hold the values {held}: {what}", hint)
    count = (known[-1] if known else 0) + 1
    what = "1 class" if count == 1 else f"{count} classes"
    note = f"{what} concluded from the values {held}"
    if gaps := set(range(count)) - values:
        note += f"; among the labels there is no {_spans(gaps)}"
    return numbered(default_names(count)), note, problems


def _spans(values: Iterable[int]) -> str:
    """0, 1, 2, 7 as ``0..2, 7``."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1][1:] = [value]
        else:
            runs.append([value])
    return first_few(["..".join(map(str, run)) for run in runs], 8)
