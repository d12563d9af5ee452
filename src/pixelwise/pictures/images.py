"""Pictures and label maps from and to files, and in memory.

What a picture may be, and what becomes of it:

=================  ==========================================================================
1, L               grey, repeated to RGB (of label maps of 2 and 4 bits the numbers are kept)
I;16 (16-bit grey) divided by 257 and rounded, repeated to RGB; ``read_raw`` keeps the 16 bits
LA, RGBA, PA, La   composed over white
P                  its colours (of a label map: its indices, see ``read_labels``)
RGB                as it is (Pillow gives 16-bit RGB PNG as 8-bit, its high byte)
CMYK, YCbCr, LAB   converted by Pillow
HSV, F, I          refused by name: their range is not known
=================  ==========================================================================

Pictures are turned as their EXIF orientation says. A file of several (pages of a TIFF, frames of an
animation) is refused.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

from pixelwise.errors import DataError
from pixelwise.labels import Labels, full_palette
from pixelwise.machine.files import atomic_write
from pixelwise.pictures.imagefile import ImageHeader, image_header, opened, stored_as

STRETCHED = {"L;2": 85, "L;4": 17}
"""Grey of 2 and 4 bits, which Pillow stretches to 0..255; label maps want the numbers back."""
CUT = ("L", "LA", "RGB", "RGBA")
"""Modes of 8 bits, into which Pillow presses 16-bit colours and inverted grey."""
COLOUR_HINT = "save it as a palette or RGB PNG of 8 bits a channel"
GREY_HINT = "save it as a grey or palette PNG of 8 bits, or a grey one of 16"

Exif = Literal["apply", "ignore"]
Array = NDArray[np.uint8]


def read_image(path: Path, *, exif: Exif = "apply") -> Array:
    """A picture as RGB.

    Args:
        path: the file.
        exif: turn the picture as its orientation says, or leave it as stored.

    Returns:
        (H, W, 3) uint8.

    Raises:
        DataError: D010 no such file, D015 mode or format not supported, D020 unreadable, D022 too
            many pixels, D025 several pictures.
    """
    with opened(path) as image:
        image.load()
        return _rgb(ImageOps.exif_transpose(image) if exif == "apply" else image, path)


def _rgb(image: Image.Image, path: Path) -> Array:
    mode = image.mode
    if mode.startswith("I;16"):
        grey = ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if mode in ("F", "I", "HSV"):
        raise DataError(
            "D015",
            f"{path}: pictures of mode {mode} have no known range",
            "convert it to 8-bit RGB",
        )
    if mode in ("LA", "RGBA", "PA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, layered)
    return np.array(image.convert("RGB"))


def read_raw(path: Path) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """The numbers in a file, untouched: depth, label maps of more than 255 classes.

    Returns:
        (H, W) or (H, W, C), uint8 or uint16.

    Raises:
        DataError: D015 the numbers would not come out as they are stored, D020, D022, D025.
    """
    with opened(path) as image:
        stored = stored_as(image)
        image.load()
        if stored in STRETCHED:
            return np.asarray(image) // STRETCHED[stored]
        _refuse_cut(image, stored, path, GREY_HINT)
        if image.mode == "I":  # Pillow's name for some 16-bit PNG and TIFF
            values = np.asarray(image)
            if values.min() < 0 or values.max() > 65535:
                raise DataError(
                    "D015", f"{path}: values beyond 16 bits are not supported", GREY_HINT
                )
            return values.astype(np.uint16)
        if image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.uint16)
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8)
        if image.mode not in ("L", "P", "RGB", "RGBA", "LA"):
            raise DataError("D015", f"{path}: mode {image.mode} holds no whole numbers", GREY_HINT)
        return np.array(image)


def _refuse_cut(image: Image.Image, stored: str, path: Path, hint: str) -> None:
    if stored.endswith(("I", "16B", "16L", "16N")) and image.mode in CUT:
        told = f"{path}: stored as {stored}, whose numbers would be changed by reading"
        raise DataError("D015", told, hint)


def read_labels(path: Path) -> Labels:
    """The class ids of a label map; palette indices are kept, never converted.

    Returns:
        (H, W) uint8, or uint16 for a 16-bit file.

    Raises:
        DataError: D016 colours instead of indices, D017 lossy compression, and ``read_raw``'s.
    """
    header = _lossless(path)
    values = read_raw(path)
    if values.ndim == 2:
        return values
    if values.shape[2] <= 2 or _is_grey(values):
        return values[..., 0].copy()
    colours = _commonest(values)
    listed = ", ".join(f"({colour})" for colour in colours)
    named = ", ".join(f'"{colour}": "name{i}"' for i, colour in enumerate(colours))
    raise DataError(
        "D016",
        f"{path}: a label map in colours ({header.mode}), expected one class index per pixel; "
        f"its commonest colours are {listed}",
        f'describe all colours in classes.json: {{"colours": {{{named}}}}}',
    )


def _lossless(path: Path) -> ImageHeader:
    """The header of a label map that holds the values that were drawn."""
    header = image_header(path)
    if header.lossy:
        raise DataError(
            "D017",
            f"{path}: a label map in {header.lossy}, which changes values at every edge; "
            "expected PNG, BMP, TIFF, GIF or lossless WebP",
            "export the labels again, as PNG",
        )
    return header


def _is_grey(values: NDArray[Any]) -> bool:
    """Equal channels: indices that were saved as RGB."""
    return bool((values[..., :1] == values[..., :3]).all())


def _commonest(values: NDArray[Any], count: int = 5) -> list[str]:
    flat = values[..., :3].reshape(-1, 3)[:: max(1, values.shape[0] * values.shape[1] // 100_000)]
    found = Counter(map(tuple, flat.tolist())).most_common(count)
    return ["{},{},{}".format(*colour) for colour, _ in found]


def read_colours(path: Path) -> Array:
    """A label map's colours as stored, (H, W, 3) uint8; for masks that are described by colour.

    Raises:
        DataError: D015 more than 8 bits a channel, D017 lossy compression, and ``opened``'s.
    """
    _lossless(path)
    with opened(path) as image:
        stored = stored_as(image)
        _refuse_cut(image, stored, path, COLOUR_HINT)
        if image.mode.startswith(("I", "F")):
            raise DataError("D015", f"{path}: mode {image.mode} holds no colours", COLOUR_HINT)
        return np.array(image.convert("RGB"))


# -- writing ---------------------------------------------------------------------------------
def write_labels(
    path: Path, labels: Labels, palette: Array, *, text: Mapping[str, str] | None = None
) -> Path:
    """A label map as a palette PNG, which opens in colour everywhere; 16-bit grey if it must be.

    Args:
        path: ends in .png.
        labels: (H, W) uint8, or uint16 when there are more than 255 classes.
        palette: (K, 3) uint8.
        text: kept in the file as PNG text (which model made it, for instance).
    """
    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    image = label_image(labels, palette)
    return atomic_write(path, lambda f: image.save(f, "PNG", pnginfo=info))


def text_in(path: Path) -> dict[str, str]:
    """What ``write_labels`` kept in a file as text; nothing of other files."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return dict(getattr(image, "text", {}))
    except (OSError, ValueError, SyntaxError):
        return {}


