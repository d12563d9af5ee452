"""What kind of file a picture is, by its content; a suffix may be missing, unusual or wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
ARRAYS = ("NumPy", "MATLAB")
SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
        *(".npy", ".mat"),
    )
)
"""Of these formats; a file with another suffix is recognised by its content."""
HEAD = 132  # bytes, DICOM's mark ends there
_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WEBP": rb"RIFF.{4}WEBP",
    "BMP": rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",  # "BM" alone may begin a text
    "camera raw": rb"II\*\0.{4}CR|FUJIFILMCCD-RAW",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "HEIC": rb".{4}ftyp(hei[cmsx]|hev[cx]|mif1|msf1)",
    "AVIF": rb".{4}ftypavi[fs]",
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\0\0\0\x0cJXL |\xff\x0a",
    "Photoshop": rb"8BPS\0[\1\2]",
    "OpenEXR": rb"\x76\x2f\x31\x01",
    "PNM": rb"P[1-6]\s+(#|\d+\s)",
    "NumPy": rb"\x93NUMPY",
    "MATLAB": rb"MATLAB (5\.0|7\.3) MAT-file",
    "DICOM": rb".{128}DICM",
}
"""First bytes by kind, from the formats' specifications; those not in ``FORMATS`` are told."""
_RAW = frozenset((".nef", ".dng", ".arw", ".orf", ".rw2", ".pef", ".srw"))
"""Camera raw that is TIFF by its first bytes; the picture in front is a thumbnail."""


def kind_of(path: Path) -> str:
    """The format of a file by its first bytes: of ``FORMATS``, one that is not read, or empty."""
    try:
        if not path.is_file():  # a pipe would wait for a writer
            return ""
        with path.open("rb") as f:
            kind = kind_in(f.read(HEAD))
    except OSError:
        return ""
    return "camera raw" if kind == "TIFF" and path.suffix.lower() in _RAW else kind


def kind_in(head: bytes) -> str:
    """The format whose files begin with these bytes; empty if none that is known does."""
    kinds = (k for k, first in _SIGNATURES.items() if re.match(first, head, re.DOTALL))
    return next(kinds, "")


def is_picture(path: Path) -> bool:
    """A file that is to be read as a picture: by its suffix, else by its content."""
    return path.is_file() and (
        path.suffix.lower() in SUFFIXES or kind_of(path) in (*FORMATS, *ARRAYS)
    )


def chosen(paths: Sequence[Path]) -> list[Path]:
    """Of pictures in one folder those that are meant: a ``.mat`` beside others is about them."""
    return [path for path in paths if path.suffix.lower() != ".mat"] or list(paths)


def unread_kind(path: Path) -> str:
    """The format of a picture that is recognised but not read, as HEIC; else empty."""
    kind = "" if path.suffix.lower() in SUFFIXES else kind_of(path)
    return "" if kind in (*FORMATS, *ARRAYS) else kind
