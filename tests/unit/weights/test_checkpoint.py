from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
import random
import time
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pixelwise.errors import ModelError, ResourceError
from pixelwise.machine.files import sha256
from pixelwise.weights.checkpoint import (
    KEY,
    Header,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from pixelwise.weights.load import read_weights
from pixelwise.weights.safetensors_file import MAX_HEADER, unchanged

HEADER = Header(
    net="fcn8s-tiny",
    options={"classes": 3, "width": 0.5},
    classes=("wall", "tür", "floor"),
    palette=((0, 0, 0), (128, 0, 0), (0, 128, 0)),
    preprocess={"order": "rgb", "mean": [0.1, 0.2, 0.3]},
    scores={"mean_iu": 0.71},
    step=1200,
    data={"fingerprint": "abc", "path": "rooms"},
)


def tensors() -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(0)
    return {
        "conv1/7x7_s2.weight": torch.randn(4, 3, 2, 2, generator=made),
        "conv1/7x7_s2.bias": torch.randn(4, generator=made),
        "bn.num_batches_tracked": torch.tensor(7),
        "half": torch.randn(3, generator=made).bfloat16(),
        "mask": torch.tensor([True, False, True]),
        "nothing": torch.zeros(0, 5),
        "turned": torch.randn(3, 4, generator=made).T,
    }


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "net.safetensors", tensors(), HEADER)


def refused(path: Path, code: str, text: str, **options: Any) -> None:
    with pytest.raises(ModelError, match=text) as caught:
        load_checkpoint(path, **options)
    assert caught.value.code == code


def test_what_is_saved_is_what_is_loaded(saved: Path) -> None:
    header, loaded = load_checkpoint(saved)
    assert dataclasses.replace(header, sha256="", made_by="") == HEADER
    assert len(header.sha256) == 64
    assert header.made_by.startswith("pixelwise")
    assert loaded.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert torch.equal(loaded[name], tensor), name
        assert loaded[name].dtype == tensor.dtype
    assert read_header(saved) == header


def test_the_safetensors_library_reads_ours_and_we_read_its(saved: Path, tmp_path: Path) -> None:
    theirs = load_file(saved)
    assert all(torch.equal(theirs[k], v) for k, v in tensors().items())
    other = tmp_path / "theirs.safetensors"
    save_file({k: v.contiguous() for k, v in tensors().items()}, other)
    foreign = read_weights(other)
    assert foreign.kind == "safetensors"
    assert all(torch.equal(foreign.tensors[k], v) for k, v in tensors().items())
    refused(other, "M002", "without a pixelwise header")


def test_a_folder_name_that_is_no_utf8_is_kept(tmp_path: Path) -> None:
    """Python holds such bytes as half surrogates, which the library does not read."""
    header = dataclasses.replace(HEADER, data={"path": os.fsdecode(b"r\xe4ume")})
    path = save_checkpoint(tmp_path / "a.safetensors", tensors(), header)
    assert load_checkpoint(path)[0].data == header.data
    assert load_file(path).keys() == tensors().keys()


def test_saving_twice_gives_the_same_bytes(saved: Path, tmp_path: Path) -> None:
    turned = dict(reversed(tensors().items()))
    again = save_checkpoint(tmp_path / "again.safetensors", turned, HEADER)
    assert again.read_bytes() == saved.read_bytes()
    assert sha256(again) == hashlib.sha256(saved.read_bytes()).hexdigest()


def test_a_file_overwritten_in_place_does_not_change_what_was_loaded(saved: Path) -> None:
    _, loaded = load_checkpoint(saved)
    with saved.open("r+b") as f:
        f.write(bytes(saved.stat().st_size))
        f.truncate(10)
    assert all(torch.equal(loaded[k], v) for k, v in tensors().items())


def test_numbers_at_odd_places_are_read(tmp_path: Path) -> None:
    table = {"a": record([3], 0, 3, "U8"), "b": record([2], 3, 11)}
    numbers = bytes([1, 2, 3]) + torch.tensor([0.5, -2.0]).numpy().tobytes()
    path = container(tmp_path / "odd.safetensors", json.dumps(table).encode() + b" ", numbers)
    assert read_weights(path).tensors["b"].tolist() == [0.5, -2]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX")
