from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from caffe_writer import (
    chunk,
    layer,
    legacy,
    number,
    packed,
    shape,
    unpacked,
    v1_layer,
    varint,
)

from pixelwise.errors import ModelError
from pixelwise.weights.caffe import V1_TYPES, parse_caffemodel, read_caffemodel
from pixelwise.weights.load import from_caffe, read_weights

SMALL = chunk(1, "small") + layer(
    "conv1",
    "Convolution",
    shape(2, 1, 1, 2) + packed(5, [1, 2, 3, 4]),
    shape(2) + packed(5, [5, 6]),
    extra=chunk(3, "data") + chunk(4, "conv1") + number(10, 1),
)


def blob_of(data: bytes) -> np.ndarray:
    return parse_caffemodel(layer("a", "X", data)).layers[0].blobs[0]


def refused(data: bytes) -> ModelError:
    with pytest.raises(ModelError) as caught:
        parse_caffemodel(data, "evil")
    assert caught.value.code == "M002"
    return caught.value


def test_a_new_layer_is_read() -> None:
    model = parse_caffemodel(SMALL)
    (conv,) = model.layers
    assert (model.name, conv.name, conv.type) == ("small", "conv1", "Convolution")
    assert (conv.bottoms, conv.tops) == (("data",), ("conv1",))
    assert conv.blobs[0].tolist() == [[[[1, 2]]], [[[3, 4]]]]
    assert conv.blobs[1].tolist() == [5, 6]
    assert model.weight_bytes == 4 * 6


def test_a_v1_layer_is_read_with_its_legacy_shape() -> None:
    data = v1_layer(
        "ip", 14, legacy(1, 1, 2, 3) + packed(5, range(6)), legacy(1, 1, 1, 2) + packed(5, [7, 8]),
        extra=chunk(2, "in") + chunk(3, "out"),
    )  # fmt: skip
    (ip,) = parse_caffemodel(data).layers
    assert (ip.name, ip.type) == ("ip", "InnerProduct")
    assert [b.shape for b in ip.blobs] == [(1, 1, 2, 3), (1, 1, 1, 2)]
    assert (ip.bottoms, ip.tops) == (("in",), ("out",))


def test_the_v0_record_inside_v1_is_read() -> None:
    inner = chunk(1, "c") + chunk(2, "conv") + chunk(50, legacy(1, 1, 1, 1) + packed(5, [9]))
    inner += chunk(8, b"pad") + number(9, 1)
    model = parse_caffemodel(chunk(2, chunk(1, inner) + chunk(2, "data") + chunk(3, "c")))
    (conv,) = model.layers
    assert model.skipped == {"V0LayerParameter.8": 3, "V0LayerParameter.9": 1}
    assert (conv.name, conv.type) == ("c", "conv")
    assert (conv.bottoms, conv.blobs[0].item()) == (("data",), 9)


def test_both_layouts_in_one_file_are_kept_in_order() -> None:
    model = parse_caffemodel(v1_layer("old", 18) + layer("new", "ReLU") + v1_layer("older", 3))
    assert [(x.name, x.type) for x in model.layers] == [
        ("old", "ReLU"),
        ("new", "ReLU"),
        ("older", "Concat"),
    ]


def test_v1_types_have_the_numbers_of_caffe_proto() -> None:
    known = {1: "Accuracy", 4: "Convolution", 14: "InnerProduct", 15: "LRN", 17: "Pooling"}
    known |= {20: "Softmax", 21: "SoftmaxWithLoss", 25: "Eltwise", 33: "Slice", 39: "Deconvolution"}
    assert {n: V1_TYPES[n] for n in known} == known
    assert len(V1_TYPES) == 40
    assert parse_caffemodel(v1_layer("x", 77)).layers[0].type == "V1LayerType 77"


def test_floats_may_be_packed_or_not_or_both() -> None:
    values = [float(i) for i in range(100)]
    assert blob_of(shape(100) + unpacked(5, values)).tolist() == values
    mixed = packed(5, values[:10]) + unpacked(5, values[10:60]) + packed(5, values[60:])
    assert blob_of(shape(100) + mixed).tolist() == values
    interrupted = unpacked(5, values[:3]) + number(99, 1) + unpacked(5, values[3:])
    assert blob_of(shape(100) + interrupted).tolist() == values


def test_doubles_win_over_floats() -> None:
    blob = blob_of(shape(2) + packed(5, [1, 2]) + packed(8, [3.5, 4.5], "d"))
    assert (blob.tolist(), blob.dtype) == ([3.5, 4.5], np.float64)
    assert blob_of(shape(2) + unpacked(8, [3.5, 4.5], "d")).tolist() == [3.5, 4.5]


