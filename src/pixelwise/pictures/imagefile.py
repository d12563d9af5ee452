"""Picture files by an allowed decoder, of a size that was checked, every fault with its reason.

Formats are an allow-list, and the number of pixels is checked from the header, before anything is
decoded: what a file claims costs nothing. A file's bytes are read once, by ``file_bytes``.
"""

from __future__ import annotations

import io
import math
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from pixelwise.errors import DataError, UsageError, hxw
from pixelwise.machine.memory import process_limit
from pixelwise.pictures.recognise import FORMATS, HEAD, kind_in, kind_of
from pixelwise.pictures.shards import archive_of, read_member

MAX_MEGAPIXELS = 64
"""Larger pictures are refused from the header; 64 MP is 192 MB of RGB."""
LIMIT = "PIXELWISE_MAX_MEGAPIXELS"
"""The environment variable that sets another limit, where there is the memory."""
BYTES_HELD = 6
"""Of a pixel whose picture is labelled in parts: three bands, its label, and as much while they are
read and written."""
MAX_BYTES = 2**30
"""Larger files are refused unread: 64 MP of four bands in 32 bits, not compressed."""
ORIENTATION = 0x0112  # EXIF tag
BITS, PHOTOMETRIC, EXTRA, SAMPLE_FORMAT = 258, 262, 338, 339  # TIFF 6.0 tags
NEW_SUBFILE_TYPE, NO_DATA = 254, 42113  # TIFF tags; GDAL's is text
PAGED = ("TIFF", "GIF", "WEBP")
"""Formats of pages or frames; a PNG of several is rare, and opening each PNG takes long."""
_JPEG_MODES = {"RGB": "RGB", "L": "GRAY"}  # simplejpeg's names; CMYK is left to Pillow
_quiet = threading.Lock()  # what is done to Python's warnings is done to those of all threads


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about itself before it is decoded; Pillow forgets part of it then."""

    orientation: int
    """EXIF, 1 to 8; 5 to 8 exchange width and height."""
    lossy: str
    """How its compression changes values, in two words; empty if it keeps them."""
    raw: str
    """Pillow's name for the layout of the numbers in the file, as ``L;4``; empty if it has none."""
    bits: int
    """Of one number: 1 to 16 in a TIFF, else 8 or 16."""
    white_is_zero: bool
    """A TIFF whose highest number is black."""
    signed: bool
    """A TIFF whose numbers may be below zero."""
    four_bands: bool
    """A TIFF whose fourth band is not alpha: its tag ExtraSamples does not say so."""
    high_byte: str
    """Of colours of 16 bits Pillow gives the high byte, which shows them; else empty."""
    loss: str
    """What else Pillow would change or drop of the numbers in the file; empty if nothing."""
    no_data: str = ""
    """What a GeoTIFF has in the pixels that hold nothing."""


def header_of(image: Image.Image, data: bytes = b"") -> ImageHeader:
    """What an opened picture says about itself; ``data`` is its file, for what Pillow drops."""
    mode, raw, given = image.mode, _stored_as(image), len(image.getbands())
    tags: Any = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    samples = tags.get(BITS, (1,)) if tags else (16 if "16" in raw + mode else 8,) * given
    bits, count, extra = max(samples), len(samples), tags.get(EXTRA, ())
    four = bool(tags) and count == 4 and mode in ("RGB", "RGBA") and extra[:1] not in ((1,), (2,))
    form, deep = {*tags.get(SAMPLE_FORMAT, (1,))}, bits > 8 and not mode.startswith(("I", "F"))
    high_byte = f"stored as {raw or mode}, {bits} bits a band, of which 8 would be read"
    loss = ""
    if count != given and not four:
        loss = f"a TIFF of {count} bands, of which {given} would be read"
    elif bits == 8 and 2 in form:
        loss = "stored as signed 8-bit numbers, whose -1 would be read as 255"
    elif form != {1} and tags.prefix == b"MM" and image.info.get("compression") != "raw":
        loss = "signed or float numbers, big-endian and compressed, whose bytes Pillow exchanges"
    return ImageHeader(
        orientation=_orientation(image),
        lossy=_lossy(image, data),
        raw=raw,
        bits=bits,
        white_is_zero=tags.get(PHOTOMETRIC) == 0,
        signed=2 in form,
        four_bands=four,
        high_byte=high_byte if deep else "",
        loss=loss,
        no_data=str(tags.get(NO_DATA, "")),
    )


def _lossy(image: Image.Image, data: bytes) -> str:
    inside = image.info.get("compression")
    if image.format == "TIFF" and inside in ("jpeg", "tiff_jpeg", "webp"):
        return f"TIFF with {inside} inside"
    if image.format == "WEBP" and _has_chunk(data, b"VP8 "):
        return "lossy WebP"
    return "JPEG" if image.format in ("JPEG", "MPO") else ""


