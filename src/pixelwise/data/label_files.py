"""The numbers of a label map in a file of any kind: a picture, or a MATLAB file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelwise.errors import DataError
from pixelwise.labels import Labels
from pixelwise.pictures.images import read_labels
from pixelwise.pictures.matfile import shared_reader

SBD_KEYS = {"GTcls": "GTcls.Segmentation", "GTinst": "GTinst.Segmentation"}
"""A struct that holds the label map, as SBD's files have it, to where in it."""


def read_numbers(path: Path, *, lossy: bool = False) -> Labels:
    """The numbers in a label map, (H, W) uint8 or uint16.

    Raises:
        DataError: D026 a MATLAB file that is damaged or holds no, or several, label maps; else
            those of ``read_labels``.
        ResourceError: R008 the extra that reads MATLAB files is not installed.
    """
    if path.suffix.lower() != ".mat":
        return read_labels(path, lossy=lossy)
    reader = shared_reader()
    shapes = reader.variables(path)
    flat = [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1]
    keys = [key for name, key in SBD_KEYS.items() if name in shapes] or flat
    held = ", ".join(f"`{name}` of {shape}" for name, shape in shapes.items())
    if len(keys) != 1:
        what = f"{path}: holds {held}, expected one label map (H, W)"
        raise DataError("D026", what, "save the label map alone, as PNG")
    (raw,) = reader.read(path, keys[0])
    whole = raw.dtype.kind in "biuf" and raw.min() >= 0 and raw.max() <= 65535
    if not whole or (raw != raw.astype(np.uint16)).any():
        what = f"{path}: `{keys[0]}` holds other than whole numbers from 0 to 65535"
        raise DataError("D026", what, "save the label map as PNG")
    return raw.astype(np.uint8) if raw.max() < 256 else raw.astype(np.uint16)