def test_any_legacy_number_makes_a_legacy_blob() -> None:
    assert blob_of(legacy(1, 1, 2, 2) + shape(4) + packed(5, range(4))).shape == (1, 1, 2, 2)


def test_a_blob_without_axes_is_one_number() -> None:
    assert blob_of(chunk(7, b"") + packed(5, [3])).shape == ()
    assert blob_of(packed(5, [3])).item() == 3


def test_diffs_and_unknown_fields_are_skipped_and_counted() -> None:
    blob = shape(1) + packed(5, [1]) + packed(6, [2]) + packed(9, [2], "d")
    data = layer("a", "X", blob, extra=chunk(777, b"xyz")) + number(3000, 5)
    model = parse_caffemodel(data)
    assert model.layers[0].blobs[0].item() == 1
    assert model.skipped == {
        "BlobProto.6": 4,
        "BlobProto.9": 8,
        "LayerParameter.777": 3,
        "NetParameter.3000": 1,
    }
    assert model.weight_bytes + model.structure_bytes + sum(model.skipped.values()) == len(data)


def test_unpacked_runs_are_accounted_for() -> None:
    data = layer("a", "X", shape(50) + unpacked(5, [1.0] * 50) + unpacked(6, [1.0] * 50))
    model = parse_caffemodel(data)
    assert model.weight_bytes == 200
    assert model.skipped == {"BlobProto.6": 200}
    assert model.weight_bytes + model.structure_bytes + 200 == len(data)


def test_learning_rates_are_skipped_and_counted() -> None:
    spec = unpacked(3, [2]) + unpacked(4, [0])
    new = parse_caffemodel(layer("a", "X", extra=chunk(6, spec) + number(10, 1)))
    assert new.skipped == {"LayerParameter.6": 10, "LayerParameter.10": 1}
    old = parse_caffemodel(v1_layer("a", 4, extra=packed(7, [1, 2]) + unpacked(8, [1, 0])))
    assert old.skipped == {"V1LayerParameter.7": 8, "V1LayerParameter.8": 8}


def test_what_a_layer_in_python_is_told_is_read_and_all_of_it_accounted_for() -> None:
    told = "{'tops': ['hha', 'label']}"
    python = chunk(1, "nyud_layers") + chunk(2, "NYUDSegDataLayer") + chunk(3, told)
    data = layer("data", "Python", extra=chunk(130, python)) + layer(
        "long", "Python", extra=(chunk(130, chunk(3, "x" * 5000)))
    )
    model = parse_caffemodel(data)
    assert [r.param_str for r in model.layers] == [told, ""]
    # module, layer, and a text longer than any of the release
    assert model.skipped == {
        "PythonParameter.1": 11,
        "PythonParameter.2": 16,
        "PythonParameter.3": 5000,
    }
    assert model.structure_bytes + sum(model.skipped.values()) == len(data)


def test_names_that_cannot_be_shown_are_escaped() -> None:
    (only,) = parse_caffemodel(chunk(100, chunk(1, b"a\x1b[31m\xff"))).layers
    assert only.name.isprintable()
    assert only.name == "a\\x1b[31m\\xff"


