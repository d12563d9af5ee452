"""Large pictures and their label maps, neither of which need lie in memory.

A TIFF is mapped by tifffile, an extra: as it lies on the disk, or decoded to the disk, piece by
piece. What is in another format, or a TIFF of a rarer kind, is decoded in memory, in its own type.
"""

from __future__ import annotations

import json
import mmap
import secrets
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError, PixelwiseError
from pixelwise.labels import full_palette
from pixelwise.machine.files import PREFIX, allocated, atomic_write
from pixelwise.pictures.cubes import STORED, reduced_or_masks, tiff_reader
from pixelwise.pictures.imagefile import NO_DATA, ORIENTATION, file_bytes
from pixelwise.pictures.images import Array, counts_of
from pixelwise.pictures.reading import Values, decode
from pixelwise.pictures.recognise import kind_of

TILE = 256
"""Side of a label map's tiles, as GDAL and its readers have it; rows of a strip."""
READ = 2**24
"""Bytes (16 MiB) of a compressed TIFF that are decoded at a time."""
GEO = (33550, 33922, 34264, 34735, 34736, 34737)
"""GeoTIFF 1.1's tags: pixel scale, tie points, transformation, keys."""


@dataclass(frozen=True, eq=False)
class LargePicture:
    """A picture of which parts are looked at."""

    stored: NDArray[Any]
    """(H, W, bands), on the disk or in memory."""
    tags: tuple[tuple[Any, ...], ...] = ()
    """Of a GeoTIFF where it lies on the earth, as tifffile writes them."""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.stored.shape[0], self.stored.shape[1]

    def part(self, rows: slice, columns: slice) -> NDArray[Any]:
        """(h, w, bands), as ``reading`` gives it."""
        return np.ascontiguousarray(self.stored[rows, columns])


def open_large(
    path: Path, place: int | None, values: Values, folder: Path, bands: int = 0
) -> LargePicture:
    """A picture file; a compressed TIFF is decoded into ``folder``. ``bands`` as of ``decode``.

    Raises:
        DataError: those of ``decode``.
        ResourceError: R008 a TIFF without tifffile, R001 and R002 it cannot be decoded to the disk.
    """
    picture = _mapped(path, place, values, folder) if kind_of(path) == "TIFF" else None
    form: Any = {"values": values, "place": place, "bands": bands}
    return picture or LargePicture(decode(file_bytes(path), path, **form).shown)


def _mapped(path: Path, place: int | None, values: Values, folder: Path) -> LargePicture | None:
    """None: the file's numbers are not those of the picture."""
    tifffile = tiff_reader(path)
    decoded = folder / f"{PREFIX}{secrets.token_hex(8)}.tmp"
    try:
        with tifffile.TiffFile(path) as file:
            hidden = reduced_or_masks(file)
            page = file.pages[place or 0]
            plain = page.photometric in (1, 2) and page.tags.valueof(ORIENTATION, 1) == 1
            plain &= not {1, 2} & {*map(int, page.extrasamples)}  # alpha
            plain &= str(page.dtype) in {"8-bit": STORED[:1], "stored": STORED}.get(values, ())
            if not plain or page.bitspersample % 8 or (place is None and hidden.count(0) > 1):
                return None
            out: Any = "memmap"
            if not page.is_memmappable:
                folder.mkdir(parents=True, exist_ok=True)
                out = np.memmap(allocated(decoded, page.nbytes), page.dtype, "r+", shape=page.shape)
            stored = page.asarray(out=out, buffersize=READ)
            tags = [tag for tag in page.tags.values() if tag.code in (*GEO, NO_DATA)]
            kept = tuple((tag.code, tag.dtype, tag.count, tag.value, True) for tag in tags)
            if page.planarconfig == 2 and stored.ndim == 3:
                stored = np.moveaxis(stored, 0, 2)
            return LargePicture(stored.reshape(*stored.shape[:2], -1), kept)
    except PixelwiseError:
        raise
    except Exception as error:
        hint = "pip install imagecodecs, if its compression is the reason; or save it again"
        raise DataError("D020", f"{path}: cannot be read ({error})", hint) from error
    finally:
        with suppress(OSError):  # mapped, it stays until it is let go
            decoded.unlink(missing_ok=True)


