"""Arrays of any number of bands: NumPy's files, and TIFFs that Pillow does not read whole.

What is not known of a picture is NaN, in float32, where ``values`` are ``gaps``; else it is refused
by name: a net that is shown -9999 as a reflectance learns the border of a flight.
"""

from __future__ import annotations

import io
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pixelwise.errors import DataError, ResourceError, hxw
from pixelwise.pictures.imagefile import (
    MAX_BYTES,
    NEW_SUBFILE_TYPE,
    NO_DATA,
    max_megapixels,
)

STORED = ("uint8", "uint16", "int16", "float32")
"""What ``stored`` may give: each is exact in the float32 of a net."""
GAPS = '"values": "gaps" in dataset.json leaves such pixels out: void, and shown as the mean'


def numpy_file(data: bytes, path: Path) -> NDArray[Any]:
    """(H, W, bands) of an ``.npy`` file; nothing in it is executed, and its size is checked first.

    Raises:
        DataError: D018 another shape, D020 damaged, D022 too large.
    """
    file = io.BytesIO(data)
    try:
        read_header = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}
        shape, _, dtype = read_header[npy.read_magic(file)[0]](file)
        _refuse_large(shape, math.prod(shape) * dtype.itemsize, path)
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # what a damaged header makes of it is anything
        raise DataError("D020", f"{path}: no array that can be read ({error})") from error
    if array.ndim not in (2, 3) or 0 in array.shape:
        message = f"{path}: an array of shape {array.shape}, expected (H, W) or (H, W, bands)"
        raise DataError("D018", message, "bands come last: np.save(path, a.transpose(1, 2, 0))")
    return np.ascontiguousarray(array.reshape(*array.shape[:2], -1))


def tiff_bands(data: bytes, path: Path, place: int | None) -> tuple[NDArray[Any], str] | None:
    """(H, W, bands) of a TIFF as they are stored, and its text for "no data".

    None where its numbers are not those of the picture: alpha, WhiteIsZero, CMYK, parts of a byte.

    Raises:
        DataError: D020 damaged, D022 too large, D025 several pictures and no ``place``.
        ResourceError: R008 tifffile is not installed.
    """
    try:
        tifffile = import_module("tifffile")
    except ImportError as error:
        what = f"{path}: the package tifffile reads TIFFs of such bands, and is not installed"
        raise ResourceError("R008", what, 'pip install "pixelwise[raster]"') from error
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            shown = [not page.tags.valueof(NEW_SUBFILE_TYPE, 0) & 0b101 for page in file.pages]
            if place is None and sum(shown) > 1:
                what = f"{path}: holds {sum(shown)} pictures, expected one"
                raise DataError("D025", what, "save the one that is meant as a file of its own")
            page = file.pages[place or 0]
            alpha = {1, 2} & {*map(int, page.extrasamples)}
            if page.photometric not in (1, 2) or alpha or page.bitspersample % 8:
                return None
            _refuse_large(page.shape, page.nbytes, path)
            array, text = page.asarray(), page.tags.valueof(NO_DATA, "")
    except DataError:
        raise
    except Exception as error:
        hint = 'pip install "pixelwise[raster]", if its compression is the reason'
        raise DataError("D020", f"{path}: cannot be read ({error})", hint) from error
    planes = np.moveaxis(array, 0, 2) if page.planarconfig == 2 and array.ndim == 3 else array
    return np.ascontiguousarray(planes.reshape(*planes.shape[:2], -1)), str(text)


def _refuse_large(shape: tuple[int, ...], size: int, path: Path) -> None:
    limit = max_megapixels()
    if math.prod(shape[:2]) > limit * 1e6 or size > MAX_BYTES:
        what = f"{path}: {hxw((*shape, 1, 1))} (HxW), {size / 2**30:.2g} GiB"
        most = f"the limits are {limit} MP and {MAX_BYTES / 2**30:.0f} GiB"
        cut = "cut it: np.save('part.npy', np.load('whole.npy', mmap_mode='r')[:4000, :4000])"
        raise DataError("D022", f"{what}; {most}", cut)


def as_values(array: NDArray[Any], what: object, values: str, no_data: str = "") -> NDArray[Any]:
    """Stored numbers as ``values`` has them, see ``pictures.reading``; ``what`` is named.

    Raises:
        DataError: D015 a type that is not taken, numbers beyond 16 bits, not finite, or no data.
    """
    if values != "8-bit":
        array = _narrowed(array)
        if array.dtype not in STORED:
            what = f"{what} holds {array.dtype} beyond 16 bits, expected one of {', '.join(STORED)}"
            raise DataError("D015", what, "as float32: np.save(path, a.astype(np.float32))")
    elif array.dtype != np.uint8:
        hint = "bring its values to 0..255, e.g. (a // 257).astype(np.uint8) for 16 bits"
        if array.dtype.kind == "f":
            hint = "values of 0 to 1: (255 * a).round().astype(np.uint8)"
        hint += '; or take the numbers as they are: "values": "stored" in dataset.json'
        what = f"{what} is an array of {array.dtype}, expected uint8, 0 to 255"
        raise DataError("D015", what, hint)
    else:
        return array
    known = np.isfinite(array)
    if values == "stored" and (strange := int(np.count_nonzero(~known))):
        message = f"{what} holds {strange:,} numbers that are not finite, expected none"
        raise DataError("D015", message, f"fill them, e.g. np.nan_to_num(a); or {GAPS}")
    known &= array != _number(no_data)
    if values == "stored" and not known.all():
        count = int(np.count_nonzero(~known.all(axis=-1)))
        message = f"{what} has {count:,} pixels of no data (its TIFF tag: {no_data.strip()})"
        raise DataError("D015", message, GAPS)
    return array if values == "stored" else np.where(known, array.astype(np.float32), np.nan)


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """Wider numbers as those of ``STORED`` that hold them; what does not fit as it is."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype.kind in "iu" and array.dtype not in STORED and array.size:
        # By its own type alone: pictures of one set must not differ by what they show.
        kind = np.int16 if array.dtype.kind == "i" else np.uint16
        limits = np.iinfo(kind)
        if array.min() >= limits.min and array.max() <= limits.max:
            return array.astype(kind)
    return array


def _number(text: str) -> float:
    try:
        return float(text.strip(" \0"))
    except ValueError:
        return math.nan  # which equals nothing
