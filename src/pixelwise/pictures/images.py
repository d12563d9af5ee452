"""Label maps from and to files, pictures to files, and both in memory.

A label map's numbers are read as they are drawn or not at all: what a decoder would change
(WhiteIsZero, 16 bits a channel, lossy compression) and what may mean two things (alpha, colours) is
refused.
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from pixelwise.errors import DataError
from pixelwise.labels import Labels, full_palette
from pixelwise.machine.files import atomic_write
from pixelwise.pictures.imagefile import ImageHeader, file_bytes, mode_of, opened
from pixelwise.pictures.reading import wide_grey

STRETCHED = {"L;2": 85, "L;2R": 85, "L;4": 17, "L;4R": 17}
"""Grey of 2 and 4 bits, which Pillow stretches to 0..255; label maps want the numbers back."""
COLOUR_HINT = "save it as a palette or RGB PNG of 8 bits a channel"
DESCRIPTION, LONGEST_EXIF = 270, 60_000
"""EXIF's ImageDescription, of ASCII; a JPEG's EXIF has 65,533 bytes."""
GREY_HINT = "save it as a grey or palette PNG of 8 bits, or a grey one of 16"

Array = NDArray[np.uint8]


def read_labels(path: Path, data: bytes = b"", *, lossy: bool = False) -> Labels:
    """The class ids of a label map; palette indices are kept, never converted.

    Args:
        path: the file; for messages alone, where its bytes are given.
        data: its bytes, where it lies in an archive.
        lossy: take values that a lossy compression has changed, too.

    Returns:
        (H, W) uint8, or uint16 for a 16-bit file.

    Raises:
        DataError: D015 the numbers would not come out as they are drawn, D016 colours or alpha
            instead of indices, D017 lossy compression, and those of ``file_bytes`` and ``opened``.
    """
    image, header = _drawn(path, GREY_HINT, data, lossy=lossy)
    values = _numbers(image, header, path)
    if values.ndim == 2:
        return values
    if values.shape[2] in (2, 4) and np.ptp(values[..., -1]):
        raise _layered(image, path)
    # Equal channels: indices that were saved as RGB.
    if values.shape[2] <= 2 or (values[..., :1] == values[..., :3]).all():
        return values[..., 0].copy()
    every = max(1, values[..., 0].size // 100_000)  # so that large maps are counted as fast
    rgb = map(tuple, values[..., :3].reshape(-1, 3)[::every].tolist())
    colours = ["{},{},{}".format(*colour) for colour, _ in Counter(rgb).most_common(5)]
    listed = ", ".join(f"({colour})" for colour in colours)
    named = ", ".join(f'"{colour}": "name{i}"' for i, colour in enumerate(colours))
    raise DataError(
        "D016",
        f"{path}: a label map in colours ({image.mode}), expected one class index per pixel; "
        f"its commonest colours are {listed}",
        f'describe all colours in classes.json: {{"colours": {{{named}}}}}',
    )


def _layered(image: Image.Image, path: Path) -> DataError:
    channel = f'PIL.Image.open("{path.name}").getchannel("A").save("{path.stem}-labels.png")'
    return DataError(
        "D016",
        f"{path}: a label map ({image.mode}) whose last band varies: does alpha (or that band) say "
        "what is labelled, or the others?",
        f"where it is alpha: {channel}",
    )


def read_mask(path: Path, data: bytes) -> NDArray[np.bool_]:
    """An object's mask (H, W) in the bytes of a picture: where alpha varies alpha, else its values.

    Raises:
        DataError: as ``read_labels``.
    """
    image, _ = _drawn(path, GREY_HINT, data)
    layered = image.mode in ("LA", "RGBA") or "transparency" in image.info
    alpha = np.asarray(image.convert("RGBA"))[..., 3] if layered else np.zeros((1, 1), np.uint8)
    if np.ptp(alpha):
        return alpha > 0
    values = np.asarray(image.convert("RGB") if image.mode in ("LA", "RGBA") else image)
    return np.asarray(values.reshape(*values.shape[:2], -1).any(axis=2))


def palette_in(path: Path) -> Array | None:
    """The colours of a label map's palette, (up to 256, 3); None if it has none.

    Raises:
        DataError: those of ``file_bytes`` and ``opened``.
    """
    if mode_of(path) != "P":
        return None
    with opened(file_bytes(path), path) as (image, _):
        listed = image.getpalette()
    return np.array(listed, np.uint8).reshape(-1, 3) if listed else None


def _drawn(
    path: Path, hint: str, data: bytes = b"", *, lossy: bool = False
) -> tuple[Image.Image, ImageHeader]:
    """A label map as Pillow decodes it, if it holds the values that were drawn."""
    with opened(data or file_bytes(path), path) as (image, header):
        if header.lossy and not lossy:
            raise DataError(
                "D017",
                f"{path}: a label map in {header.lossy}, which changes values at every edge; "
                "expected PNG, BMP, TIFF, GIF or lossless WebP",
                "export the labels again, as PNG; or say which values or colours were drawn: "
                '--values "0=background,255=object,*=nearest"',
            )
        reason = header.loss or header.high_byte
        if header.white_is_zero:  # tools differ: some write and read the numbers as they stand
            reason = (
                "stored as WhiteIsZero, which tools read in two ways (0 as 0, or as the highest)"
            )
        if header.four_bands:
            reason = "a TIFF of 4 bands, expected one number per pixel"
        if reason:
            raise DataError("D015", f"{path}: {reason}", hint)
        return image, header


def _numbers(image: Image.Image, header: ImageHeader, path: Path) -> NDArray[Any]:
    """The numbers in a file, untouched: (H, W) or (H, W, C), uint8 or uint16."""
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    wide = image.mode.startswith("I")
    values = wide_grey(image, header, path, "stored") if wide else np.array(image)
    if not (wide or image.mode in ("L", "P", "RGB", "RGBA", "LA")) or (values < 0).any():
        message = f"{path}: mode {image.mode} holds no whole numbers of 0 to 65535"
        raise DataError("D015", message, GREY_HINT)
    if wide:
        return values.astype(np.uint16)
    return values // STRETCHED[header.raw] if header.raw in STRETCHED else values


def read_colours(path: Path, *, lossy: bool = False, opaque: bool = False) -> Array:
    """A label map's colours as stored, (H, W, 3) uint8; for masks that are described by colour.

    With ``lossy`` also such as a lossy compression has changed; with ``opaque`` none whose alpha
    varies, where nobody said that colours are meant.

    Raises:
        DataError: D015 more than 8 bits a channel, D016 one colour whose alpha varies, D017 lossy
            compression, and those of ``file_bytes`` and ``opened``.
    """
    image, _ = _drawn(path, COLOUR_HINT, lossy=lossy)
    if image.mode.startswith(("I", "F")):
        raise DataError("D015", f"{path}: mode {image.mode} holds no colours", COLOUR_HINT)
    colours = np.array(image.convert("RGB"))
    alpha = image.mode in ("LA", "RGBA") and np.ptp(np.asarray(image)[..., -1])
    if alpha and (opaque or (colours == colours[0, 0]).all()):
        raise _layered(image, path)
    return colours


# -- writing ---------------------------------------------------------------------------------
def write_labels(
    path: Path,
    labels: NDArray[Any],
    palette: Array,
    *,
    text: Mapping[str, str] | None = None,
    step: float = 1.0,
) -> Path:
    """A label map as a palette PNG, which opens in colour everywhere; 16-bit grey if it must be.

    Numbers (H, W, P) are counts of ``step``, which the text has, 0 where they are NaN: one plane as
    grey, of 8 bits where a step is 1/255, else of 16; three as RGB.

    Args:
        path: ends in .png.
        labels: (H, W) uint8, or uint16 when there are more than 255 classes.
        palette: (K, 3) uint8.
        text: is kept in the file as PNG text (which model made it, for instance).
    """
    if labels.ndim == 3:
        told = {**(text or {}), "step": f"{step:.9g}"}
        return write_image(path, counts_of(labels, step), text=told)
    image = label_image(labels, palette)
    return atomic_write(path, lambda f: image.save(f, "PNG", pnginfo=_png_text(text)))


def counts_of(numbers: NDArray[Any], step: float) -> NDArray[Any]:
    """Numbers (H, W, P) as ``write_labels`` has them, counts of ``step``: (H, W) or (H, W, P)."""
    wide = numbers.shape[2] == 1 and step * 255 != 1
    counts = cast(np.nan_to_num(numbers / step), np.dtype(np.uint16 if wide else np.uint8))
    return counts[..., 0] if counts.shape[2] == 1 else counts


def _png_text(text: Mapping[str, str] | None) -> PngInfo:
    info = PngInfo()
    for key, value in (text or {}).items():
        info.add_text(key, value)
    return info


def text_in(path: Path) -> dict[str, str]:
    """What was kept in a PNG file as text; nothing of other files."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return dict(getattr(image, "text", {}))
    except (OSError, ValueError, SyntaxError):
        return {}


