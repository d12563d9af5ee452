"""What the values of label maps are besides classes, where no file says it: told, not guessed.

Antialiased masks, numbers of objects, palettes in which a colour has two numbers. Each is a D012
with the line of ``classes.json`` that decides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.labels import Labels
from pixelwise.pictures.images import palette_in

MANY = 8
"""Values in one map, from which on edges or objects may have made them."""
LEVEL = 0.05
"""Share of a map from which on a value is a level and not of an edge."""
COMPACT = 1.3
"""Runs a row that an object has at most; of classes spread over a map there are more."""


@dataclass
class Doubts:
    """Told by label maps as they are read; one of a kind is enough."""

    root: Path
    problems: dict[str, DataError] = field(default_factory=dict)
    _places: dict[tuple[int, ...], tuple[int, Path]] = field(default_factory=dict)
    """Colour to its number, and where it has that."""

    def look(self, path: Path, labels: Labels) -> None:
        """At one label map."""
        values, counts = np.unique(labels, return_counts=True)
        self._look_at_palette(path, values)
        if len(values) < MANY:
            return
        levels = values[counts >= LEVEL * labels.size]
        if 0 < len(levels) <= 4 and _is_of_edges(labels, levels):
            self._add_levels(path, labels, levels)
        elif _are_objects(labels):
            self._add("objects", _objects_told(path, len(values)), _cut(1))

    def _look_at_palette(self, path: Path, values: NDArray[Any]) -> None:
        palette = palette_in(path)
        if palette is None:
            return
        shades = [tuple(shade) for shade in palette.tolist()]
        # A palette may be filled up with black, which is then no class's own.
        used = [(shades[v], v) for v in values.tolist() if v < len(shades)]
        used = [(shade, v) for shade, v in used if shades.count(shade) == 1]
        for colour, value in used:
            first, where = self._places.setdefault(colour, (value, path))
            if first != value and where != path:
                shade = "{},{},{}".format(*colour)
                what = f"colour ({shade}) is {first} in {where} and {value} in {path}"
                named = ", ".join(
                    f'"{",".join(map(str, c))}": "name{i}"' for i, c in enumerate(self._places)
                )
                hint = f'{{"colours": {{{named}}}}} if the colours are right'
                self._add("palettes", f"{what}: are colours meant, or numbers?", hint)

    def _add_levels(self, path: Path, labels: Labels, levels: NDArray[Any]) -> None:
        shares = ", ".join(f"{v} ({(labels == v).mean():.0%})" for v in levels.tolist())
        what = (
            f"{path}: {len(np.unique(labels))} values, of which {shares} are levels and the others "
            "lie at edges, as in an antialiased mask; expected one number for each class"
        )
        self._add("levels", what, _cut((int(levels[0]) + int(labels.max()) + 1) // 2))

    def _add(self, kind: str, what: str, hint: str) -> None:
        at = f"{self.root}/classes.json"
        hint = f"write {at}: {hint}; what the numbers are is said there alone"
        self.problems.setdefault(kind, DataError("D012", what, hint))


def _cut(value: int) -> str:
    """The two ranges below and from a value on, as ``classes.json`` has them."""
    low = f"0..{value - 1}" if value > 1 else "0"
    return f'{{"classes": {{"{low}": "background", "{value}..65535": "object"}}, "ignore": []}}'


def _objects_told(path: Path, count: int) -> str:
    return (
        f"{path}: {count} values, each on one piece of the map: numbers of objects, or classes? "
        "(of classes, name them in classes.txt)"
    )


def _is_of_edges(labels: Labels, levels: NDArray[Any]) -> bool:
    """Most of what is no level has no neighbour of its own value: areas of a class have."""
    alone = np.ones(labels.shape, bool)
    down, along = labels[1:] == labels[:-1], labels[:, 1:] == labels[:, :-1]
    alone[1:] &= ~down
    alone[:-1] &= ~down
    alone[:, 1:] &= ~along
    alone[:, :-1] &= ~along
    off = ~np.isin(labels, levels)
    return bool(off.any() and 2 * (off & alone).sum() > off.sum())


def _are_objects(labels: Labels) -> bool:
    """Nearly every value but 0 fills one piece: few runs in each of its rows, and no gap."""
    starts = np.ones(labels.shape, bool)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    rows = np.nonzero(starts)[0]
    values = labels[starts].astype(np.int64)
    runs = np.bincount(values)
    pairs = np.unique(values * labels.shape[0] + rows)  # a value and a row that has it
    of, row = np.divmod(pairs, labels.shape[0])
    known = np.bincount(of, minlength=len(runs))
    first, last = np.full(len(runs), labels.shape[0]), np.full(len(runs), -1)
    np.minimum.at(first, of, row)
    np.maximum.at(last, of, row)
    whole = (runs <= COMPACT * known) & (last - first + 1 == known)
    seen = known[1:] > 0
    return bool(seen.sum() >= MANY and whole[1:][seen].mean() >= 0.9)
