"""Arrays of any number of bands: NumPy's and MATLAB's files, and TIFFs that Pillow reads in part.

What is not known of a picture is NaN where ``values`` are ``gaps``; else it is refused by name: a
net that is shown -9999 as a reflectance learns the border of a flight.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from pixelwise.errors import DataError, ResourceError
from pixelwise.machine.files import atomic_write
from pixelwise.pictures import imagefile
from pixelwise.pictures.imagefile import NEW_SUBFILE_TYPE, NO_DATA, max_megapixels
from pixelwise.pictures.matfile import shared_reader

STORED = ("uint8", "uint16", "int16", "float32")
"""What ``stored`` may give: each is exact in the float32 of a net."""
GAPS = '"values": "gaps" in dataset.json leaves such pixels out: void, and shown as the mean'


def numpy_file(data: bytes, path: Path) -> NDArray[Any]:
    """(H, W, bands) of an ``.npy`` file, whose header is checked first; D018, D020 and D022."""
    file = io.BytesIO(data)
    try:
        header = {1: npy.read_array_header_1_0, 2: npy.read_array_header_2_0}
        shape, _, dtype = header[npy.read_magic(file)[0]](file)
        _refuse_large(shape, math.prod(shape) * dtype.itemsize, path)
        file.seek(0)
        array = npy.read_array(file, allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # what a damaged header makes of it is anything
        raise DataError("D020", f"{path}: no array that can be read ({error})") from error
    if array.ndim not in (2, 3) or 0 in array.shape:
        message = f"{path}: an array of shape {array.shape}, expected (H, W) or (H, W, bands)"
        raise DataError("D018", message, "bands come last: np.save(path, a.transpose(1, 2, 0))")
    return np.ascontiguousarray(array.reshape(*array.shape[:2], -1))


def mat_file(data: bytes, path: Path, variable: str, bands: int) -> NDArray[Any]:
    """(H, W, bands) of a MATLAB file, read in a process of its own (``matfile``).

    Without a name it is the only array of three axes, of several the one of so many ``bands``; in a
    file without any the only one of two.

    Raises:
        DataError: D018 there is none, D022 too large, D025 several, D026 a damaged file.
        ResourceError: R008 the extra that reads such files is not installed.
    """
    with ExitStack() as stack:
        file = path
        if not path.is_file():  # bytes that came without a file
            file = Path(stack.enter_context(TemporaryDirectory())) / "bytes.mat"
            atomic_write(file, data)
        reader = shared_reader()
        try:
            shapes = reader.variables(file)
            name = variable or _only(shapes, bands, path)
            _refuse_large(shapes.get(name, ()), 0, path)
            (array,) = reader.read(file, name)
        except DataError as error:
            raise DataError(
                error.code, str(error).replace(str(file), str(path)), error.hint
            ) from None
    if array.ndim not in (2, 3) or 0 in array.shape:
        what = f"{path}: `{name}` is of shape {array.shape}, expected (H, W) or (H, W, bands)"
        raise DataError("D018", what, "bands come last: permute(a, [2 3 1]) in MATLAB")
    return np.ascontiguousarray(array.reshape(*array.shape[:2], -1))


def _only(shapes: Mapping[str, tuple[int, ...]], bands: int, path: Path) -> str:
    """The variable that is meant where none is named."""
    cubes = [name for name, shape in shapes.items() if len(shape) == 3]
    flat = [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1]
    fit = [name for name in cubes if shapes[name][2] == bands]
    chosen = next((names for names in (cubes, fit, flat * (not cubes)) if len(names) == 1), [])
    if chosen:
        return chosen[0]
    held = ", ".join(f"`{name}` of {shape}" for name, shape in shapes.items()) or "nothing"
    several = cubes or flat
    code, hint = "D018", "save the cube as an array (H, W, bands)"
    if several:
        code, hint = "D025", f'"variable": "{several[0]}" in dataset.json, if that is meant'
    raise DataError(code, f"{path}: holds {held}, expected one array (H, W, bands)", hint)


def tiff_reader(path: Path) -> Any:
    """The library for TIFFs of any kind; R008 it is not installed."""
    try:
        return import_module("tifffile")
    except ImportError as error:
        hint = 'pip install "pixelwise[raster]"'
        raise ResourceError("R008", f"{path}: the package tifffile reads it", hint) from error


def reduced_or_masks(file: Any) -> list[int]:
    """For each page of an open TIFF, whether it is no picture of its own; ValueError: a circle."""
    hidden: dict[int, int] = {}
    for page in file.pages:
        if page.offset in hidden:  # for ever: tifffile does not look
            raise ValueError(f"its pages lead back to byte {page.offset}")
        hidden[page.offset] = page.tags.valueof(NEW_SUBFILE_TYPE, 0) & 0b101
    return [*hidden.values()]


def tiff_bands(data: bytes, path: Path, place: int | None) -> tuple[NDArray[Any], str] | None:
    """(H, W, bands) of a TIFF as stored, and its text for "no data"; D020, D022, D025 and R008.

    None where its numbers are not those of the picture: alpha, WhiteIsZero, CMYK, parts of a byte.
    """
    tifffile = tiff_reader(path)
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            shown = [not reduced for reduced in reduced_or_masks(file)]
            if place is None and sum(shown) > 1:
                what = f"{path}: holds {sum(shown)} pictures, expected one"
                raise DataError("D025", what, "save the one that is meant as a file of its own")
            page = file.pages[place or 0]
            alpha = {1, 2} & {*map(int, page.extrasamples)}
            if page.photometric not in (1, 2) or alpha or page.bitspersample % 8:
                return None
            _refuse_large(page.shape, page.nbytes, path)
            array, text = page.asarray(), str(page.tags.valueof(NO_DATA, ""))
            planes = np.moveaxis(array, 0, -1) if page.planarconfig == 2 < array.ndim else array
            if not planes.size:
                raise ValueError(f"no numbers in {planes.shape}")
    except DataError:
        raise
    except Exception as error:
        hint = 'pip install "pixelwise[raster]", if its compression is the reason'
        raise DataError("D020", f"{path}: cannot be read ({error})", hint) from error
    return np.ascontiguousarray(planes.reshape(*planes.shape[:2], -1)), text


def _refuse_large(shape: tuple[int, ...], size: int, path: Path) -> None:
    limit, most = max_megapixels(), imagefile.MAX_BYTES
    if math.prod(shape[:2]) > limit * 1e6 or size > most:
        what = f"{path}: {shape} of {size / 2**30:.2g} GiB; the limits are {limit} MP and "
        cut = "cut it: np.save('part.npy', np.load('whole.npy', mmap_mode='r')[:4000, :4000])"
        raise DataError("D022", what + f"{most / 2**30:.0f} GiB", cut)


def as_values(array: NDArray[Any], what: object, values: str, no_data: str = "") -> NDArray[Any]:
    """Stored numbers as ``values`` has them, see ``pictures.reading``; ``what`` is named.

    Raises:
        DataError: D015 a type that is not taken, numbers beyond 16 bits, not finite, or no data.
    """
    if values == "8-bit":
        if array.dtype == np.uint8:
            return array
        scaled = "(255 * a).round()" if array.dtype.kind == "f" else "(a // 257)"
        hint = f'bring it to 0..255: {scaled}.astype(np.uint8)  # or "values": "stored"'
        what = f"{what} is an array of {array.dtype}, expected uint8, 0 to 255"
        raise DataError("D015", what, hint)
    array = _narrowed(array)
    if array.dtype not in STORED:
        what = f"{what} holds {array.dtype} beyond 16 bits, expected one of {', '.join(STORED)}"
        raise DataError("D015", what, "as float32: np.save(path, a.astype(np.float32))")
    known = np.isfinite(array)
    if values == "stored" and not known.all():
        message = f"{what} holds {known.size - known.sum():,} numbers that are not finite, "
        raise DataError("D015", f"{message}expected none", f"np.nan_to_num(a); or {GAPS}")
    with suppress(ValueError):
        known &= array != float(no_data.strip(" \0"))
    if values == "stored" and not known.all():
        count = int(np.count_nonzero(~known.all(axis=-1)))
        message = f"{what} has {count:,} pixels of no data (its TIFF tag: {no_data.strip()})"
        raise DataError("D015", message, GAPS)
    return array if values == "stored" else np.where(known, array.astype(np.float32), np.nan)


def _narrowed(array: NDArray[Any]) -> NDArray[Any]:
    """Wider numbers as those of ``STORED`` that hold them; what does not fit as it is."""
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    # By its own type alone: pictures of one set must not differ by what they show.
    kind = np.dtype({"f": "f4", "i": "i2", "u": "u2"}.get(array.dtype.kind, array.dtype))
    if array.dtype.itemsize <= kind.itemsize:
        return array
    narrow = array.astype(kind)
    return narrow if kind.kind == "f" or (narrow == array).all() else array