def let_go(mapped: NDArray[Any]) -> None:
    """What was read of a mapped file, or written to it, is on the disk alone until it is asked."""
    if isinstance(mapped, np.memmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def write_png(
    path: Path, labels: NDArray[Any], palette: Array, text: Mapping[str, str], step: float = 1.0
) -> Path:
    """``images.write_labels`` of what is on the disk, a strip at a time."""
    (height, width), numbers = labels.shape[:2], labels.ndim == 3
    first_row = counts_of(labels[:1], step) if numbers else labels[:1]
    wide = first_row.dtype == np.uint16 if numbers else len(palette) > 255
    kind = (16 if wide else 8, 2 if first_row.ndim == 3 else 0)  # RGB, or grey
    if not numbers and not wide:
        kind = (8, 3)  # indices of a palette
    told = {**text, "step": f"{step:.9g}"} if numbers else text

    def write(f: BinaryIO) -> None:
        def chunk(name: bytes, data: bytes) -> None:
            f.write(struct.pack(">I", len(data)) + name + data)
            f.write(struct.pack(">I", zlib.crc32(data, zlib.crc32(name))))

        f.write(b"\x89PNG\r\n\x1a\n")
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *kind, 0, 0, 0))
        if kind == (8, 3):
            chunk(b"PLTE", full_palette(palette).tobytes())
        for key, value in told.items():
            chunk(b"iTXt", key.encode() + b"\0\0\0\0\0" + value.encode())
        packed = zlib.compressobj()
        for first in range(0, height, TILE):
            part = labels[first : first + TILE]
            part = (counts_of(part, step) if numbers else part).astype(">u2" if wide else "u1")
            rows = np.ascontiguousarray(part).reshape(len(part), -1).view(np.uint8)
            # Each row begins with its filter: none, as is best for indices (PNG 1.2, 9.6).
            chunk(b"IDAT", packed.compress(np.pad(rows, ((0, 0), (1, 0))).tobytes()))
            let_go(labels)
        chunk(b"IDAT", packed.flush())
        chunk(b"IEND", b"")

    return atomic_write(path, write)


def write_tiff(
    path: Path,
    labels: NDArray[Any],
    palette: Array,
    text: Mapping[str, str],
    tags: tuple[tuple[Any, ...], ...],
) -> Path:
    """The same as a tiled BigTIFF with a picture's geographic ``tags``; needs tifffile.

    Their value for "no data" is left out where it is a class's number, which would be hidden.
    Numbers (H, W, P) are written as they are, as floats.
    """
    from tifffile import TiffWriter

    count, look = len(palette), dict[str, Any](photometric="minisblack")
    if labels.ndim == 3:
        count, labels = 2**16, labels[..., 0] if labels.shape[2] == 1 else labels
        look |= {"planarconfig": "contig"}
    elif count <= 255:
        colours = full_palette(palette).T.astype(np.uint16) * 257
        look = {"photometric": "palette", "colormap": colours}
    look["extratags"] = [tag for tag in tags if tag[0] != NO_DATA or _is_free(tag[3], count)]
    form = {"tile": (TILE, TILE), "compression": "zlib", "metadata": None}

    def write(f: BinaryIO) -> None:
        with TiffWriter(f, bigtiff=True) as tiff:
            tiff.write(labels, description=json.dumps(text), **form, **look)

    return atomic_write(path, write)


def _is_free(value: str, count: int) -> bool:
    """Whether a number can stand in a label map and names none of so many classes."""
    return value.strip().isdecimal() and count <= int(value) <= (255 if count <= 255 else 65535)
