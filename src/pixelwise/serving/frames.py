"""How the service and its workers talk: a JSON head and byte strings, each with its length.

Nothing that arrives is executed, and a head that does not say what is expected ends the worker.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

Frame = tuple[dict[str, Any], list[bytes]]
LENGTH = struct.Struct("<Q")


def packed(head: dict[str, Any], blobs: Sequence[bytes] = ()) -> list[bytes]:
    """The parts of a frame, to be written one after another."""
    text = json.dumps({**head, "bytes": [len(b) for b in blobs]}).encode()
    return [LENGTH.pack(len(text)), text, *blobs]


def read(stream: BinaryIO) -> Frame | None:
    """The next frame of a pipe; None at its end."""
    prefix = stream.read(LENGTH.size)
    if len(prefix) < LENGTH.size:
        return None
    head = json.loads(stream.read(LENGTH.unpack(prefix)[0]))
    return head, [stream.read(count) for count in head.pop("bytes")]


async def received(stream: asyncio.StreamReader) -> Frame:
    """The next frame; ``IncompleteReadError`` where the other side has ended."""
    prefix = await stream.readexactly(LENGTH.size)
    head = json.loads(await stream.readexactly(LENGTH.unpack(prefix)[0]))
    return head, [await stream.readexactly(count) for count in head.pop("bytes")]