def write_raw(path: Path, values: NDArray[np.uint8] | NDArray[np.uint16]) -> Path:
    """(H, W) numbers as a grey PNG of 8 or 16 bits."""
    image = Image.fromarray(values)
    return atomic_write(path, lambda f: image.save(f, "PNG"))


def write_image(path: Path, rgb: Array) -> Path:
    """(H, W, 3) uint8 as PNG or JPEG, by the suffix."""
    image = Image.fromarray(rgb)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        return atomic_write(path, lambda f: image.save(f, "JPEG", quality=92, subsampling=0))
    return atomic_write(path, lambda f: image.save(f, "PNG"))


def encode(rgb: Array, kind: Literal["PNG", "JPEG"] = "PNG") -> bytes:
    """(H, W, 3) uint8 as the bytes of a file."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, kind, quality=88)
    return buffer.getvalue()


def label_image(labels: Labels, palette: Array) -> Image.Image:
    """A label map as a PIL image of class ids that shows their colours; uint16 as plain grey."""
    image = Image.fromarray(labels)
    if labels.dtype == np.uint8:
        image.putpalette(full_palette(palette).tobytes())
    return image


# -- in memory -------------------------------------------------------------------------------
def to_image(array: Array) -> Image.Image:
    """(H, W, 3) uint8 as a PIL image."""
    return Image.fromarray(array)


def array_of(image: Any) -> NDArray[Any]:
    """A PIL image as (H, W, 3) uint8; of another object what numpy makes of it."""
    if isinstance(image, Image.Image):
        return _rgb(ImageOps.exif_transpose(image), Path("the picture"))
    return np.asarray(image)


def resize(
    image: NDArray[Any],
    size: tuple[int, int],
    *,
    method: Literal["bilinear", "nearest"] = "bilinear",
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[Any]:
    """An image of another size; bilinear is antialiased when it shrinks.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        size: (height, width).
        method: bilinear for pictures, nearest for labels.
        box: (left, top, right, bottom) in pixels of ``image``: the part that is to fill the size.
    """
    kind = Image.Resampling.BILINEAR if method == "bilinear" else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(image).resize((size[1], size[0]), kind, box=box))


def resize_channels(
    image: Array, size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> Array:
    """Bilinear ``resize`` of a picture (H, W, C) uint8 with any number of channels."""
    if image.shape[2] == 3:
        return resize(image, size, box=box)
    return np.stack([resize(plane, size, box=box) for plane in np.moveaxis(image, 2, 0)], axis=2)


def draw_legend(image: Array, names: Sequence[str], palette: Array) -> Array:
    """The picture with a panel of colour swatches and class names at its right.

    Args:
        image: (H, W, 3) uint8.
        names: of the classes to show.
        palette: (len(names), 3) uint8.

    Returns:
        (H', W', 3) uint8, at least as high as the picture.
    """
    height, width = image.shape[:2]
    size = int(np.clip(height / 24, 11, 32))
    font = ImageFont.load_default(size)
    line = round(size * 1.5)
    swatch = size
    text_width = max((font.getlength(name) for name in names), default=0)
    panel = round(text_width + swatch + 3 * size / 2) if names else 0
    full = Image.new("RGB", (width + panel, max(height, line * len(names) + size)), "white")
    full.paste(Image.fromarray(image))
    draw = ImageDraw.Draw(full)
    for i, (name, rgb) in enumerate(zip(names, palette.tolist(), strict=True)):
        x, y = width + size // 2, size // 2 + i * line
        draw.rectangle((x, y, x + swatch, y + swatch), tuple(rgb), outline=(90, 90, 90))
        draw.text((x + swatch + size // 2, y + swatch / 2), name, "black", font, anchor="lm")
    return np.asarray(full)