def write_image(
    path: Path, pixels: Array | NDArray[np.uint16], *, text: Mapping[str, str] | None = None
) -> Path:
    """(H, W, 3) uint8 as PNG or JPEG, by the suffix; (H, W) of 8 or 16 bits as a grey PNG.

    ``text`` is kept in a PNG file, as ``write_labels`` keeps it, and as JSON in a JPEG's EXIF.
    """
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    image, info, exif = Image.fromarray(pixels), _png_text(text), Image.Exif()
    if text and kind == "JPEG":
        exif[DESCRIPTION] = json.dumps(text)[:LONGEST_EXIF]
    # Each format leaves out the others' arguments.
    options: dict[str, Any] = {"quality": 92, "subsampling": 0, "pnginfo": info}
    options |= {"exif": exif} if len(exif) else {}
    return atomic_write(path, lambda f: image.save(f, kind, **options))


def encode(pixels: Array | Image.Image, kind: Literal["PNG", "JPEG"] = "PNG") -> bytes:
    """(H, W, 3) or (H, W) uint8, or a PIL image, as the bytes of a file."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    image.save(buffer, kind, quality=88)
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


def resize(
    image: NDArray[Any],
    size: tuple[int, int],
    *,
    method: Literal["bilinear", "nearest"] = "bilinear",
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[Any]:
    """An image of another size; bilinear is antialiased when it shrinks.

    Args:
        image: (H, W) or (H, W, B), of any dtype that ``pictures.reading`` gives.
        size: (height, width).
        method: bilinear for pictures, nearest for labels.
        box: (left, top, right, bottom) in pixels of ``image``: the part that is to fill the size.
    """
    if image.ndim == 3 and not (image.shape[2] == 3 and image.dtype == np.uint8):
        bands = np.moveaxis(image, 2, 0)
        return np.stack([resize(band, size, method=method, box=box) for band in bands], axis=2)
    kind = Image.Resampling.BILINEAR if method == "bilinear" else Image.Resampling.NEAREST
    # Pillow resizes further dtypes as float32, which holds 16 bits exactly.
    exact = image if image.dtype == np.uint8 else image.astype(np.float32)
    resized = np.asarray(Image.fromarray(exact).resize((size[1], size[0]), kind, box=box))
    return resized if resized.dtype == image.dtype else cast(resized, image.dtype)


def cast(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers as a dtype: of integers the nearest that it holds."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return values.round().clip(limits.min, limits.max).astype(dtype)


def mixed(image: Array, matrix: NDArray[Any], offset: float) -> Array:
    """A picture (H, W, 3) whose colours are ``matrix`` (3, 3) times the old, plus ``offset``.

    Rounded, and cut to 0..255.
    """
    # numpy multiplies many small vectors by a small matrix in 37 ms where this takes 2 (480x480).
    rows = [number for row in matrix.tolist() for number in (*row, offset)]
    changed: Array = np.asarray(Image.fromarray(image).convert("RGB", rows))
    return changed


def draw_legend(image: Array, names: Sequence[str], palette: Array) -> Array:
    """The picture with swatches of ``palette`` (len(names), 3) and names in a panel at its right.

    Returns:
        (H', W', 3) uint8, at least as high as the picture.
    """
    height, width = image.shape[:2]
    size = int(np.clip(height / 24, 11, 32))
    font = ImageFont.load_default(size)
    line = round(size * 1.5)
    text_width = max((font.getlength(name) for name in names), default=0)
    panel = round(text_width + 5 * size / 2) if names else 0
    full = Image.new("RGB", (width + panel, max(height, line * len(names) + size)), "white")
    full.paste(Image.fromarray(image))
    draw = ImageDraw.Draw(full)
    for i, (name, rgb) in enumerate(zip(names, palette.tolist(), strict=True)):
        x, y = width + size // 2, size // 2 + i * line
        draw.rectangle((x, y, x + size, y + size), tuple(rgb), outline=(90, 90, 90))
        draw.text((x + size + size // 2, y + size / 2), name, "black", font, anchor="lm")
    return np.asarray(full)


def side_by_side(pictures: Sequence[Array], words: Sequence[str]) -> Array:
    """Pictures (H, W, 3) of one size in a row on white, each under its word.

    Returns:
        (H + a line, a row of W, 3) uint8.
    """
    height, width = pictures[0].shape[:2]
    size = int(np.clip(height / 24, 11, 32))
    font, line, gap = ImageFont.load_default(size), round(size * 1.8), 8
    row = Image.new("RGB", (len(pictures) * (width + gap) - gap, line + height), "white")
    draw = ImageDraw.Draw(row)
    for i, (picture, word) in enumerate(zip(pictures, words, strict=True)):
        left = i * (width + gap)
        row.paste(Image.fromarray(picture), (left, line))
        while word and font.getlength(word) > width:  # a long name must not run into the next
            word = word[:-2] + "\u2026" if len(word) > 2 else ""
        draw.text((left, line / 2), word, "black", font, anchor="lm")
    return np.asarray(row)
