from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.errors import ModelError
from pixelwise.weights.sniff import TORCH_LEGACY, sniff

# A field of NetParameter each: name, V1 layer, inputs and their shapes, force_backward, state,
# debug_info, their shapes as blobs, layer.
CAFFE = [b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x28", b"\x32", b"\x38", b"\x42", b"\xa2\x06"]


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x0a\x05LeNet", "caffe"),
        *((first + b"\x05\x00....", "caffe") for first in CAFFE),
        (b"\xa2\x06\x05.....", "caffe"),
        (b"PK\x03\x04......", "torch-zip"),
        (TORCH_LEGACY + b"\x80\x02M\xe9\x03.", "torch-legacy"),
        (b"\x02\0\0\0\0\0\0\0{}", "safetensors"),
        # The leading length is a number like any other: here it looks like HTML, like objects.
        (b"\x3c\0\0\0\0\0\0\0{" + b" " * 60, "safetensors"),
        (b"\x80\x02\0\0\0\0\0\0{" + b" " * 700, "safetensors"),
    ],
)
def test_the_bytes_decide(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(content)
    assert sniff(path) == kind


@pytest.mark.parametrize(
    ("name", "content", "code", "text"),
    [
        ("a.h5", b"\x89HDF\r\n\x1a\n", "M011", "HDF5"),
        ("a.caffemodel", b"<!DOCTYPE html><html>", "M011", "failed download"),
        ("a.pt", b"version https://git-lfs.github.com/spec/v1\n", "M011", "Git LFS"),
        ("a.onnx", b"\x08\x07\x12\x07pytorch", "M011", "ONNX"),
        ("a.npy", b"\x93NUMPY\x01\x00", "M011", "NumPy"),
        ("a.tar", bytes(257) + b"ustar\x00", "M011", "tar archive"),
        ("a.prototxt", b"name: 'x'", "M011", "description without weights"),
        ("a.pkl", b"\x80\x04\x95.....", "M010", "Python objects"),
        ("a.joblib", b"\x80\x03c......", "M010", "can run code"),
        ("a.pt", b"", "M002", "empty"),
        ("a.pt", b"\xf1\xf2\xf3", "M002", r"begins with f1 f2 f3"),
    ],
)
def test_what_is_not_read_is_named(
    tmp_path: Path, name: str, content: bytes, code: str, text: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=text) as caught:
        sniff(path)
    assert caught.value.code == code
    assert caught.value.hint
    assert name in str(caught.value)


def test_a_folder_is_no_weight_file(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder"):
        sniff(tmp_path)


def test_a_table_that_is_longer_than_the_file_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\x05\0\0\0\0\0\0\0{1234")
    assert sniff(path) == "safetensors"
    path.write_bytes(b"\x06\0\0\0\0\0\0\0{1234")
    with pytest.raises(ModelError, match="begins with 06 00 00 00 00 00 00 00") as caught:
        sniff(path)
    assert caught.value.code == "M002"


def test_a_stream_of_objects_is_known_by_its_protocol(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for protocol in range(1, 7):
        path.write_bytes(bytes((0x80, protocol, 0x95, 0, 0)))
        with pytest.raises(ModelError) as caught:
            sniff(path)
        assert caught.value.code == ("M010" if 2 <= protocol <= 5 else "M002")