def _has_chunk(data: bytes, wanted: bytes) -> bool:
    """Whether a RIFF file, or a frame of its animation, has a chunk of this name."""
    place = 12
    while len(head := data[place : place + 8]) == 8:
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == wanted:
            return True
        # A frame's chunks lie inside it, after 16 bytes of its own.
        place += 8 + (16 if name == b"ANMF" else size + size % 2)
    return False


def max_megapixels() -> int:
    """The limit on pictures: the usual one, or what fits where memory was limited on purpose.

    Raises:
        UsageError: U002 the environment names none.
    """
    text = os.environ.get(LIMIT) or str(MAX_MEGAPIXELS)
    if not text.isdecimal() or not int(text):
        raise UsageError("U002", f"{LIMIT} is {text}, expected a whole number", f"{LIMIT}=200")
    return max(int(text), process_limit() // (BYTES_HELD * 10**6))


def file_bytes(path: Path) -> bytes:
    """The content of a picture file, to be decoded (and hashed) without opening it again.

    It may lie in a tar (``pictures.shards``).

    Raises:
        DataError: D010 no such file, D020 empty or unreadable, D022 too large, D040 the tar that
            holds it is damaged.
    """
    archive = archive_of(path)
    if not (archive or path.is_file()):
        raise DataError("D010", f"{path}: no such file", "check the path")
    try:
        if archive:
            data = read_member(archive, path, MAX_BYTES + 1)
        else:
            with path.open("rb") as f:
                data = limited(f)
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror or error})"
        raise DataError("D020", message, "check its permissions and the disk") from error
    if not data:
        raise DataError("D020", f"{path}: cannot be read (0 bytes)", "save or copy it again")
    if len(data) > MAX_BYTES:
        raise _too_large(path, f"more than {MAX_BYTES / 2**30:.0f} GiB, the limit of a file")
    return data


def limited(f: BinaryIO) -> bytes:
    """An open file's bytes, and at most one more than ``MAX_BYTES``.

    ``read(n)`` takes n bytes of address space beforehand, which a limit of it may not have.
    """
    return f.read(min(MAX_BYTES, os.fstat(f.fileno()).st_size) + 1)


@contextmanager
def opened(
    data: bytes, path: Path, place: int | None = None
) -> Iterator[tuple[Image.Image, ImageHeader]]:
    """A file as Pillow decodes it, and its header; errors inside the block are the file's too.

    ``place`` is one of ``pages_in``; without it the file must hold one picture alone.

    Raises:
        DataError: D015 a format or kind of TIFF that is not read, D020 unreadable, D022 too many
            pixels, D025 several pictures.
    """
    limit = max_megapixels()
    try:
        with _open(io.BytesIO(data), limit) as image:
            image.seek(place or 0)
            width, height = image.size
            if width * height > limit * 1e6:
                size = f"{hxw((height, width))} (HxW) = {width * height / 1e6:,.0f} MP"
                needed = math.ceil(width * height / 1e6)
                raise _too_large(path, f"{size}, the limit is {limit} MP", needed)
            if place is None and (count := len(_pictures(image))) > 1:
                message = f"{path}: holds {count} pictures, expected one"
                raise DataError("D025", message, "save the one that is meant as a file of its own")
            header = header_of(image, data)
            yield _loaded(image, data), header
    except DataError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, far above ours
        raise _too_large(path, f"far more pixels than the limit of {limit} MP") from error
    except UnidentifiedImageError as error:
        raise _unidentified(data, path) from error
    except Exception as error:
        raise _unreadable(path, str(error) or type(error).__name__) from error


def _loaded(image: Image.Image, data: bytes) -> Image.Image:
    """An opened picture with its pixels; Pillow's own errors.

    A JPEG is decoded by simplejpeg where that is installed: the same library without Pillow's
    copies, the same numbers in a third of the time. What it does not take whole is left to Pillow.
    """
    decoder = _jpeg_decoder() if image.format == "JPEG" and image.mode in _JPEG_MODES else None
    if decoder:
        try:
            pixels = decoder(data, colorspace=_JPEG_MODES[image.mode])
            if pixels.shape[:2] == (image.height, image.width):
                return Image.fromarray(pixels if image.mode == "RGB" else pixels[..., 0])
        except ValueError:
            pass
    image.load()
    return image


@cache
def _jpeg_decoder() -> Any:
    try:
        return import_module("simplejpeg").decode_jpeg
    except ImportError:
        return None


