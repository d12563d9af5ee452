"""What the values of label maps are besides classes, where no file says it: told, not guessed.

Masks in colours, soft masks (antialiased, or damaged by JPEG), numbers of objects, and palettes in
which a colour has two numbers. Each is asked about, with the ``--values`` that answer.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.label_files import read_numbers
from pixelwise.errors import DataError, first_few
from pixelwise.labels import VOC_CLASSES, Labels, voc_palette
from pixelwise.pictures.images import palette_in, read_colours

MANY = 8
"""Values in one map, from which on edges or objects may have made them."""
LEVEL = 0.05
"""Share of a map from which on a value is a level and not of an edge."""
COMPACT = 1.3
"""Runs a row that an object has at most; of classes spread over a map there are more."""
CLOSE = 24
"""In a band: a value so near to a level of a soft mask is one with it. VOC's colours are 64 apart,
and JPEG of quality 75 errs by less in flat parts."""
RARE = 0.001
"""Share of the flat parts of soft masks below which a colour is no level."""
REMEMBERED = 4096
"""Colours that are counted on; a JPEG has more, each of a few pixels."""
LISTED = 40
"""Colours that one command can state; more are for a file."""

Shade = tuple[int, int, int]


def answer(root: Path, values: str) -> str:
    """The command that answers a question about label maps, as a hint."""
    command = f'pixelwise data inspect {shlex.quote(str(root))} --values "{values}"'
    return f"{command} (with the right names; train, evaluate and the others take --values too)"


@dataclass
class Doubts:
    """Told by label maps as they are read; one of a kind is enough."""

    root: Path
    asked: dict[str, DataError] = field(default_factory=dict)
    _places: dict[Shade, tuple[int, Path]] = field(default_factory=dict)
    """Colour to its number, and where it has that."""
    _shades: Counter[Shade] = field(default_factory=Counter)
    """Colours (or greys) of maps that hold no numbers, by how many pixels of flat parts."""
    _shaded: list[Path] = field(default_factory=list)
    _kinds: set[str] = field(default_factory=set)
    """What these are: ``lossy``, ``soft``, ``colours``."""

    def look(self, path: Path) -> set[int]:
        """At one label map; the numbers in it, if it holds numbers.

        Raises:
            DataError: it cannot be read.
        """
        try:
            labels = read_numbers(path)
        except DataError as error:
            if error.code not in ("D016", "D017"):
                raise
            rgb = read_colours(path, lossy=True, opaque=True)
            self._look_at_shades(path, rgb, {"lossy"} if error.code == "D017" else set())
            return set()
        counts = np.bincount(labels.ravel())
        values = np.flatnonzero(counts)
        counts = counts[values]
        self._look_at_palette(path, values)
        levels = values[counts >= LEVEL * labels.size]
        if len(values) >= MANY and 0 < len(levels) <= 4 and _is_of_edges(labels, levels):
            self._look_at_shades(path, labels[..., None].repeat(3, axis=2), set())
        elif len(values) >= MANY and _are_objects(labels):
            what = (
                f"{path}: {len(values)} values, each on one piece of the map: numbers of objects, "
                "or classes? (of classes, name them in classes.txt)"
            )
            hint = answer(self.root, "0=background,*=object")
            self.asked.setdefault("objects", DataError("D012", what, hint))
        return set(values.tolist())

    @property
    def problems(self) -> tuple[DataError, ...]:
        """What was asked, one of a kind."""
        return (*self.asked.values(), *([self._of_shades()] if self._shaded else []))

    def _look_at_palette(self, path: Path, values: NDArray[Any]) -> None:
        palette = None if path.suffix.lower() == ".mat" else palette_in(path)
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
                what = (
                    f"colour ({shade}) is {first} in {where} and {value} in {path}: are colours "
                    "meant, or numbers?"
                )
                hint = answer(self.root, _stated(self._places, coloured=True))
                self.asked.setdefault("palettes", DataError("D012", what, hint))

    def _look_at_shades(self, path: Path, rgb: NDArray[Any], kinds: set[str]) -> None:
        """At a map that holds no numbers, or none that can be relied on."""
        if np.ptp(rgb, axis=2).max(initial=0) >= CLOSE:
            kinds.add("colours")
        colours, places, counts = _indexed(rgb)
        levels = np.flatnonzero(counts >= LEVEL * places.size)
        if len(colours) >= MANY and len(levels) and _is_of_edges(places, levels):
            kinds.add("soft")
        self._shaded.append(path)
        self._kinds |= kinds
        if kinds & {"lossy", "soft"}:
            counts = np.bincount(places[_flat(places)], minlength=len(colours))
        shades = zip(map(tuple, colours.tolist()), counts.tolist(), strict=True)
        self._shades.update({shade: count for shade, count in shades if count})
        self._shades = Counter(dict(self._shades.most_common(REMEMBERED)))

    def _of_shades(self) -> DataError:
        """The question about maps in colours, and about soft ones."""
        blurred, coloured = self._kinds & {"lossy", "soft"}, "colours" in self._kinds
        levels = _levels(self._shades) if blurred else dict(self._shades.most_common())
        total = max(1, sum(levels.values()))
        shares = [f"{_named(s, coloured)} ({n / total:.0%})" for s, n in levels.items()]
        which = f"{self._shaded[0]}"
        if len(self._shaded) > 1:
            which = f"{self.root}: {len(self._shaded):,} label maps ({self._shaded[0].name}, ...)"
        unit = "colours" if coloured else "values"
        said = _stated(levels, coloured=coloured) + (",*=nearest" if blurred else "")
        hint = answer(self.root, said)
        if len(levels) > LISTED:
            hint = f'list all {len(levels)} in {self.root}/classes.json: {{"colours": {{...}}}}'
        if "lossy" in self._kinds:
            what = f"{which}: stored with lossy compression (JPEG), which changes {unit} at edges"
            what += f"; about these {unit} were drawn: {first_few(shares, 8)}"
            return DataError("D017", what, f"export them again, as PNG; or {hint}")
        if blurred:
            what = (
                f"{which}: {unit} {first_few(shares, 8)} are levels and the others lie at edges, "
                "as in an antialiased mask; expected one number for each class"
            )
            return DataError("D016" if coloured else "D012", what, hint)
        what = f"{which}: in {len(levels)} colours, expected one class index per pixel; which"
        return DataError("D016", f"{what} classes are {first_few(shares, 8)}?", hint)


def _indexed(rgb: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64], NDArray[np.int64]]:
    """Colours (N, 3), for each pixel (H, W) which one it has, and (N,) how many have each."""
    wide = rgb.astype(np.int64)
    packed = wide[..., 0] << 32 | wide[..., 1] << 16 | wide[..., 2]  # unique is fast on numbers
    kinds, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    colours = np.stack([kinds >> 32, kinds >> 16 & 65535, kinds & 65535], axis=1)
    return colours, places.reshape(packed.shape), counts


def _flat(places: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels (H, W) of some square of 2x2 that holds one value: edges have none."""
    same = np.zeros((places.shape[0] + 1, places.shape[1] + 1), bool)
    corner = places[:-1, :-1]
    same[1:-1, 1:-1] = (
        (corner == places[1:, :-1]) & (corner == places[:-1, 1:]) & (corner == places[1:, 1:])
    )
    return same[1:, 1:] | same[:-1, 1:] | same[1:, :-1] | same[:-1, :-1]


