"""Labels that are no classes: numbers in files, and the edges between classes of a label map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.sample import LabelSource
from pixelwise.errors import DataError
from pixelwise.labels import VOID
from pixelwise.nets.kinds import Kind
from pixelwise.pictures.imagefile import file_bytes, opened
from pixelwise.pictures.reading import decode

if TYPE_CHECKING:
    from pixelwise.data.classes import ClassMap


def read_numbers(path: Path, kind: Kind, planes: tuple[str, ...]) -> NDArray[np.float32]:
    """A file of numbers, (H, W, P) float32; NaN where nothing is known.

    Raises:
        DataError: D018 another number of planes, and what ``pictures.reading`` raises.
    """
    data = file_bytes(path)
    with opened(data, path) as (image, _):  # NaN is refused in pictures, and void in labels
        raw = np.asarray(image)[..., None] if image.mode == "F" else None
    raw = decode(data, path, values="stored").shown if raw is None else raw
    if raw.shape[2] != len(planes):
        what = f"{path} holds {raw.shape[2]} planes of numbers, expected {', '.join(planes)}"
        raise DataError("D018", what, "name each in `planes` of dataset.json")
    known = np.isfinite(raw) & (raw != kind.void if kind.void is not None else True)
    return np.where(known, raw.astype(np.float32) * np.float32(kind.step), np.float32(np.nan))


@dataclass(frozen=True)
class EdgesOf:
    """Where two classes of a label map meet, with no file of its own."""

    source: LabelSource
    before: ClassMap
    """Of the label map."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Those of the label map."""
        return self.source.files

    def read(self, class_map: ClassMap) -> NDArray[Any]:  # noqa: ARG002 - it is that of edges
        """(H, W, 1) float32, as ``edges``."""
        return edges(self.source.read(self.before))


def edges(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of class ids (H, W), 255 void: 1 at pixels beside one of another class, else 0; (H, W, 1).

    Both sides count, so that an edge is two pixels wide and a mirror image has the same. Void, and
    what touches it, is NaN: nobody knows whether a class ends there.
    """
    edge, void = np.zeros(labels.shape, bool), labels == VOID
    unknown = void.copy()
    for marks, missing, values, gaps in (
        (edge, unknown, labels, void),
        (edge.T, unknown.T, labels.T, void.T),
    ):
        other = values[1:] != values[:-1]
        for side, beside in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
            marks[side] |= other
            missing[side] |= gaps[beside]
    return np.where(unknown, np.float32(np.nan), edge.astype(np.float32))[..., None]
