"""A picture file before it is decoded: an allowed decoder, a known size, faults that are told.

Formats are an allow-list, and the number of pixels is checked from the header, before anything is
decoded: what a file claims costs nothing.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from pixelwise.errors import DataError, hxw

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"))
MAX_PIXELS = 64_000_000
"""Larger pictures are refused from the header; 64 MP is 192 MB of RGB."""
ORIENTATION = 0x0112  # EXIF tag
NEW_SUBFILE_TYPE = 254  # TIFF tag
_quiet = threading.Lock()  # what is done to Python's warnings is done to those of all threads


@dataclass(frozen=True)
class ImageHeader:
    """What a file says about itself before it is decoded."""

    width: int
    height: int
    mode: str
    format: str
    orientation: int
    """EXIF, 1 to 8; 5 to 8 exchange width and height."""
    lossy: str
    """How its compression changes values, in two words; empty if it keeps them."""

    @property
    def shown_size(self) -> tuple[int, int]:
        """(height, width) after the turn that EXIF asks for."""
        turned = self.orientation >= 5
        return (self.width, self.height) if turned else (self.height, self.width)


def image_header(path: Path) -> ImageHeader:
    """What a file says about itself; nothing is decoded."""
    with opened(path) as image:
        kind = image.format or ""
        return ImageHeader(
            *image.size, image.mode, kind, orientation_of(image), _lossy(path, image, kind)
        )


def _lossy(path: Path, image: Image.Image, kind: str) -> str:
    """Pillow tells no longer once a file is decoded."""
    if kind == "TIFF" and image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp"):
        return f"TIFF with {image.info['compression']} inside"
    if kind == "WEBP" and _has_chunk(path, b"VP8 "):
        return "lossy WebP"
    return "JPEG" if kind in ("JPEG", "MPO") else ""


def _has_chunk(path: Path, wanted: bytes) -> bool:
    """Whether a RIFF file, or a frame of its animation, has a chunk of this name."""
    with path.open("rb") as f:
        f.seek(12)
        while len(head := f.read(8)) == 8:
            name, size = head[:4], int.from_bytes(head[4:], "little")
            if name == wanted:
                return True
            f.seek(16 if name == b"ANMF" else size + size % 2, 1)  # a frame's chunks lie inside it
    return False


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The file as Pillow opens it, nothing decoded yet; what goes wrong with it inside is told.

    Raises:
        DataError: D010 no such file, D020 unreadable, D022 too many pixels, D025 several pictures.
    """
    if not path.is_file():
        raise DataError("D010", f"{path}: no such file", "check the path")
    if not path.stat().st_size:
        raise DataError("D020", f"{path}: cannot be read (0 bytes)", "save or copy it again")
    try:
        with _open(path) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise DataError(
                    "D022",
                    f"{path}: {hxw((height, width))} (HxW) = {width * height / 1e6:,.0f} MP, "
                    f"the limit is {MAX_PIXELS / 1e6:.0f} MP",
                    "cut or shrink the picture",
                )
            if (count := _pictures(image)) > 1:
                raise DataError(
                    "D025",
                    f"{path}: holds {count} pictures, expected one",
                    "save the one that is meant as a file of its own",
                )
            yield image
    except DataError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own limit, far above ours
        raise DataError(
            "D022",
            f"{path}: far more pixels than the limit of {MAX_PIXELS / 1e6:.0f} MP",
            "cut or shrink the picture",
        ) from error
    except Exception as error:
        reason = (
            "not a picture, or of a format that is not read"
            if isinstance(error, UnidentifiedImageError)
            else str(error) or type(error).__name__
        )
        raise DataError(
            "D020", f"{path}: cannot be read ({reason})", f"known formats: {', '.join(FORMATS)}"
        ) from error


def _open(path: Path) -> Image.Image:
    """Pillow warns of what is checked here anyway, and of harmless oddities of TIFF tags."""
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(path, formats=FORMATS)


def _pictures(image: Any) -> int:
    """How many pictures a file holds; a JPEG's further ones (MPO) and a TIFF's previews are none.

    Phones put a depth or brightness map behind the picture that they show; a TIFF marks previews
    and masks of another page in its tag 254 (TIFF 6.0, NewSubfileType, bits 0 and 2).
    """
    if image.format == "MPO" or not getattr(image, "is_animated", False):
        return 1
    count: int = image.n_frames
    if image.format != "TIFF":
        return count
    kinds = []
    for page in range(count):
        image.seek(page)
        kinds.append(image.tag_v2.get(NEW_SUBFILE_TYPE, 0))
    image.seek(0)
    return sum(not kind & 0b101 for kind in kinds)


def stored_as(image: Image.Image) -> str:
    """Pillow's name for the layout of the numbers in the file, as ``L;4``; empty if it has none."""
    for tile in getattr(image, "tile", ()):
        found = tile[3] if isinstance(tile[3], str) else (tile[3] or ("",))[0]
        return found if isinstance(found, str) else ""
    return ""


def orientation_of(image: Image.Image) -> int:
    """EXIF's, 1 to 8; Pillow itself turns TIFF as it is decoded."""
    found = image.getexif().get(ORIENTATION, 1)
    if image.format == "TIFF" or not isinstance(found, int):
        return 1
    return found if 1 <= found <= 8 else 1