def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = save_checkpoint(tmp_path / "net.safetensors", tensors(), HEADER)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_failed_write_leaves_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = saved.read_bytes()
    with pytest.raises(ModelError, match="1 numbers that are not finite") as caught:
        save_checkpoint(saved, {"w": torch.tensor([1.0, float("nan")])}, HEADER)
    assert caught.value.code == "M020"

    def full(f: BinaryIO, *_: object) -> None:
        f.write(b"half of it")
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("pixelwise.weights.safetensors_file.write", full)
    with pytest.raises(ResourceError, match="no space"):
        save_checkpoint(saved, tensors(), HEADER)
    assert saved.read_bytes() == old
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


def test_every_flipped_bit_is_found(saved: Path) -> None:
    data = saved.read_bytes()
    wild = random.Random(1)
    start = time.process_time()
    for _ in range(1500):
        at, bit = wild.randrange(len(data)), 1 << wild.randrange(8)
        saved.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
        with pytest.raises(ModelError):
            load_checkpoint(saved)
    assert time.process_time() - start < 30


def test_every_cut_is_found(saved: Path) -> None:
    data = saved.read_bytes()
    for length in (*range(0, len(data), 37), len(data) - 1):
        saved.write_bytes(data[:length])
        with pytest.raises(ModelError):
            load_checkpoint(saved)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    bad = torch.zeros(3, 4)
    bad[1, 2] = bad[2, 0] = float("inf")
    save_file({"w": bad}, path)
    with pytest.raises(ModelError, match=r"`w` holds 2 .* \(of 12, the first at 6\)") as caught:
        read_weights(path)
    assert caught.value.code == "M020"


# -- headers ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("stored", "text"),
    [
        ({"a" * 513: torch.zeros(1)}, "a tensor is called `a{80}`"),
        ({"a\nb": torch.zeros(1)}, r"called `a\\nb`"),
        ({"__metadata__": torch.zeros(1)}, "a tensor is called `__metadata__`"),
        ({"deep": torch.zeros([1] * 33)}, "`deep` has 33 axes; at most 32"),
        ({"odd": torch.zeros(1, dtype=torch.complex64)}, "`odd` has type torch.complex64"),
        ({str(i): torch.zeros(0) for i in range(20_001)}, "20,001 tensors; at most 20,000"),
    ],
    ids=["long", "line", "metadata", "axes", "type", "many"],
)
def test_what_could_not_be_read_again_is_not_written(
    saved: Path, stored: dict[str, Tensor], text: str
) -> None:
    before = saved.read_bytes()
    with pytest.raises(ModelError, match=text) as caught:
        save_checkpoint(saved, stored, HEADER)
    assert caught.value.code == "M040"
    assert saved.read_bytes() == before


def test_a_table_longer_than_the_cap_is_not_written(tmp_path: Path) -> None:
    header = dataclasses.replace(HEADER, data={"path": "x" * MAX_HEADER})
    with pytest.raises(ModelError, match="at most 16,777,216"):
        save_checkpoint(tmp_path / "a.safetensors", tensors(), header)
    assert not list(tmp_path.iterdir())


def container(path: Path, table: Any, data: bytes = b"", *, length: int | None = None) -> Path:
    text = table if isinstance(table, bytes) else json.dumps(table).encode()
    size = len(text) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + text + data)
    return path