# -- hostile files ----------------------------------------------------------------------------
HOSTILE = {
    "nothing": b"",
    "no layers": chunk(1, "x"),
    "layer longer than the file": varint(100 << 3 | 2) + varint(1 << 40) + b"abc",
    "length of 2^63": varint(100 << 3 | 2) + varint(1 << 63),
    "number without end": b"\xa2\x06" + b"\xff" * 20,
    "number of 70 bits": varint(2 << 3) + b"\xff" * 9 + b"\x7f",
    "field number 0": b"\x00\x01" + SMALL,
    "group": SMALL + varint(5 << 3 | 3),
    "wire type 7": SMALL + varint(5 << 3 | 7),
    "layer that is a number": number(100, 5),
    "name that is a number": number(1, 5) + SMALL,
    "blob that is a number": chunk(100, number(7, 3)),
    "shape without data": layer("a", "X", shape(1 << 40, 1 << 40)),
    "vast axis beside none": layer("a", "X", shape(0, 1 << 62)),
    "negative axis": layer("a", "X", shape(-1, -4) + packed(5, range(4))),
    "more numbers than the shape": layer("a", "X", shape(3) + packed(5, range(4))),
    "too many axes": layer("a", "X", shape(*[1] * 33) + packed(5, [1])),
    "floats of 7 bytes": layer("a", "X", shape(1) + chunk(5, b"1234567")),
    "legacy axis as float": layer("a", "X", unpacked(1, [1.0]) + packed(5, [1])),
    "long name": layer("a" * 5000, "X"),
    "17 blobs": layer("a", "X", *[shape(1) + packed(5, [1])] * 17),
    "10,001 layers": layer("a", "X") * 10_001,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_with_its_place(case: str) -> None:
    error = refused(HOSTILE[case])
    assert str(error).startswith("evil: damaged at byte ")


def test_a_claimed_size_allocates_nothing() -> None:
    data = layer("a", "X", shape(1 << 20, 1 << 20) + packed(5, [1, 2]))
    tracemalloc.start()
    refused(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_three_megabytes_of_empty_fields_are_refused_quickly() -> None:
    start = time.process_time()
    assert "more fields" in str(refused(number(3, 0) * 1_500_000))
    assert time.process_time() - start < 5


def test_a_million_unpacked_floats_take_no_python_list() -> None:
    records = np.empty((1_000_000, 5), np.uint8)
    records[:, 0] = 5 << 3 | 5
    records[:, 1:] = np.arange(1_000_000, dtype="<f4").view(np.uint8).reshape(-1, 4)
    data = layer("a", "X", shape(1000, 1000) + records.tobytes())
    tracemalloc.start()
    (only,) = parse_caffemodel(data).layers
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert only.blobs[0][999, 999] == 999_999
    assert peak < 3 * 4_000_000


def test_every_cut_of_a_file_is_refused_or_whole() -> None:
    for length in range(len(SMALL)):
        if length == len(chunk(1, "small")):
            continue  # a net without layers, another sentence
        assert "damaged at byte" in str(refused(SMALL[:length]))


def test_five_thousand_damaged_files_raise_model_errors_only() -> None:
    wild = random.Random(0)
    whole = (
        SMALL
        + v1_layer("ip", 14, legacy(1, 1, 2, 2) + unpacked(5, range(4)), extra=packed(7, [1, 2]))
        + layer("bn", "BatchNorm", *[shape(1) + packed(5, [2.0])] * 3, extra=chunk(6, b"\x1d0000"))
        + layer("d", "X", shape(2) + packed(8, [1, 2], "d"), extra=chunk(106, b"abc"))
    )
    read, codes = 0, set[str]()
    start = time.process_time()
    for _ in range(5000):
        data = bytearray(whole)
        for _ in range(wild.choice((1, 1, 2, 8))):
            at = wild.randrange(len(data))
            match wild.randrange(4):
                case 0:
                    data[at] = wild.randrange(256)
                case 1:
                    data[at] ^= 1 << wild.randrange(8)
                case 2:
                    del data[at : at + wild.randrange(1, 9)]
                case _:
                    data[at:at] = wild.randbytes(wild.randrange(1, 9))
            if not data:
                data = bytearray(b"\0")
        try:
            model = parse_caffemodel(bytes(data))
        except ModelError as error:
            codes.add(error.code)
        else:
            read += 1
            from_caffe(model)
            assert model.weight_bytes <= len(data)
    assert time.process_time() - start < 30
    assert 0 < read < 5000
    assert codes == {"M002"}


# -- files ------------------------------------------------------------------------------------
def test_a_file_is_read_through_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "small.caffemodel"
    path.write_bytes(SMALL)
    model = read_caffemodel(path)
    path.write_bytes(b"x")  # the arrays are copies, the file is free again
    assert model.layers[0].blobs[1].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("content", "code", "text"),
    [
        (b"", "M002", "empty file"),
        (b"\x89HDF\r\n\x1a\n...", "M011", "HDF5"),
        (b"PK\x03\x04....", "M002", "damaged torch file"),
        (b"\x80\x04\x95........", "M010", "can run code"),
        (b'name: "LeNet"\nlayer {\n', "M011", "text file"),
        (b"\n# begins like a net's name", "M011", "text file"),
        (b'"quoted", like an input', "M011", "text file"),
        ("8 Gewichte, gewöhnliche".encode()[:18], "M011", "text file"),  # cut within a letter
        (b"\xf3\x01\x02\x03", "M002", "no known weight format"),
    ],
)
def test_what_is_no_caffe_file_is_called_by_its_name(
    tmp_path: Path, content: bytes, code: str, text: str
) -> None:
    path = tmp_path / "net.caffemodel"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=text) as caught:
        read_weights(path)
    assert caught.value.code == code


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist") as caught:
        read_weights(tmp_path / "no.caffemodel")
    assert caught.value.code == "M001"
