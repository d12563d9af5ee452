"""Reads ``.caffemodel`` files without Caffe and without the protobuf package.

Three generations of the format, after caffe.proto: ``layer`` (field 100, since 2014), ``layers``
(field 2, V1) and the V0 record inside V1 (2013). Blobs carry a ``BlobShape`` or the legacy four
numbers; floats packed or not; doubles win over floats, as in Caffe's ``Blob::FromProto``.
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from pixelwise.errors import ModelError
from pixelwise.weights.wire import FIXED32, FIXED64, VARINT, Buffer, Field, WireReader, signed

MAX_FILE = 2 << 30  # protobuf itself cannot write more
MAX_LAYERS = 10_000
MAX_BLOBS = 16
MAX_AXES = 32  # kMaxBlobAxes in caffe/blob.hpp

Layout = Literal["layer", "layers", "v0"]
Array = npt.NDArray[np.floating]

# caffe.proto, V1LayerParameter.LayerType, and upgrade_proto.cpp for today's names.
_V1_NAMES = """
None Accuracy BNLL Concat Convolution Data Dropout EuclideanLoss Flatten HDF5Data HDF5Output Im2col
ImageData InfogainLoss InnerProduct LRN MultinomialLogisticLoss Pooling ReLU Sigmoid Softmax
SoftmaxWithLoss Split TanH WindowData Eltwise Power SigmoidCrossEntropyLoss HingeLoss MemoryData
ArgMax Threshold DummyData Slice MVN AbsVal Silence ContrastiveLoss Exp Deconvolution"""
V1_TYPES: Mapping[int, str] = MappingProxyType(dict(enumerate(_V1_NAMES.split())))


@dataclass(frozen=True)
class _Numbers:
    """The field numbers of one generation of layer records."""

    name: int
    type: int
    blobs: int
    bottom: int
    top: int


_FIELDS: Mapping[Layout, _Numbers] = {
    "layer": _Numbers(name=1, type=2, blobs=7, bottom=3, top=4),
    "layers": _Numbers(name=4, type=5, blobs=6, bottom=2, top=3),
    "v0": _Numbers(name=1, type=2, blobs=50, bottom=-1, top=-1),  # the V1 record around it has them
}


@dataclass(frozen=True)
class CaffeLayer:
    """One layer as stored; ``blobs`` in Caffe's order (weights, bias, ...)."""

    name: str
    type: str
    blobs: tuple[Array, ...] = ()
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaffeModel:
    """A decoded file, and where every one of its bytes went."""

    name: str
    layers: tuple[CaffeLayer, ...]
    size: int = 0
    """Bytes of the file = ``weight_bytes`` + ``structure_bytes`` + the sum of ``skipped``."""
    weight_bytes: int = 0
    structure_bytes: int = 0
    """Tags, lengths, names, shapes: all that was read and is no weight."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Bytes in fields that hold no weights, by ``Message.number`` of caffe.proto."""

    @property
    def parameters(self) -> int:
        """Numbers in all blobs."""
        return sum(blob.size for layer in self.layers for blob in layer.blobs)


def read_caffemodel(path: Path | str) -> CaffeModel:
    """Decode the file at ``path``; peak memory is about the file's size.

    Raises:
        ModelError: M002 damaged or no Caffe file, with the byte offset.
    """
    path = Path(path)
    with path.open("rb") as f:
        size = path.stat().st_size
        if size > MAX_FILE:
            raise ModelError(
                "M002",
                f"{path}: {size:,} bytes; a .caffemodel has at most 2 GiB",
                "expected a file that Caffe wrote",
            )
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    return parse_caffemodel(data, str(path))


def parse_caffemodel(data: Buffer, source: str = "caffemodel") -> CaffeModel:
    """Decode ``data``, a whole NetParameter; ``source`` names it in errors."""
    return _Decoder(WireReader(data, source)).model()


