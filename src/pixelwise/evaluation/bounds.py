"""Appendix A on a folder of label maps: the mean IU that each stride allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise.data.formats.layouts import described_classes, label_folder, layout_classes
from pixelwise.data.listing import by_stem, known_name, pictures
from pixelwise.errors import DataError, raise_all
from pixelwise.labels import VOID
from pixelwise.metrics.boundaries import Boundaries, boundaries
from pixelwise.metrics.bounds import DEFAULT, FACTORS, bound, convention, count, restored
from pixelwise.pictures.images import read_labels

_BY_FACTOR = ("bounds", "boundary")


@dataclass(frozen=True)
class Bounds:
    """Upper bounds on mean IU."""

    bounds: dict[int, float]
    """By factor, in the order asked for."""
    boundary: dict[int, float]
    """Boundary IU that the same maps have, by factor: what a bound on mean IU hides."""
    convention: str
    images: int

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        by_name = {key: {str(f): v for f, v in vars(self)[key].items()} for key in _BY_FACTOR}
        return {**vars(self), **by_name}


def label_maps(data: Path, stems: Sequence[str] | None = None) -> dict[str, Path]:
    """The label maps of a folder, or of a data set, by stem; of a list those that it names.

    Raises:
        DataError: D010 none; D030 two of one stem; D031 listed ones that are not there.
    """
    if not data.exists():
        raise DataError("D010", f"{data}: no such folder", "check the path")
    folder = label_folder(data)
    problems: list[DataError] = []
    maps = by_stem(pictures(folder), problems)
    if stems is not None:
        wanted = dict.fromkeys(known_name(stem, maps) for stem in stems)
        missing = [stem for stem in wanted if stem not in maps]
        what = "is listed and has no label map in"
        problems += [
            DataError("D031", f"{stem} {what} {folder}", "remove the line, or add the file")
            for stem in missing
        ]
        maps = {stem: maps[stem] for stem in wanted if stem in maps}
    raise_all(folder, problems)
    if not maps:
        hint = "name the folder right in which they lie, .png files of numbers: of one split, say"
        raise DataError("D010", f"{folder} holds no label map", hint)
    return maps


def bounds(
    data: Path,
    *,
    stems: Sequence[str] | None = None,
    factors: Sequence[int] = FACTORS,
    way: str = DEFAULT,
    advance: Callable[[], object] = lambda: None,
) -> Bounds:
    """Make the label maps coarse and fine again, and score them against themselves.

    What their values mean is read as ``score_folders`` reads it; a bare folder holds class numbers.

    Args:
        data: a folder of label maps, or a data set.
        stems: names of those to take; by default all.
        factors: sides of a cell in pixels.
        way: name in ``metrics.bounds.CONVENTIONS``.
        advance: called after each map.

    Raises:
        DataError: what ``label_maps`` finds, and every map that cannot be read.
        UsageError: U001 no such convention, U002 a factor below 1.
    """
    resampling = convention(way)
    maps = label_maps(data, stems)
    folder = label_folder(data)
    class_map = described_classes(folder) or layout_classes(folder)
    counts = {factor: np.zeros((256, 256), np.int64) for factor in factors}
    edges: dict[int, Boundaries] = {}
    problems = []
    for path in maps.values():
        try:
            truth = class_map.read(path) if class_map else _numbers(path)
        except DataError as error:
            problems.append(error)
            continue
        for factor in factors:
            coarse = restored(truth, factor, resampling)
            counts[factor] += count(truth, coarse)
            near = boundaries(truth, coarse, 256, lossy=True)
            edges[factor] = edges[factor] + near if factor in edges else near
        advance()
    raise_all(folder, problems)
    if not any(table.any() for table in counts.values()):
        message = f"{folder}: every pixel is void ({VOID}), expected labels"
        raise DataError("D032", message, "give the folder of label maps")
    boundary = {f: near.boundary_iu for f, near in edges.items()}
    return Bounds({f: bound(table) for f, table in counts.items()}, boundary, way, len(maps))


def _numbers(path: Path) -> Any:
    values = read_labels(path)
    if values.max(initial=0) > VOID:
        message = f"{path}: the value {int(values.max())} names no class, expected at most {VOID}"
        raise DataError("D012", message, "give label maps of up to 255 classes")
    return values.astype(np.uint8)
