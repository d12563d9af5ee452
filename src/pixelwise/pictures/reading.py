"""One door for pictures: a path, a file's bytes, a PIL image or an array become (H, W, bands).

``values`` says which numbers are wanted.

===========================  ==============================  =================================
in the file                  ``8-bit``                       ``stored``
===========================  ==============================  =================================
grey, 1 to 8 bits            uint8, 0 to 255, one band       the same
grey, 9 to 16 bits           scaled to 0..255 and rounded    uint16
grey, signed 16 bits, float  refused: no known range         int16, float32
RGB; palette, CMYK, YCbCr,   RGB, uint8                      the same
LAB; RGB of 16 bits          the high byte of each band      refused: Pillow reads no more
with alpha                   composed over white             the same
four bands without alpha     four bands, uint8               the same
TIFF of other bands, .npy,   uint8 alone                     16 bits or float32, all bands
.mat
===========================  ==============================  =================================

``gaps`` are ``stored`` numbers as float32, NaN where there is none: NaN in the file, and what a
GeoTIFF calls "no data".

Grey is the brightness that a viewer shows, also of WhiteIsZero. ``8-bit`` is what nets on published
weights take; for their three bands grey is repeated. Nothing else changes the number of bands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pixelwise.errors import DataError
from pixelwise.pictures.cubes import as_values, mat_file, numpy_file, tiff_bands
from pixelwise.pictures.imagefile import ImageHeader, file_bytes, header_of, opened
from pixelwise.pictures.recognise import ARRAYS, HEAD, kind_in

Values = Literal["8-bit", "stored", "gaps"]
UNNAMED = Path("the picture")
_PLAIN = ImageHeader(1, "", "", 16, False, False, False, "", "")  # neither turned nor lossy
_TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: np.rot90,
}
"""What EXIF's orientation asks for (Exif 2.32, 4.6.4, tag 274)."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded file, not turned."""

    stored: NDArray[Any]
    """(H, W, bands)."""
    header: ImageHeader

    @property
    def shown(self) -> NDArray[Any]:
        """(H, W, bands), turned as EXIF says."""
        turn = _TURNS.get(self.header.orientation)
        return np.ascontiguousarray(turn(self.stored)) if turn else self.stored


@dataclass(frozen=True)
class Page:
    """One of the pictures in a file of several."""

    data: bytes
    """Of the file."""
    place: int
    """One of ``imagefile.pages_in``."""


def decode(
    data: bytes,
    path: Path,
    *,
    values: Values = "8-bit",
    place: int | None = None,
    variable: str = "",
    bands: int = 0,
) -> Picture:
    """Picture and header of a file of which ``data`` are the bytes; ``path`` is for messages.

    ``variable`` and ``bands`` choose among the arrays of a MATLAB file, see ``cubes.mat_file``.

    Raises:
        DataError: D015 mode or format not supported, and those of ``opened``.
    """
    kind = kind_in(data[:HEAD])
    if kind in ARRAYS or path.suffix.lower() == ".mat":
        named = variable, bands
        array = numpy_file(data, path) if kind == "NumPy" else mat_file(data, path, *named)
        return Picture(as_values(array, path, values), _PLAIN)
    try:
        with opened(data, path, place) as (image, header):
            stored = _bands(image, header, path, values)
            return Picture(as_values(stored, path, values, header.no_data), header)
    except DataError as error:
        if kind != "TIFF" or error.code != "D015":
            raise
        whole = tiff_bands(data, path, place)
        if whole is None or (values == "8-bit" and whole[0].dtype != np.uint8):
            raise
        return Picture(as_values(whole[0], path, values, whole[1]), _PLAIN)


