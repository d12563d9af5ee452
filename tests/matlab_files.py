"""Files as MATLAB writes them; with ``-v7.3``: HDF5 behind 512 bytes, axes reversed, cells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy.io import savemat

from pixelwise.errors import DataError
from pixelwise.pictures.matfile import MatReader

SEGMENTATION = np.arange(12, dtype=np.uint8).reshape(3, 4)
IMAGES = np.arange(5 * 4 * 3 * 2, dtype=np.uint8).reshape(5, 4, 3, 2)  # H, W, C, frames
CLASSES = {"u": "uint", "i": "int", "b": "logical"}
HEADER = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jul 30 20:05:45 2012 HDF5"


def save_v73(path: Path, variables: Mapping[str, Any], **storage: Any) -> Path:
    """Arrays, texts, lists (as cell arrays, one column) and mappings (as structs)."""
    with h5py.File(path, "w", userblock_size=512) as f:
        for name, value in variables.items():
            put(f, f, name, value, storage)
    with path.open("r+b") as f:
        f.write(HEADER.ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


def put(f: h5py.File, place: h5py.Group, name: str, value: Any, storage: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        made = place.create_group(name)
        for field, inner in value.items():
            put(f, made, field, inner, storage)
        kind = "struct"
    elif isinstance(value, list):
        cells = f.require_group("#refs#")
        references = [put(f, cells, f"c{len(cells)}", v, {}).ref for v in value]
        made = place.create_dataset(name, (1, len(value)), h5py.ref_dtype)
        made[0] = references
        kind = "cell"
    elif isinstance(value, str):
        codes = np.array([[ord(c)] for c in value], np.uint16)
        made = place.create_dataset(name, data=codes if value else np.array([0, 0], np.uint64))
        made.attrs["MATLAB_empty"] = np.uint8(not value)
        kind = "char"
    else:
        array = np.asarray(value)
        stored = array.astype(np.uint8) if array.dtype == bool else array
        made = place.create_dataset(name, data=stored.T, **storage)
        kind = CLASSES.get(array.dtype.kind, "")
        kind += str(8 * array.itemsize) if kind and kind != "logical" else ""
        kind = kind or {4: "single", 8: "double"}[array.itemsize]
    made.attrs["MATLAB_class"] = np.bytes_(kind)
    return made


def v5(path: Path, *, compressed: bool = False) -> Path:
    """A struct as SBD has it, text, and an array of frames."""
    people = np.array([(1.5, "ann"), (2.5, "bo")], [("size", object), ("name", object)])
    fields = {"Segmentation": SEGMENTATION, "Names": np.array(["sky", "sea", ""], object)}
    content = {"GTcls": fields, "images": IMAGES, "kind": "street", "people": people}
    savemat(path, content, do_compression=compressed)
    return path


def v73(path: Path, **storage: object) -> Path:
    fields = {"Segmentation": SEGMENTATION, "Names": ["sky", "sea", ""]}
    content = {"GTcls": fields, "images": IMAGES, "kind": "street", "seen": SEGMENTATION > 5}
    return save_v73(path, content, **storage)


def refusal(mats: MatReader, path: Path, *keys: str) -> str:
    with pytest.raises(DataError) as caught:
        mats.read(path, *keys)
    assert caught.value.code == "D026"
    assert str(path) in str(caught.value)
    assert caught.value.hint
    return str(caught.value).replace(f"{path}: ", "")
