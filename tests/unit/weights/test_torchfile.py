from __future__ import annotations

import io
import random
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pixelwise.errors import ModelError
from pixelwise.weights import torchfile
from pixelwise.weights.load import read_weights

STATE = OrderedDict(
    {"conv.weight": torch.arange(6.0).reshape(1, 1, 2, 3), "bn.running_mean": torch.ones(2)}
)
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def saved(path: Path, value: Any, zipped: bool = True) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)
    return path


def refused(path: Path, code: str, text: str) -> ModelError:
    with pytest.raises(ModelError, match=text) as caught:
        read_weights(path)
    assert caught.value.code == code
    assert "weights_only" not in f"{caught.value} {caught.value.hint}"
    return caught.value


@FORMATS
def test_a_state_dict_is_read(tmp_path: Path, zipped: bool) -> None:
    foreign = read_weights(saved(tmp_path / "a.pth", STATE, zipped))
    assert (foreign.kind, foreign.notes) == ("torch", ())
    assert all(torch.equal(foreign.tensors[k], v) for k, v in STATE.items())


@FORMATS
def test_nests_and_prefixes_are_taken_off_and_said(tmp_path: Path, zipped: bool) -> None:
    inner = {f"module.{k}": v for k, v in STATE.items()}
    value = {"epoch": 3, "model": {"state_dict": inner}}
    foreign = read_weights(saved(tmp_path / "a.pt", value, zipped))
    assert foreign.tensors.keys() == STATE.keys()
    assert foreign.notes == (
        "taken from `model`; beside it: ['epoch']",
        "taken from `state_dict`",
        "prefix `module.` taken off",
    )


@FORMATS
def test_numbers_of_numpys_are_passed_over_and_its_arrays_refused(
    tmp_path: Path, zipped: bool
) -> None:
    """Nothing of numpy is called: its arrays are rebuilt by functions of its own."""
    scores = {"best": np.float64(0.5), "epoch": np.int64(3)}
    foreign = read_weights(saved(tmp_path / "a.pth", {**STATE, **scores}, zipped))
    assert foreign.tensors.keys() == STATE.keys()
    assert foreign.notes == ("entries that are no tensors left out: best, epoch",)
    path = saved(tmp_path / "b.pth", {**STATE, "history": np.zeros(3)}, zipped)
    refused(path, "M010", "_reconstruct")


def test_entries_that_are_no_tensors_are_left_out_and_said(tmp_path: Path) -> None:
    foreign = read_weights(saved(tmp_path / "a.pt", {**STATE, "lr": 0.1}))
    assert foreign.notes == ("entries that are no tensors left out: lr",)


class Evil:
    """Touches a file when it is rebuilt: the classic attack."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return (Path.touch, (self.marker,))


@FORMATS
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "pwned"
    path = saved(tmp_path / "evil.pt", {"a": torch.ones(1), "b": Evil(marker)}, zipped)
    refused(path, "M010", "Python objects")
    assert not marker.exists()


@FORMATS
def test_a_whole_module_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = saved(tmp_path / "module.pt", nn.Conv2d(1, 1, 1), zipped)
    assert "safetensors" in refused(path, "M010", "Conv2d").hint


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as z:
        for name in names:
            z.writestr(name, b"x")
    return path


def test_programs_are_refused_by_their_records(tmp_path: Path) -> None:
    script = archive(tmp_path / "a.pt", "a/data.pkl", "a/constants.pkl", "a/code/x.py")
    refused(script, "M010", "TorchScript")
    exported = archive(tmp_path / "b.pt2", "b/archive_format", "b/models/model.json")
    refused(exported, "M010", r"\.pt2")
    refused(archive(tmp_path / "c.npz", "weight.npy"), "M011", "no torch state dict")
    (tmp_path / "d.pt").write_bytes(b"\x80\x04\x95" + bytes(20))
    refused(tmp_path / "d.pt", "M010", "stream of Python objects")


def rewritten(path: Path, out: Path, **options: Any) -> Path:
    """The same records in an archive written otherwise."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", **options) as new:
        for record in old.infolist():
            new.writestr(record.filename, old.read(record))
    return out