def read(source: Any, *, bands: int = 3, values: Values = "8-bit") -> NDArray[Any]:
    """A picture as a net of ``bands`` takes it; another count is left for the net to refuse.

    Args:
        source: a path, the bytes of a file, a ``Page``, a PIL image, or what numpy makes an array
            of: (H, W) or (H, W, bands); a fourth band of 8 bits is alpha where three are wanted.
        bands: of the net.
        values: see the table above.

    Returns:
        (H, W, bands), turned as its EXIF orientation says.

    Raises:
        DataError: D010 no such file, D018 an array of another shape, and those of ``decode``.
    """
    if isinstance(source, bytes):
        image = decode(source, UNNAMED, values=values, bands=bands).shown
    elif isinstance(source, Page):
        image = decode(source.data, UNNAMED, values=values, place=source.place).shown
    elif isinstance(source, Path | str):
        path = Path(source)
        image = decode(file_bytes(path), path, values=values, bands=bands).shown
    elif isinstance(source, Image.Image):
        header = header_of(source)
        image = Picture(_bands(source, header, UNNAMED, values), header).shown
    else:
        image = _of_array(np.asarray(source), bands, values)
    if 0 in image.shape:
        message = f"the picture has shape {image.shape}, expected (H, W) or (H, W, C), not empty"
        raise DataError("D018", message)
    return repeated(image) if bands == 3 and values == "8-bit" else image


def repeated(image: NDArray[Any]) -> NDArray[Any]:
    """Grey (H, W, 1) as three equal bands; other pictures as they are."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def _bands(image: Image.Image, header: ImageHeader, path: Path, values: Values) -> NDArray[Any]:
    mode = image.mode
    if loss := header.loss or (header.high_byte if values != "8-bit" else ""):
        hint = "save it as RGB of 8 bits, further bands as files of their own"
        raise DataError("D015", f"{path}: {loss}", hint)
    if mode.startswith(("I", "F")):
        return wide_grey(image, header, path, values)[..., None]
    if mode == "HSV":
        message = f"{path}: pictures of mode HSV have no known range"
        raise DataError("D015", message, "convert it to 8-bit RGB")
    if header.four_bands:  # of an unspecified one Pillow makes the padding of RGB, or alpha
        four = np.frombuffer(image.tobytes("raw", "RGBX" if mode == "RGB" else mode), np.uint8)
        return four.reshape(image.height, image.width, 4).copy()
    grey = mode in ("1", "L", "LA", "La")
    if mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
    return np.array(image.convert("L"))[..., None] if grey else np.array(image.convert("RGB"))


def wide_grey(image: Image.Image, header: ImageHeader, path: Path, values: Values) -> NDArray[Any]:
    """(H, W) of a picture in one of Pillow's modes I and F, of more than 8 bits."""
    numbers = np.asarray(image)
    if image.mode.startswith("I;16"):
        peak = 2**header.bits - 1 if 8 < header.bits < 16 else 65535
        numbers = numbers.astype(np.uint16)
        if header.white_is_zero:
            numbers = np.uint16(peak) - numbers
        if values != "8-bit":
            return numbers
        return ((numbers.astype(np.uint32) * 255 + peak // 2) // peak).astype(np.uint8)
    if values == "8-bit":
        raise DataError(
            "D015",
            f"{path}: pictures of mode {image.mode} have no known range",
            'convert it to 8-bit RGB, or declare "values": "stored" in dataset.json',
        )
    if image.mode == "F" and not header.white_is_zero:
        return numbers
    kind = np.int16 if header.signed else np.uint16
    limits = np.iinfo(kind)
    if image.mode == "I" and numbers.min() >= limits.min and numbers.max() <= limits.max:
        return numbers.astype(kind)
    what = "beyond 16 bits" if image.mode == "I" else "in WhiteIsZero"
    raise DataError("D015", f"{path}: numbers {what} are not supported", "save it as 16-bit grey")


def _of_array(array: NDArray[Any], bands: int, values: Values) -> NDArray[Any]:
    """An array as (H, W, bands), or the reason why not."""
    array = as_values(array, UNNAMED, values)
    if array.ndim not in (2, 3):
        message = f"the picture has shape {array.shape}, expected (H, W) or (H, W, C)"
        raise DataError("D018", message)
    planes = array if array.ndim == 3 else array[..., None]
    given = planes.shape[2]
    if given == 4 and bands == 3 and planes.dtype == np.uint8:
        alpha = planes[..., 3:].astype(np.float32) / 255
        flat = planes[..., :3] * alpha + 255 * (1 - alpha)
        return flat.round().astype(np.uint8)
    if given not in (bands, 1) and array.shape[0] == bands:
        hint = "channels come last: a.transpose(1, 2, 0)"
        raise DataError("D018", f"the picture has shape {array.shape}, expected (H, W, C)", hint)
    return planes
