"""The container's bounds, each at its end, and how its bytes lie."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pixelwise.errors import ModelError
from pixelwise.weights import safetensors_file
from pixelwise.weights.safetensors_file import (
    DTYPES,
    check_finite,
    pieces,
    problems,
    read_table,
    records_of,
    write,
)

LONG = "n" * 100
CUT = "n" * 80


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "said"),
    [
        ("n" * 512, (2,), "F32", None),
        ("n" * 513, (2,), "F32", f"a tensor is called `{CUT}`"),
        ("", (2,), "F32", "a tensor is called ``"),
        ("a\tb", (2,), "F32", "a tensor is called `a\\tb`"),
        ("__metadata__", (2,), "F32", "a tensor is called `__metadata__`"),
        (LONG, (1,) * 32, "F32", None),
        (LONG, (1,) * 33, "F32", f"`{CUT}` has 33 axes; at most 32"),
        (LONG, ((1 << 60) - 1,), "F32", None),
        (LONG, (1 << 30, 1 << 30), "F32", f"`{CUT}` has shape [1073741824, 1073741824]"),
        (LONG, (0, 1 << 60), "F32", f"`{CUT}` has shape [0, 1152921504606846976]"),
        (LONG, (0, (1 << 60) - 1), "F32", None),
        (LONG, (), "BOOL", None),
        (LONG, (2,), "F8", f"`{CUT}` has type F8; known: {', '.join(DTYPES)}"),
    ],
)
def test_what_a_tensor_may_be(name: str, shape: tuple, dtype: str, said: str | None) -> None:
    assert list(problems({name: (shape, dtype)})) == ([] if said is None else [said])


def test_a_file_has_at_most_twenty_thousand_tensors() -> None:
    many = {str(i): ((), "F32") for i in range(20_001)}
    assert list(problems(many)) == ["20,001 tensors; at most 20,000"]
    many.popitem()
    assert list(problems(many)) == []


def test_records_lie_wide_numbers_first_without_a_gap() -> None:
    tensors = {
        "b": torch.zeros(3, dtype=torch.uint8),
        "a": torch.zeros(2, 2),
        "c": torch.zeros(1, dtype=torch.float64),
        "A": torch.zeros(0, 5),
    }
    assert records_of(tensors) == {
        "c": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]},
        "A": {"dtype": "F32", "shape": [0, 5], "data_offsets": [8, 8]},
        "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [8, 24]},
        "b": {"dtype": "U8", "shape": [3], "data_offsets": [24, 27]},
    }
    assert list(records_of(tensors)) == ["c", "A", "a", "b"]


@pytest.mark.parametrize("letters", range(9))
def test_numbers_begin_at_a_multiple_of_eight_bytes(letters: int, tmp_path: Path) -> None:
    tensors = {"a": torch.tensor([1.5, 2.5], dtype=torch.float64)}
    f, records = io.BytesIO(), records_of(tensors)
    write(f, records, tensors, {"k": "x" * letters})
    data = f.getvalue()
    length = int.from_bytes(data[:8], "little")
    table = data[8 : 8 + length]
    assert length % 8 == 0
    assert len(table) - len(table.rstrip(b" ")) < 8
    assert json.loads(table)["__metadata__"] == {"k": "x" * letters}
    assert data[8 + length :] == tensors["a"].numpy().tobytes()
    (tmp_path / "a").write_bytes(data)
    assert read_table(tmp_path / "a") == (records, {"k": "x" * letters})


def test_a_table_may_be_as_long_as_the_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = {"a": torch.zeros(1)}
    f, records = io.BytesIO(), records_of(tensors)
    write(f, records, tensors, {})
    (tmp_path / "a").write_bytes(f.getvalue())
    length = int.from_bytes(f.getvalue()[:8], "little")
    monkeypatch.setattr(safetensors_file, "MAX_HEADER", length)
    assert read_table(tmp_path / "a")[0] == records
    write(io.BytesIO(), records, tensors, {})
    monkeypatch.setattr(safetensors_file, "MAX_HEADER", length - 1)
    with pytest.raises(ModelError, match=f"a table of {length} bytes; at most {length - 1}") as e:
        write(io.BytesIO(), records, tensors, {})
    assert e.value.code == "M040"
    with pytest.raises(ModelError, match=f"a table of {length} bytes; at most {length - 1}") as e:
        read_table(tmp_path / "a")
    assert e.value.code == "M002"


def test_what_the_library_says_is_cut_at_two_hundred_letters(tmp_path: Path) -> None:
    table = json.dumps({"a": {"dtype": "F" * 500, "shape": [], "data_offsets": [0, 0]}}).encode()
    (tmp_path / "a").write_bytes(len(table).to_bytes(8, "little") + table)
    with pytest.raises(ModelError) as caught:
        read_table(tmp_path / "a")
    said = str(caught.value).partition("damaged safetensors file: ")[2]
    assert len(said) == 200
    assert said.endswith("F" * 100)


def test_a_large_tensor_is_looked_at_a_million_numbers_at_a_time() -> None:
    """Four megabytes of float32; whatever its axes."""
    assert [len(p) for p in pieces(torch.zeros(3, 1 << 19))] == [1 << 20, 1 << 19]
    assert [len(p) for p in pieces(torch.zeros(1 << 20))] == [1 << 20]


def test_numbers_that_are_not_finite_are_counted_over_all_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(safetensors_file, "_PIECE", 4)
    tensor = torch.zeros(3, 5)
    check_finite({"whole": torch.ones(9, dtype=torch.int64), "a": tensor}, Path("f"))
    tensor[1, 1] = float("nan")
    tensor[2, 0] = tensor[2, 4] = float("-inf")
    with pytest.raises(ModelError, match=r"`a` holds 3 .* \(of 15, the first at 6\)") as caught:
        check_finite({"a": tensor}, Path("f"))
    assert caught.value.code == "M020"


def test_a_table_is_in_the_order_of_its_bytes(tmp_path: Path) -> None:
    save_file({"b": torch.zeros(1), "a": torch.zeros(2, dtype=torch.float64)}, tmp_path / "a")
    assert list(read_table(tmp_path / "a")[0]) == ["a", "b"]