def test_a_bomb_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", {"zeros": torch.zeros(1 << 20)})
    bomb = rewritten(path, tmp_path / "bomb.pt", compression=zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < path.stat().st_size / 50
    refused(bomb, "M002", "compressed")


def record(name: str, offset: int, length: int, **changes: int) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.header_offset, made.file_size, made.compress_size = offset, length, length
    for field, value in changes.items():
        setattr(made, field, value)
    return made


@pytest.mark.parametrize(
    ("records", "said"),
    [
        # A local header has 30 bytes before its name: 0 to 40, then 40 to 100 of 100.
        ([record("a/b", 0, 10), record("a/c", 40, 30)], None),
        ([record("a/c", 40, 30), record("a/b", 0, 10)], None),  # in any order
        ([record("a/b", 0, 10), record("a/c", 39, 30)], "`a/c` overlaps the one before it"),
        ([record("a/b", 0, 10), record("a/c", 40, 31)], "`a/c` of 31 bytes is cut off"),
        ([record("a/b", 0, 10, compress_size=9)], "`a/b` is compressed"),
        ([record("a/b", 0, 10, compress_type=8)], "`a/b` is compressed"),
        ([record("a/b", 0, 10, flag_bits=1)], "`a/b` is encrypted or leads outside"),
        ([record("a/b", 0, 10, flag_bits=2)], None),
        ([record("a/../b", 0, 10)], "`a/../b` is encrypted or leads outside"),
        ([record("/b", 0, 10)], "`/b` is encrypted or leads outside"),
        ([record("a/..b", 0, 10)], None),
        ([record("x" * 100, 0, 71)], f"`{'x' * 80}` of 71 bytes is cut off"),
        ([record("a/data.pkl", 0, 20)], None),
        ([record("a/data.pkl", 0, 21)], "`a/data.pkl` has 21 bytes"),
        ([record("a/other.pkl", 0, 21)], None),
    ],
)
def test_records_of_an_archive_lie_behind_one_another(
    records: list[zipfile.ZipInfo], said: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchfile, "MAX_OBJECTS_RECORD", 20)
    found = list(torchfile._record_problems(records, 100))
    assert len(found) == (said is not None)
    assert not said or found[0].startswith(f"record {said}")


def test_an_archive_has_at_most_so_many_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.pt", STATE)
    with zipfile.ZipFile(path) as z:
        count = len(z.namelist())
    monkeypatch.setattr(torchfile, "MAX_RECORDS", count)
    read_weights(path)
    monkeypatch.setattr(torchfile, "MAX_RECORDS", count - 1)
    refused(path, "M002", "too many records")


def test_notes_name_eight_entries_of_forty_letters(tmp_path: Path) -> None:
    others = {f"{i}" * 50: i for i in range(9)}
    foreign = read_weights(saved(tmp_path / "a.pt", {**STATE, **others}))
    listed = ", ".join(str(i) * 40 for i in range(8))
    assert foreign.notes == (f"entries that are no tensors left out: {listed}",)
    foreign = read_weights(saved(tmp_path / "b.pt", {"model": dict(STATE), **others}))
    beside = [str(i) * 40 for i in range(8)]
    assert foreign.notes == (f"taken from `model`; beside it: {beside}",)


def test_tensors_may_be_shared_by_two_names_and_claim_twice_the_file() -> None:
    one = torch.zeros(25)  # 100 bytes
    assert not list(torchfile._tensor_problems({"a": one, "b": one}, 100))
    (said,) = torchfile._tensor_problems({"a": one, "b": one}, 99)
    assert said == "its tensors claim 200 bytes, more than the file can hold"
    half = torch.zeros(24).as_strided((25,), (0,))[None]  # 100 of 96 bytes
    said = list(torchfile._tensor_problems({"n" * 100: half}, 1000))
    assert said == [f"`{'n' * 80}` claims 100 bytes that are not there"]


def test_doubled_names_and_comments_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pt", STATE)
    double = rewritten(path, tmp_path / "double.pt")
    with zipfile.ZipFile(double, "a") as z, pytest.warns(UserWarning, match="Duplicate"):
        z.writestr(z.namelist()[0], b"other")
    refused(double, "M002", "doubled")
    commented = rewritten(path, tmp_path / "comment.pt")
    with zipfile.ZipFile(commented, "a") as z:
        z.comment = b"PK\x05\x06"
    refused(commented, "M002", "comment")


@FORMATS
def test_tensors_that_do_not_own_their_bytes_are_refused(tmp_path: Path, zipped: bool) -> None:
    huge = torch.zeros(1).as_strided((1 << 20, 1 << 20), (0, 0))
    refused(saved(tmp_path / "huge.pt", {"a": huge}, zipped), "M002", "not there")
    one = torch.zeros(10_000)
    many = {f"a{i}": one for i in range(50)}
    refused(saved(tmp_path / "many.pt", many, zipped), "M002", "more than the file can hold")


@pytest.mark.filterwarnings("ignore:Sparse")
def test_tensors_that_are_not_dense_are_refused(tmp_path: Path) -> None:
    refused(saved(tmp_path / "a.pt", {"a": torch.eye(3).to_sparse()}), "M002", "not a dense")
    meta = {"a": torch.zeros(2, 2, device="meta")}
    refused(saved(tmp_path / "b.pt", meta), "M002", "not a dense")
    refused(saved(tmp_path / "c.pt", {"a": torch.zeros(2, dtype=torch.complex64)}), "M002", "type")


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    refused(saved(tmp_path / "a.pt", [torch.ones(1)]), "M002", "holds a list")
    refused(saved(tmp_path / "b.pt", {}), "M002", "no tensors")
    refused(saved(tmp_path / "c.pt", {"a\n": torch.ones(1)}), "M002", "is called")
    refused(saved(tmp_path / "d.pt", {"a": torch.tensor(float("nan"))}), "M020", "not finite")


def test_a_stream_of_endless_objects_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "long.pth", {"a": torch.ones(1), "b": [[] for _ in range(5000)]}, False)
    read_weights(path)
    monkeypatch.setattr(torchfile, "MAX_READS", 3000)
    refused(path, "M002", "more objects")