def _unreadable(path: Path, reason: str) -> DataError:
    formats = f"known formats: {', '.join(FORMATS)}"
    return DataError("D020", f"{path}: cannot be read ({reason})", formats)


def _too_large(path: Path, what: str, megapixels: int = 0) -> DataError:
    """How to let it in, where its size is known, and how to cut a part of it."""
    part = f"Image.open('{path.name}').crop((0, 0, 8000, 8000)).save('{path.stem}-1.png')"
    cut = f'python -c "from PIL import Image; Image.MAX_IMAGE_PIXELS = None; {part}"'
    raised = f"{LIMIT}={megapixels} before the command raises the limit; or " if megapixels else ""
    hint = f"{raised}cut it: {cut}; or predict it with --max-memory 2GiB"
    return DataError("D022", f"{path}: {what}", hint)


def pages_in(path: Path) -> list[int]:
    """Where the pictures of a TIFF, GIF or WebP of several stand; empty for one alone.

    Also for what cannot be opened, which is told when it is read.
    """
    if path.suffix.lower() in (".jpg", ".jpeg", ".png") or kind_of(path) not in PAGED:
        return []
    try:
        with _open(path) as image:
            places = _pictures(image)
    except Exception:  # noqa: BLE001 - damaged in any way
        return []
    return places if len(places) > 1 else []


def _open(source: Path | io.BytesIO, megapixels: int = MAX_MEGAPIXELS) -> Image.Image:
    """Pillow warns of what is checked here anyway, and of harmless oddities of TIFF tags.

    It refuses twice its own limit; that is not lowered, so that sizes can be told.
    """
    before = Image.MAX_IMAGE_PIXELS
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS = max(before or 0, megapixels * 10**6)
        try:
            return Image.open(source, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _unidentified(data: bytes, path: Path) -> DataError:
    """Why Pillow knows no decoder: another format, a TIFF of unusual numbers, or no picture."""
    kind = kind_in(data[:HEAD])
    if kind == "TIFF":
        what = f"{path}: a TIFF of numbers that are not read (odd bits, WhiteIsZero, big-endian)"
        return DataError("D015", what, "save it as grey or RGB of 8 or 16 bits, BlackIsZero")
    if kind and kind not in FORMATS:
        message = f"{path}: a file in {kind}, which is not read"
        return DataError("D015", message, "convert it, e.g. to PNG")
    return _unreadable(path, "not a picture, or of a format that is not read")


def _pictures(image: Any) -> list[int]:
    """Where a file's pictures stand; a JPEG's further ones (MPO) and a TIFF's previews are none.

    Phones put a depth or brightness map behind the picture that they show; a TIFF marks previews
    and masks of another page in its tag 254 (TIFF 6.0, NewSubfileType, bits 0 and 2).
    """
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return [0]
    places = list(range(image.n_frames))
    if image.format != "TIFF":
        return places
    shown = []
    for place in places:
        image.seek(place)
        if not image.tag_v2.get(NEW_SUBFILE_TYPE, 0) & 0b101:
            shown.append(place)
    image.seek(0)
    return shown


def _stored_as(image: Image.Image) -> str:
    """Pillow's raw mode, from what it will tell the decoder."""
    tiles = getattr(image, "tile", ()) or [(None,) * 4]
    first = tiles[0][3] if isinstance(tiles[0][3], str) else (tiles[0][3] or ("",))[0]
    return first if isinstance(first, str) else ""


def orientation_in(data: bytes) -> int:
    """EXIF's of a picture's file; 1 of what Pillow does not open: TIFFs are turned, arrays not."""
    try:
        with _open(io.BytesIO(data)) as image:
            return _orientation(image)
    except UnidentifiedImageError:
        return 1


def _orientation(image: Image.Image) -> int:
    """EXIF's, 1 to 8; Pillow itself turns TIFF as it is decoded."""
    orientation = image.getexif().get(ORIENTATION, 1)
    if image.format == "TIFF" or not isinstance(orientation, int):
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def orientation_of(path: Path) -> int:
    """EXIF's orientation of a picture file, 1 to 8; nothing is decoded.

    Raises:
        DataError: those of ``file_bytes``.
    """
    data = file_bytes(path)
    # TIFF is turned anyway.
    return orientation_in(data) if any(m in data for m in (b"Exif", b"eXIf", b"EXIF")) else 1


def mode_of(path: Path) -> str:
    """Pillow's name for what a picture file holds, as ``P``; nothing is decoded.

    Raises:
        DataError: D020 unreadable.
    """
    try:
        with _open(io.BytesIO(file_bytes(path)) if archive_of(path) else path) as image:
            return image.mode
    except Exception as error:
        raise _unreadable(path, str(error) or type(error).__name__) from error
