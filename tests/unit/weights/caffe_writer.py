"""A small writer of the protobuf wire format, so that tests can make any file, good or hostile."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def chunk(field: int, payload: bytes | str) -> bytes:
    data = payload.encode() if isinstance(payload, str) else payload
    return varint(field << 3 | 2) + varint(len(data)) + data


def packed(field: int, values: Sequence[float], code: str = "f") -> bytes:
    return chunk(field, struct.pack(f"<{len(values)}{code}", *values))


def unpacked(field: int, values: Sequence[float], code: str = "f") -> bytes:
    tag = varint(field << 3 | (5 if code == "f" else 1))
    return b"".join(tag + struct.pack(f"<{code}", v) for v in values)


def shape(*dims: int) -> bytes:
    return chunk(7, chunk(1, b"".join(map(varint, dims))))


def legacy(*dims: int) -> bytes:
    return b"".join(number(i, d) for i, d in enumerate(dims, 1))


def layer(name: str, kind: str, *blobs: bytes, extra: bytes = b"") -> bytes:
    """A LayerParameter inside a NetParameter."""
    inner = chunk(1, name) + chunk(2, kind) + b"".join(chunk(7, b) for b in blobs) + extra
    return chunk(100, inner)


def v1_layer(name: str, kind: int, *blobs: bytes, extra: bytes = b"") -> bytes:
    """A V1LayerParameter inside a NetParameter."""
    inner = chunk(4, name) + number(5, kind) + b"".join(chunk(6, b) for b in blobs) + extra
    return chunk(2, inner)