def test_mappings_within_mappings_take_no_memory_by_the_square_of_their_depth(
    tmp_path: Path,
) -> None:
    deep = b"\x80\x02}" + b"X\x01\0\0\0a}" * 5000 + b"s" * 5000 + b"."
    path = tmp_path / "deep.pt"
    with zipfile.ZipFile(path, "w") as z:
        for name, content in {"data.pkl": deep, "version": b"3", "byteorder": b"little"}.items():
            z.writestr(f"deep/{name}", content)
    tracemalloc.start()
    refused(path, "M002", "no tensors in it")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


@FORMATS
def test_damaged_files_raise_model_errors_only(tmp_path: Path, zipped: bool) -> None:
    buffer = io.BytesIO()
    torch.save(STATE, buffer, _use_new_zipfile_serialization=zipped)
    whole, path = buffer.getvalue(), tmp_path / "wild.pt"
    wild, codes = random.Random(0), set[str]()
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(wild.choice((1, 2, 8))):
            data[wild.randrange(len(data))] = wild.randrange(256)
        path.write_bytes(data[: wild.randrange(len(data))] if wild.random() < 0.2 else data)
        try:
            read_weights(path)
        except ModelError as error:
            codes.add(error.code)
    assert codes <= {"M002", "M010", "M011", "M020"}
    assert "M002" in codes
