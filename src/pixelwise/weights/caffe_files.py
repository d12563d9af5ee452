"""Caffe's two files of a net: the prototxt that describes it, the caffemodel that has its numbers.

Field numbers after caffe.proto (fact sheet 10.4). A caffemodel holds names, types, bottoms, tops
and blobs; Caffe matches by name, and takes settings from the prototxt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from pixelwise.errors import visible
from pixelwise.weights.caffe import Array, CaffeLayer
from pixelwise.weights.wire import BYTES

Piece = bytes | memoryview


def prototxt(name: str, layers: Iterable[CaffeLayer], comments: Iterable[str] = ()) -> str:
    """The text of a deploy net: its inputs are Input layers, nothing in it is for training."""
    lines = [f"# {visible(comment)}" for comment in comments]
    lines.append(f"name: {json.dumps(name)}")
    for layer in layers:
        texts: dict[str, tuple[str, ...]] = {"name": (layer.name,), "type": (layer.type,)}
        texts |= {"bottom": layer.bottoms, "top": layer.tops}
        quoted = {key: tuple(map(json.dumps, values)) for key, values in texts.items()}
        lines += _message("layer", quoted | dict(layer.settings), "")
    return "\n".join(lines) + "\n"


def _message(name: str, fields: Mapping[str, Any], indent: str) -> Iterator[str]:
    """A message in protobuf's text form; text in ``fields`` is written as it is."""
    yield f"{indent}{name} {{"
    for key, value in fields.items():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Mapping):
                yield from _message(key, one, f"{indent}  ")
            else:
                yield f"{indent}  {key}: {str(one).lower() if isinstance(one, bool) else one}"
    yield f"{indent}}}"


def caffemodel(name: str, layers: Iterable[CaffeLayer]) -> Iterator[Piece]:
    """The bytes of a NetParameter, piece by piece; blobs are views of the arrays, float32."""
    yield _chunk(1, name.encode())
    for layer in layers:
        texts = ((1, layer.name), (2, layer.type), *((3, b) for b in layer.bottoms))
        pieces: list[Piece] = [
            _chunk(number, text.encode())
            for number, text in (*texts, *((4, t) for t in layer.tops))
        ]
        for blob in layer.blobs:
            content = _blob(blob)
            pieces += [_head(7, content), *content]
        yield _head(100, pieces)
        yield from pieces


def _blob(array: Array) -> list[Piece]:
    numbers = np.ascontiguousarray(array, "<f4").reshape(-1).view(np.uint8).data
    shape = _chunk(7, _chunk(1, b"".join(map(_varint, array.shape))))
    return [shape, _head(5, [numbers]), numbers]


def _head(number: int, content: Iterable[Piece]) -> bytes:
    """Tag and length of a field that holds ``content``."""
    return _varint(number << 3 | BYTES) + _varint(sum(map(len, content)))


def _chunk(number: int, content: bytes) -> bytes:
    return _head(number, [content]) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))
