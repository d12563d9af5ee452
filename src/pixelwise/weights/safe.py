"""The safetensors container, read with bounds and written without a second copy in memory.

8 bytes length, a JSON table, the raw numbers. The format's own library keeps what we refuse
(doubled keys, absurd empty shapes, a header of 100 MB) and leaves files unsynced and unreadable to
others; here reading allocates a tensor only after its bytes are known to be there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from pixelwise.errors import ModelError

MAX_HEADER = 16 << 20
MAX_TENSORS = 20_000
MAX_NAME = 512
MAX_AXES = 32
METADATA = "__metadata__"

DTYPES: Mapping[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """One tensor of the table; ``begin`` and ``end`` count from the first data byte."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True)
class Table:
    """All that a file says before its numbers; entries in the order of their bytes."""

    entries: tuple[Entry, ...]
    metadata: Mapping[str, str]
    data_at: int


def read_table(f: BinaryIO, path: Path) -> Table:
    """The checked table of the open file ``f``; no tensor is touched."""
    size = f.seek(0, 2)
    f.seek(0)
    length = int.from_bytes(f.read(8), "little")
    if size < 10 or length > size - 8:
        raise _damaged(path, f"a table of {length:,} bytes in a file of {size:,}")
    if length > MAX_HEADER:
        raise _damaged(path, f"a table of {length:,} bytes; at most {MAX_HEADER:,} are read")
    table = _parse(f.read(length), path)
    metadata = table.pop(METADATA, {})
    if not _is_text_map(metadata):
        raise _damaged(path, f"`{METADATA}` is not a map of text to text")
    if len(table) > MAX_TENSORS:
        raise _damaged(path, f"{len(table):,} tensors; at most {MAX_TENSORS:,} are read")
    entries = sorted((_entry(k, v, path) for k, v in table.items()), key=lambda e: (e.begin, e.end))
    _check_cover(entries, size - 8 - length, path)
    return Table(tuple(entries), metadata, 8 + length)


def read_data(
    f: BinaryIO, path: Path, table: Table, digest: Any = None
) -> Iterator[tuple[str, Tensor]]:
    """The tensors one by one; every byte also goes into ``digest`` when there is one."""
    f.seek(table.data_at)
    for entry in table.entries:
        tensor = torch.empty(entry.shape, dtype=entry.dtype, device="cpu")
        view = memoryview(_bytes(tensor))
        filled = 0
        while filled < len(view):
            got = f.readinto(view[filled:])  # type: ignore[attr-defined]
            if not got:
                raise _damaged(path, f"the file ends inside `{entry.name}`")
            filled += got
        if digest is not None:
            digest.update(view)
        yield entry.name, tensor


