"""Reads ``.caffemodel`` files without Caffe and without the protobuf package.

Three generations of the format, after caffe.proto: ``layer`` (field 100, since 2014), ``layers``
(field 2, V1) and the V0 record inside V1 (2013). Blobs carry a ``BlobShape`` or the legacy four
numbers; floats packed or not; doubles win over floats, as in Caffe's ``Blob::FromProto``.
"""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.errors import ModelError
from pixelwise.weights.wire import (
    FIXED32,
    FIXED64,
    MAX_TEXT,
    VARINT,
    Buffer,
    Field,
    WireReader,
    signed,
)

MAX_FILE = 2 << 30  # protobuf itself cannot write more
MAX_LAYERS = 10_000  # ResNet-152 has about 700
MAX_BLOBS = 16  # no layer of Caffe's own has more than 4 (LSTM)
MAX_AXES = 32  # kMaxBlobAxes in caffe/blob.hpp

Array = npt.NDArray[np.floating]

# caffe.proto, V1LayerParameter.LayerType, and upgrade_proto.cpp for today's names.
_V1_NAMES = """
None Accuracy BNLL Concat Convolution Data Dropout EuclideanLoss Flatten HDF5Data HDF5Output Im2col
ImageData InfogainLoss InnerProduct LRN MultinomialLogisticLoss Pooling ReLU Sigmoid Softmax
SoftmaxWithLoss Split TanH WindowData Eltwise Power SigmoidCrossEntropyLoss HingeLoss MemoryData
ArgMax Threshold DummyData Slice MVN AbsVal Silence ContrastiveLoss Exp Deconvolution"""
V1_TYPES: Mapping[int, str] = dict(enumerate(_V1_NAMES.split()))


# caffe.proto: what the fields of a layer record hold, in its three generations. The names, blobs
# and type of the first stand in a V0 record; the V1 record around it has bottoms and tops.
_ROLES: Mapping[str, Mapping[int, str]] = {
    "LayerParameter": {1: "name", 2: "type", 3: "bottom", 4: "top", 7: "blob", 130: "python"},
    "V1LayerParameter": {1: "v0", 2: "bottom", 3: "top", 4: "name", 5: "type", 6: "blob"},
    "V0LayerParameter": {1: "name", 2: "type", 50: "blob"},
}


@dataclass(frozen=True)
class CaffeLayer:
    """One layer as stored; ``blobs`` in Caffe's order (weights, bias, ...)."""

    name: str
    type: str
    blobs: tuple[Array, ...] = ()
    bottoms: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What a prototxt says beside (``convolution_param``, ...); not read, only written."""
    param_str: str = ""
    """What a layer in Python is told; of the release's data layers, which inputs they give."""


@dataclass(frozen=True)
class CaffeModel:
    """A decoded file, and where every one of its bytes went."""

    name: str
    layers: tuple[CaffeLayer, ...]
    weight_bytes: int
    structure_bytes: int
    """Tags, lengths, names, shapes: all that was read and is no weight."""
    skipped: Mapping[str, int]
    """Bytes in fields that hold no weights, by ``Message.number`` of caffe.proto."""


