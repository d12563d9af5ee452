"""What Schemathesis sends to a service where its schema asks for a picture: whole PNG files.

The schema cannot say what bytes are a picture. Run it beside this file, which is no test itself:

    pixelwise serve MODEL --port 8000 &
    cd tests/openapi
    export PYTHONPATH=. SCHEMATHESIS_HOOKS=pictures
    st run http://127.0.0.1:8000/openapi.json --max-examples 300
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import schemathesis
from hypothesis import strategies as st

KINDS = ("image/jpeg", "image/png", "image/webp", "image/bmp", "application/octet-stream")
LAYERS = ("conv1_1", "pool3", "score_fr", "score")


def png(height: int, width: int, step: int) -> bytes:
    """An RGB picture of a pattern."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    rows = (b"\0" + bytes((step * x + y) % 256 for x in range(3 * width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


for kind in KINDS:
    sizes = st.integers(1, 70)
    schemathesis.openapi.media_type(kind, st.builds(png, sizes, sizes, st.integers(0, 255)))


@schemathesis.hook
def map_query(context: Any, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """Names of layers that nets have, in place of most of those that none has."""
    if query and isinstance(layer := query.get("layer"), str) and len(layer) % 4:
        query["layer"] = LAYERS[len(layer) % len(LAYERS)]
    return query
