"""Makes caffe_blobs.json: shape and SHA-256 of every blob, decoded by Google's protobuf.

An oracle independent of our reader. Run once, by hand, with the ``protobuf`` package importable:

    python tests/golden/make_caffe_blobs.py FOLDER/weights tests/golden/caffe_blobs.json

The descriptors below are the parts of caffe.proto that hold weights, by their field
numbers.
"""

from __future__ import annotations

import hashlib
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import google.protobuf
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

Proto = descriptor_pb2.FieldDescriptorProto
TYPES = {
    "int32": Proto.TYPE_INT32,
    "int64": Proto.TYPE_INT64,
    "float": Proto.TYPE_FLOAT,
    "double": Proto.TYPE_DOUBLE,
    "string": Proto.TYPE_STRING,
}
# message: field number, name, type; a star repeats it, an unknown type is a message.
MESSAGES = {
    "Shape": [(1, "dim", "*int64")],
    "Blob": [
        (1, "num", "int32"),
        (2, "channels", "int32"),
        (3, "height", "int32"),
        (4, "width", "int32"),
        (5, "data", "*float"),
        (7, "shape", "Shape"),
        (8, "double_data", "*double"),
    ],
    "V1Layer": [(4, "name", "string"), (6, "blobs", "*Blob")],
    "Layer": [(1, "name", "string"), (7, "blobs", "*Blob")],
    "Net": [(1, "name", "string"), (2, "layers", "*V1Layer"), (100, "layer", "*Layer")],
}


def net_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="c", syntax="proto2")
    for message, fields in MESSAGES.items():
        made = file.message_type.add(name=message)
        for number, name, kind in fields:
            plain = kind.removeprefix("*")
            field = made.field.add(name=name, number=number, label=3 if kind != plain else 1)
            field.type = TYPES.get(plain, Proto.TYPE_MESSAGE)
            if plain in ("int64", "float", "double"):
                field.options.packed = True
            if plain not in TYPES:
                field.type_name = f".c.{plain}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("c.Net"))


def blobs(net: Any) -> dict[str, list[int | str]]:
    found: dict[str, list[int | str]] = {}
    for layer in [*net.layers, *net.layer]:
        for i, blob in enumerate(layer.blobs):
            legacy = [blob.num, blob.channels, blob.height, blob.width]
            shape = legacy if blob.HasField("num") else list(blob.shape.dim)
            numbers = np.array(blob.data, "<f4").tobytes()
            found[f"{layer.name}#{i}"] = [*shape, hashlib.sha256(numbers).hexdigest()[:8]]
    return found


def main(folder: Path, out: Path) -> None:
    made = net_class()
    files = {}
    for path in sorted(folder.glob("*/*.caffemodel")):
        net = made.FromString(path.read_bytes())
        count = len(net.layers) + len(net.layer)
        name = path.relative_to(folder).as_posix()
        files[name] = {"layers": count, "blobs": blobs(net)}
    golden = {"made_by": f"protobuf {google.protobuf.__version__}, {date.today()}", "files": files}
    text = json.dumps(golden, separators=(",", ":"))
    out.write_text(text.replace("],", "],\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
