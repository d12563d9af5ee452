"""TIFF files of any depth, photometric reading, byte order and extra samples, by hand."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np


def write_tiff(
    path: Path,
    values: np.ndarray,
    bits: int,
    *,
    photometric: int = 1,
    order: str = "<",
    extra: tuple[int, ...] | None = None,
    sample_format: int = 1,
    compression: int = 1,
) -> Path:
    """One strip, chunky (TIFF 6.0, section 2).

    Args:
        path: of the file.
        values: (H, W) or (H, W, B), the numbers as they are to be stored.
        bits: of a sample; those of 1 to 15 are packed, the highest first, rows begin at a byte.
        photometric: 0 WhiteIsZero, 1 BlackIsZero, 2 RGB, 5 separated.
        order: ``<`` or ``>``.
        extra: the tag ExtraSamples: 0 unspecified, 1 associated alpha, 2 alpha.
        sample_format: 1 unsigned, 2 signed, 3 float.
        compression: 1 none, 8 deflate.
    """
    import zlib

    height, width, bands = values.reshape(*values.shape[:2], -1).shape
    if bits in (8, 16, 32, 64):
        kind = {1: "u", 2: "i", 3: "f"}[sample_format]
        data = values.astype(f"{order}{kind}{bits // 8}").tobytes()
    else:
        rows = values.reshape(height, -1).astype(np.uint32)
        planes = rows[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint32) & 1
        data = np.packbits(planes.reshape(height, -1).astype(np.uint8), axis=1).tobytes()
    data = zlib.compress(data) if compression == 8 else data
    tags = {
        256: [width],
        257: [height],
        258: [bits] * bands,
        259: [compression],
        262: [photometric],
        273: [8],
        277: [bands],
        278: [height],
        279: [len(data)],
        339: [sample_format] * bands,
    }
    if extra is not None:
        tags[338] = list(extra)
    start = 8 + len(data) + len(data) % 2
    place = start + 2 + 12 * len(tags) + 4
    entries, beyond = b"", b""
    for tag, numbers in sorted(tags.items()):
        wide = tag in (273, 279)
        packed = struct.pack(f"{order}{len(numbers)}{'L' if wide else 'H'}", *numbers)
        if len(packed) > 4:
            packed, beyond = struct.pack(f"{order}L", place + len(beyond)), beyond + packed
        entries += struct.pack(f"{order}HHL", tag, 4 if wide else 3, len(numbers))
        entries += packed.ljust(4, b"\0")
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HL", 42, start)
    body = data + b"\0" * (len(data) % 2)
    count = struct.pack(f"{order}H", len(tags))
    path.write_bytes(head + body + count + entries + bytes(4) + beyond)
    return path
