"""Labels that are no classes: numbers in files, and the edges between classes of a label map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.labels import VOID
from pixelwise.nets.kinds import Kind
from pixelwise.pictures.imagefile import file_bytes
from pixelwise.pictures.reading import decode


def read_numbers(path: Path, kind: Kind, planes: tuple[str, ...]) -> NDArray[np.float32]:
    """A file of numbers, (H, W, P) float32; NaN where nothing is known.

    Raises:
        DataError: D018 another number of planes, and what ``pictures.reading`` raises.
    """
    raw = decode(file_bytes(path), path, values="gaps").shown
    if raw.shape[2] != len(planes):
        what = f"{path} holds {raw.shape[2]} planes of numbers, expected {', '.join(planes)}"
        raise DataError("D018", what, "name each in `planes` of dataset.json")
    return np.where(raw == kind.void, np.float32(np.nan), raw * np.float32(kind.step))


def edges(labels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Of class ids (H, W), 255 void: 1 at pixels beside one of another class, else 0; (H, W, 1).

    Both sides count, so that an edge is two pixels wide and a mirror image has the same. Void, and
    what touches it, is NaN: nobody knows whether a class ends there.
    """
    around = np.pad(labels, 1, mode="edge")
    beside = around[1:-1, 2:], around[1:-1, :-2], around[2:, 1:-1], around[:-2, 1:-1]
    edge = np.any([other != labels for other in beside], 0)
    void = np.any([other == VOID for other in (labels, *beside)], 0)
    return np.where(void, np.float32(np.nan), edge.astype(np.float32))[..., None]