def table_of(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """The table under which ``tensors`` are stored: wide numbers first, so that all are aligned.

    Raises:
        ModelError: M040 what could not be read again.
    """
    if len(tensors) > MAX_TENSORS:
        raise ModelError(
            "M040", f"{len(tensors):,} tensors; at most {MAX_TENSORS:,} are stored", "store fewer"
        )
    table: dict[str, dict[str, Any]] = {}
    at = 0
    for name, tensor in _ordered(tensors):
        shown = _shown(name)
        if not _is_name(name) or name == METADATA:
            raise ModelError("M040", f"a tensor is called `{shown}`, not storable", "rename it")
        if tensor.ndim > MAX_AXES:
            raise ModelError(
                "M040", f"`{shown}` has {tensor.ndim} axes; at most {MAX_AXES}", "reshape it"
            )
        if tensor.dtype not in _CODES:
            raise ModelError(
                "M040",
                f"tensor `{shown}` has type {tensor.dtype}, not storable",
                "convert it to float32",
            )
        end = at + tensor.numel() * tensor.element_size()
        shape = list(tensor.shape)
        table[name] = {"dtype": _CODES[tensor.dtype], "shape": shape, "data_offsets": [at, end]}
        at = end
    return table


def hash_data(tensors: Mapping[str, Tensor], digest: Any) -> None:
    """Feed the numbers to ``digest`` in the order in which they are stored."""
    for _, tensor in _ordered(tensors):
        digest.update(memoryview(_bytes(tensor)))


def write(f: BinaryIO, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write the container into the open file ``f``.

    Raises:
        ModelError: M040 what could not be read again.
    """
    table = {METADATA: dict(metadata)} if metadata else {}
    table |= table_of(tensors)
    told = json.dumps(table, separators=(",", ":"), ensure_ascii=False)
    text = told.encode("utf-8", "backslashreplace")  # half surrogates, as JSON escapes them
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ModelError("M040", f"a table of {len(text):,} bytes; at most {MAX_HEADER:,}")
    f.write(len(text).to_bytes(8, "little"))
    f.write(text)
    for _, tensor in _ordered(tensors):
        f.write(memoryview(_bytes(tensor)))


def check_finite(name: str, tensor: Tensor, source: str) -> None:
    """Refuse not-a-number and infinity: such a net paints every image with class 0."""
    if not tensor.is_floating_point():
        return
    bad = first = 0
    for i, piece in enumerate(torch.split(tensor.reshape(-1), 1 << 22)):
        wrong = ~torch.isfinite(piece)
        if wrong.any():
            first = first if bad else i * (1 << 22) + int(wrong.int().argmax())
            bad += int(wrong.sum())
    if bad:
        raise ModelError(
            "M020",
            f"{source}: `{name}` holds {bad:,} numbers that are not finite "
            f"(of {tensor.numel():,}, the first at {first:,})",
            "take an earlier checkpoint; a smaller learning rate keeps training finite",
        )


def _ordered(tensors: Mapping[str, Tensor]) -> list[tuple[str, Tensor]]:
    return sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0]))


def _bytes(tensor: Tensor) -> Any:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def _damaged(path: Path, what: str) -> ModelError:
    return ModelError("M002", f"{path}: damaged safetensors file: {what}", "fetch the file again")


def _parse(text: bytes, path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key stands twice")
        return found

    try:
        table = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"the table is no JSON ({error})") from error
    if not isinstance(table, dict):
        raise _damaged(path, "the table is no JSON object")
    return table


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _is_sizes(value: object, limit: int) -> bool:
    whole = isinstance(value, list) and len(value) <= limit
    return whole and all(type(v) is int and v >= 0 for v in value)  # type: ignore[attr-defined]


def _is_name(name: str) -> bool:
    return 0 < len(name) <= MAX_NAME and name.isprintable()


def _shown(name: str) -> str:
    return name[:80] if name.isprintable() else ascii(name[:80])


def _entry(name: str, record: object, path: Path) -> Entry:
    shown = _shown(name)
    if not _is_name(name):
        raise _damaged(path, f"a tensor is called `{shown}`")
    if not isinstance(record, dict) or set(record) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"the record of `{shown}` is malformed")
    dtype, shape, offsets = record["dtype"], record["shape"], record["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise _damaged(path, f"`{shown}` has type {dtype!r}; known: {', '.join(DTYPES)}")
    if not _is_sizes(shape, MAX_AXES) or not _is_sizes(offsets, 2) or len(offsets) != 2:
        raise _damaged(path, f"`{shown}` has shape {shape!r} at {offsets!r}"[:300])
    if math.prod(max(d, 1) for d in shape) >= 1 << 60:
        raise _damaged(path, f"`{shown}` has shape {shape!r}"[:300])
    bytes_needed = math.prod(shape) * DTYPES[dtype].itemsize
    if offsets[1] - offsets[0] != bytes_needed:
        raise _damaged(path, f"`{shown}` of shape {shape} needs {bytes_needed:,} bytes")
    return Entry(name, DTYPES[dtype], tuple(shape), offsets[0], offsets[1])


def _check_cover(entries: list[Entry], size: int, path: Path) -> None:
    at = 0
    for entry in entries:
        if entry.begin != at:
            raise _damaged(path, f"`{entry.name}` begins at {entry.begin:,} instead of {at:,}")
        at = entry.end
    if at != size:
        raise _damaged(path, f"the tensors take {at:,} bytes, the file holds {size:,}")