def record(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


CONTAINERS: dict[str, tuple[Any, bytes, str]] = {
    "hole": ({"a": record([1], 4, 8)}, bytes(8), "invalid offset"),
    "overlap": ({"a": record([1], 0, 4), "b": record([1], 2, 6)}, bytes(6), "invalid offset"),
    "too much": ({"a": record([1], 0, 4)}, bytes(9), "not fully covered"),
    "too little": ({"a": record([4], 0, 16)}, bytes(4), "not fully covered"),
    "shape lies": ({"a": record([1 << 40, 1 << 10], 0, 4)}, bytes(4), "invalid shape"),
    "absurd empty": ({"a": record([0, 1 << 60], 0, 0)}, b"", "has shape"),
    "negative": ({"a": record([-1], 0, 4)}, bytes(4), "expected usize"),
    "fraction": ({"a": record([1.0], 0, 4)}, bytes(4), "expected usize"),  # type: ignore[list-item]
    "truth": ({"a": record([True], 0, 4)}, bytes(4), "expected usize"),
    "backwards": ({"a": record([1], 4, 0)}, bytes(4), "invalid offset"),
    "dtype": ({"a": record([1], 0, 1, "F8_E4M3")}, bytes(1), "has type"),
    "dtype list": ({"a": {"dtype": [], "shape": [], "data_offsets": [0, 0]}}, b"", "invalid JSON"),
    "33 axes": ({"a": record([1] * 33, 0, 4)}, bytes(4), "33 axes"),
    "no record": ({"a": 5}, b"", "expected struct"),
    "name": ({"a\n\x1b": record([1], 0, 4)}, bytes(4), "is called"),
    "long name": ({"a" * 600: record([1], 0, 4)}, bytes(4), "is called"),
    "doubled": (
        json.dumps({"a": record([1], 0, 4)})
        .replace("{", '{"a":' + json.dumps(record([1], 0, 4)) + ",", 1)
        .encode(),
        bytes(4),
        "`a` stands there twice",
    ),
    "deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"", "invalid JSON"),
    "number": (b'{"a":' + b"9" * 10_000 + b"}", b"", "invalid JSON"),
    "no text": (b'{"a":"\xff"}', b"", "UTF-8"),
    "metadata": ({"__metadata__": {"a": 1}}, b"", "expected a string"),
    "200,000 tensors": ({f"t{i}": record([0], 0, 0) for i in range(20_001)}, b"", "at most 20,000"),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_a_hostile_container_is_refused(tmp_path: Path, case: str) -> None:
    table, data, text = CONTAINERS[case]
    path = container(tmp_path / "evil.safetensors", table, data)
    start = time.process_time()
    refused(path, "M002", text)
    assert time.process_time() - start < 2


def test_a_table_longer_than_the_cap_is_not_parsed(tmp_path: Path) -> None:
    path = container(tmp_path / "long.safetensors", b"{" + b" " * (MAX_HEADER + 8))
    refused(path, "M002", "at most")


def rewritten(path: Path, change: dict[str, Any]) -> Path:
    """The checkpoint with another header, its checksum not made anew."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    table = json.loads(data[8 : 8 + length])
    header = json.loads(table["__metadata__"][KEY])
    table["__metadata__"][KEY] = json.dumps({**header, **change})
    return container(path, table, data[8 + length :])


def test_a_newer_version_is_named(saved: Path) -> None:
    rewritten(saved, {"version": 4, "made_by": "pixelwise 9.9"})
    refused(saved, "M030", r"format 4 \(pixelwise 9.9\)")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("net", 5),
        ("options", []),
        ("classes", "wall"),
        ("classes", [1]),
        ("palette", [[1, 2]]),
        ("palette", [[1, 2, 256]]),
        ("heads", []),
        ("heads", {"a": {"classes": "wall"}}),
        ("inputs", {"a": {"bands": 0, "dtype": "uint8"}}),
        ("inputs", {"a": {"bands": 1, "dtype": "object"}}),
        ("step", -1),
        ("step", True),
        ("version", "1"),
        ("sha256", None),
    ],
)
def test_a_header_of_the_wrong_types_is_refused(saved: Path, field: str, value: Any) -> None:
    refused(rewritten(saved, {field: value}), "M002", rf"header\.{field}\S* is ")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": {"../up": {"classes": ["a"]}}}, "'../up' is no plain name"),
        ({"heads": {"a": {"classes": ["a"]}}}, "not those of the first of header.heads"),
        ({"inputs": {"a/b": {"bands": 1, "dtype": "uint8"}}}, "'a/b' is no plain name"),
    ],
)
def test_heads_and_inputs_are_names_that_can_be_folders(
    saved: Path, change: dict, message: str
) -> None:
    refused(rewritten(saved, change), "M002", message)


def test_a_file_of_format_1_has_no_heads_and_a_whole_checksum(saved: Path) -> None:
    """Sealed by hand as such files were: the fields that came later are no part of it."""
    data = saved.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:end])
    header = json.loads(table.pop("__metadata__")[KEY])
    del header["heads"], header["inputs"]
    header |= {"version": 1, "sha256": ""}
    text = json.dumps([header, table], sort_keys=True, ensure_ascii=False)
    header["sha256"] = hashlib.sha256(text.encode() + data[end:]).hexdigest()
    table["__metadata__"] = {KEY: json.dumps(header)}
    stored, _ = load_checkpoint(container(saved, table, data[end:]))
    assert (stored.version, dict(stored.heads), dict(stored.inputs)) == (1, {}, {})
    del header["palette"]
    table["__metadata__"] = {KEY: json.dumps(header)}
    refused(container(saved, table, data[end:]), "M002", "header.palette is missing")


def test_the_checksum_is_over_header_table_and_numbers_as_they_stand_in_the_file(
    saved: Path,
) -> None:
    """Worked out from the bytes alone, as files of the first version were sealed."""
    data = saved.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    table = json.loads(data[8:end])
    header = json.loads(table.pop("__metadata__")[KEY])
    sealed, header["sha256"] = header["sha256"], ""
    text = json.dumps([header, table], sort_keys=True, ensure_ascii=False)
    assert hashlib.sha256(text.encode() + data[end:]).hexdigest() == sealed


def test_a_header_that_was_edited_fails_the_checksum(saved: Path) -> None:
    refused(rewritten(saved, {"classes": ["floor", "tür", "wall"]}), "M002", "checksum")


# -- the fit ----------------------------------------------------------------------------------
def test_a_net_takes_exactly_its_own_tensors(saved: Path) -> None:
    meta = {k: v.to("meta") for k, v in tensors().items()}
    assert load_checkpoint(saved, net=meta)[0].net == "fcn8s-tiny"
    refused(saved, "M040", "`more` is missing", net=meta | {"more": torch.zeros(1)})
    refused(saved, "M040", "`half` is not known", net={k: meta[k] for k in meta if k != "half"})
    refused(saved, "M040", r"`half` is \[3\], expected \[4\]", net=meta | {"half": torch.zeros(4)})
    refused(saved, "M040", "expected torch.float32", net=meta | {"half": torch.zeros(3)})


def test_a_module_can_be_the_target(tmp_path: Path) -> None:
    module = torch.nn.Conv2d(2, 3, 1)
    path = save_checkpoint(tmp_path / "m.safetensors", module.state_dict(), Header("x"))
    _, loaded = load_checkpoint(path, net=module)
    module.load_state_dict(loaded)
    refused(path, "M040", "weight", net=torch.nn.Conv2d(2, 4, 1))


def test_mapped_tensors_are_those_of_the_file_and_can_be_written_to(saved: Path) -> None:
    _, mapped = load_checkpoint(saved, mapped=True)
    before = saved.read_bytes()
    assert all(torch.equal(mapped[name], tensor) for name, tensor in tensors().items())
    mapped["turned"].mul_(2)
    assert torch.equal(mapped["turned"], 2 * tensors()["turned"])
    assert saved.read_bytes() == before
    assert torch.equal(load_checkpoint(saved)[1]["turned"], tensors()["turned"])


def test_a_file_that_is_written_over_is_noticed_and_one_that_is_replaced_is_not_missed(
    saved: Path,
) -> None:
    check, (_, mapped) = unchanged(saved), load_checkpoint(saved, mapped=True)
    check()
    save_checkpoint(saved, {"other": torch.ones(3)}, HEADER)
    check()
    assert torch.equal(mapped["turned"], tensors()["turned"])
    check = unchanged(saved)
    saved.write_bytes(b"x" * saved.stat().st_size)
    os.utime(saved, ns=(0, 1))
    with pytest.raises(ModelError, match="written over while its model was in use") as caught:
        check()
    assert caught.value.code == "M002"
    saved.unlink()
    check()