class _Decoder:
    """The walk through one file, with a tally of what was passed over."""

    def __init__(self, wire: WireReader) -> None:
        self.wire = wire
        self.skipped: Counter[str] = Counter()
        self.weight_bytes = 0

    def model(self) -> CaffeModel:
        name, layers = "", list[CaffeLayer]()
        for part in self.wire.fields(0, len(self.wire.data)):
            if part.number == 1:
                name = self.wire.text(part)
            elif part.number in (2, 100):
                if len(layers) == MAX_LAYERS:
                    raise self.wire.fail(part.at, f"more than {MAX_LAYERS:,} layers")
                layers.append(self._layer(part, "layers" if part.number == 2 else "layer"))
            else:
                self._skip("NetParameter", part)
        if not layers:
            raise self.wire.fail(len(self.wire.data), "no layers; this is no .caffemodel")
        return self._balanced(name, layers)

    def _balanced(self, name: str, layers: list[CaffeLayer]) -> CaffeModel:
        wire, size = self.wire, len(self.wire.data)
        skipped = sum(self.skipped.values())
        values = wire.payload_bytes - self.weight_bytes - skipped
        structure = wire.structure_bytes + values
        assert structure + self.weight_bytes + skipped == size, "a byte was lost or read twice"
        return CaffeModel(
            name, tuple(layers), size, self.weight_bytes, structure, dict(self.skipped)
        )

    def _skip(self, message: str, part: Field) -> None:
        tags = part.times - 1  # tags inside a run are structure
        self.skipped[f"{message}.{part.number}"] += part.end - part.start - tags

    def _layer(self, record: Field, layout: Layout) -> CaffeLayer:
        numbers = _FIELDS[layout]
        texts: dict[int, list[str]] = {numbers.name: [], numbers.bottom: [], numbers.top: []}
        blobs = list[Array]()
        kind = ""
        inner: CaffeLayer | None = None
        for part in self.wire.enter(record):
            if part.number in texts:
                texts[part.number].append(self.wire.text(part))
            elif part.number == numbers.type:
                kind = self._type(part, layout)
            elif part.number == numbers.blobs:
                if len(blobs) == MAX_BLOBS:
                    raise self.wire.fail(part.at, f"more than {MAX_BLOBS} blobs in one layer")
                blobs.append(self._blob(part))
            elif layout == "layers" and part.number == 1:
                inner = self._layer(part, "v0")
            else:
                self._skip("LayerParameter" if layout == "layer" else "V1LayerParameter", part)
        name = texts[numbers.name][-1] if texts[numbers.name] else ""
        layer = inner or CaffeLayer(name, kind, tuple(blobs))
        ends = tuple(texts[numbers.bottom]), tuple(texts[numbers.top])
        return replace(layer, bottoms=ends[0], tops=ends[1])

    def _type(self, part: Field, layout: Layout) -> str:
        if layout != "layers":
            return self.wire.text(part)
        self.wire.expect(part, VARINT)
        return V1_TYPES.get(part.value, f"V1LayerType {part.value}")

    def _blob(self, record: Field) -> Array:
        legacy: dict[int, int] = {}
        shape: list[int] | None = None
        floats, doubles = list[Field](), list[Field]()
        for part in self.wire.enter(record):
            if part.number in (1, 2, 3, 4):
                self.wire.expect(part, VARINT)
                legacy[part.number] = signed(part.value)
            elif part.number == 5:
                floats.append(part)
            elif part.number == 8:
                doubles.append(part)
            elif part.number == 7:
                shape = self._shape(part)
            else:
                self._skip("BlobProto", part)
        if legacy:  # Caffe: any of the four makes it a legacy blob, the absent ones are 0
            shape = [legacy.get(i, 0) for i in (1, 2, 3, 4)]
        if doubles:
            for part in floats:
                self._skip("BlobProto", part)
            return self._shaped(doubles, FIXED64, shape or [], record)
        return self._shaped(floats, FIXED32, shape or [], record)

    def _shape(self, record: Field) -> list[int]:
        dims: list[int] = []
        for part in self.wire.enter(record):
            if part.number == 1:
                dims += self.wire.integers(part, MAX_AXES)
            else:
                self._skip("BlobShape", part)
            if len(dims) > MAX_AXES:
                raise self.wire.fail(record.at, f"a blob of more than {MAX_AXES} axes")
        return dims

    def _shaped(self, parts: list[Field], kind: int, shape: list[int], record: Field) -> Array:
        values = self.wire.array(parts, kind)
        self.weight_bytes += values.nbytes
        absurd = math.prod(max(axis, 1) for axis in shape) > MAX_FILE
        if absurd or min(shape, default=0) < 0 or math.prod(shape) != values.size:
            written = "x".join(map(str, shape)) or "()"
            what = f"a blob of shape {written} holds {values.size:,} numbers"
            raise self.wire.fail(record.at, what)
        return values.reshape(shape)