def read_caffemodel(path: Path | str) -> CaffeModel:
    """Decode the file at ``path``, or say (M002) at which byte it is damaged or no Caffe file.

    Peak memory is about the file's size.
    """
    path = Path(path)
    with path.open("rb") as f:
        size = path.stat().st_size
        if size > MAX_FILE:
            message = f"{path}: {size:,} bytes; a .caffemodel has at most 2 GiB"
            raise ModelError("M002", message, "expected a file that Caffe wrote")
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
        name, layers, size = "", list[CaffeLayer](), len(self.wire.data)
        for part in self.wire.fields(0, size):
            if part.number == 1:
                name = self.wire.text(part)
            elif part.number in (2, 100):
                if len(layers) == MAX_LAYERS:
                    raise self.wire.fail(part.at, f"more than {MAX_LAYERS:,} layers")
                v1 = part.number == 2
                layers.append(self._layer(part, "V1LayerParameter" if v1 else "LayerParameter"))
            else:
                self._skip("NetParameter", part)
        if not layers:
            raise self.wire.fail(size, "no layers; this is no .caffemodel")
        assert self.wire.bytes_walked == size, "a byte was lost or read twice"
        structure = self.wire.bytes_walked - self.weight_bytes - self.skipped.total()
        return CaffeModel(name, tuple(layers), self.weight_bytes, structure, dict(self.skipped))

    def _skip(self, message: str, part: Field) -> None:
        tags = part.times - 1  # tags inside a run are structure
        self.skipped[f"{message}.{part.number}"] += part.end - part.start - tags

    def _layer(self, record: Field, message: str) -> CaffeLayer:
        roles = ("name", "type", "bottom", "top", "param_str")
        texts: dict[str, list[str]] = {role: [] for role in roles}
        blobs = list[Array]()
        inner: CaffeLayer | None = None
        for part in self.wire.enter(record):
            match _ROLES[message].get(part.number):
                case None:
                    self._skip(message, part)
                case "blob":
                    if len(blobs) == MAX_BLOBS:
                        raise self.wire.fail(part.at, f"more than {MAX_BLOBS} blobs in one layer")
                    blobs.append(self._blob(part))
                case "python":
                    texts["param_str"] += self._param_str(part)
                case "v0":
                    inner = self._layer(part, "V0LayerParameter")
                case "type" if message == "V1LayerParameter":
                    self.wire.expect(part, VARINT)
                    texts["type"].append(V1_TYPES.get(part.value, f"V1LayerType {part.value}"))
                case role:
                    texts[role].append(self.wire.text(part))
        # protobuf: of a field that is given twice the last one counts
        name, kind, told = ("".join(texts[role][-1:]) for role in ("name", "type", "param_str"))
        layer = inner or CaffeLayer(name, kind, tuple(blobs), param_str=told)
        return replace(layer, bottoms=tuple(texts["bottom"]), tops=tuple(texts["top"]))

    def _param_str(self, record: Field) -> Iterator[str]:
        """Field 3 of a PythonParameter; longer ones are not of the release."""
        for part in self.wire.enter(record):
            if part.number == 3 and part.end - part.start <= MAX_TEXT:
                yield self.wire.text(part)
            else:
                self._skip("PythonParameter", part)

    def _blob(self, record: Field) -> Array:
        legacy: dict[int, int] = {}
        shape: list[int] = []
        floats, doubles = list[Field](), list[Field]()
        for part in self.wire.enter(record):
            match part.number:
                case 1 | 2 | 3 | 4:
                    self.wire.expect(part, VARINT)
                    legacy[part.number] = signed(part.value)
                case 5:
                    floats.append(part)
                case 7:
                    shape = self._shape(part)
                case 8:
                    doubles.append(part)
                case _:
                    self._skip("BlobProto", part)
        if legacy:  # Caffe: any of the four makes it a legacy blob, the absent ones are 0
            shape = [legacy.get(i, 0) for i in (1, 2, 3, 4)]
        if doubles:
            for part in floats:
                self._skip("BlobProto", part)
        values = self.wire.array(doubles or floats, FIXED64 if doubles else FIXED32)
        self.weight_bytes += values.nbytes
        # An axis of 0 would hide absurd ones beside it from the product.
        absurd = math.prod(max(axis, 1) for axis in shape) > MAX_FILE
        if absurd or min(shape, default=0) < 0 or math.prod(shape) != values.size:
            written = "x".join(map(str, shape)) or "()"
            what = f"a blob of shape {written} holds {values.size:,} numbers"
            raise self.wire.fail(record.at, what)
        return values.reshape(shape)

    def _shape(self, record: Field) -> list[int]:
        axes: list[int] = []
        for part in self.wire.enter(record):
            if part.number != 1:
                self._skip("BlobShape", part)
                continue
            for axis in self.wire.integers(part):
                axes.append(axis)
                if len(axes) > MAX_AXES:
                    raise self.wire.fail(record.at, f"a blob of more than {MAX_AXES} axes")
        return axes