def _levels(shades: Counter[Shade]) -> dict[Shade, int]:
    """The commonest colours that are apart, each with the pixels of all that are near to it."""
    least, levels = RARE * shades.total(), dict[Shade, int]()
    for shade, count in shades.most_common():
        near = (s for s in levels if max(abs(a - b) for a, b in zip(s, shade, strict=True)) < CLOSE)
        place = next(near, shade if count >= least else None)
        if place is not None:
            levels[place] = levels.get(place, 0) + count
    return levels


def _named(shade: Shade, coloured: bool) -> str:
    return "#{:02x}{:02x}{:02x}".format(*shade) if coloured else str(shade[0])


def _stated(shades: Iterable[Shade] | Mapping[Shade, Any], *, coloured: bool) -> str:
    """``--values`` for these, with names to be put right; VOC's where all colours are VOC's."""
    ordered = sorted(shades)[:LISTED]
    voc = dict(zip(map(tuple, voc_palette(21).tolist()), VOC_CLASSES, strict=True))
    names = [f"name{i}" for i in range(len(ordered))]
    if coloured and len(ordered) > 2 and all(shade in voc for shade in ordered):
        names = [voc[shade] for shade in ordered]
    elif len(ordered) == 2 and ordered[0] == (0, 0, 0):
        names = ["background", "object"]
    return ",".join(f"{_named(s, coloured)}={n}" for s, n in zip(ordered, names, strict=True))


def _is_of_edges(labels: NDArray[Any], levels: NDArray[Any]) -> bool:
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
