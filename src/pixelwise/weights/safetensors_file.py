"""The safetensors format: its library reads it, behind bounds of ours; we write it piece by piece.

The library checks that sizes and offsets cover the file exactly, but takes doubled keys, absurd
empty shapes and a table of 100 MB: those are refused here. Its writer is not used (ADR 0007): it
wants every tensor contiguous on the host at once, and puts an unsynced file of mode 0600 in the
place of the one that ``atomic_write`` holds.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pixelwise.errors import ModelError, visible
from pixelwise.machine.memory import give_back_pages
from pixelwise.settings import parse_json
from pixelwise.weights.sniff import damaged

MAX_HEADER = 16 << 20  # bytes; ResNet-152 takes 100 kB, the library reads up to 100 MB
MAX_TENSORS = 20_000  # ResNet-152 with its optimizer has 3,000
MAX_NAME = 512  # the longest of the catalogue's nets has 38 letters
MAX_AXES = 32  # as Caffe's kMaxBlobAxes; torch itself stops at 64
METADATA = "__metadata__"
_PIECE = 1 << 20  # numbers looked at in one go, so that the mask of a large tensor stays small

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

Records = Mapping[str, Mapping[str, Any]]
"""What a file says of each tensor (``dtype``, ``shape``, ``data_offsets``), in byte order."""


def read_table(path: Path) -> tuple[Records, dict[str, str]]:
    """The checked records of the file at ``path``, and its metadata; no tensor is touched."""
    with path.open("rb") as f:
        length = int.from_bytes(f.read(8), "little")
        if length > MAX_HEADER:  # before the library takes memory for it
            what = f"a table of {length:,} bytes; at most {MAX_HEADER:,} are read"
            raise damaged(path, "safetensors", what)
        text = f.read(length)
    try:
        with safe_open(path, "pt"):  # types, sizes, and offsets that cover the file
            pass
        records = parse_json(text)
    except (SafetensorError, OSError, ValueError) as error:
        raise damaged(path, "safetensors", visible(str(error)[:200])) from error
    metadata = records.pop(METADATA, {})
    for problem in problems({name: (r["shape"], r["dtype"]) for name, r in records.items()}):
        raise damaged(path, "safetensors", problem)
    return dict(sorted(records.items(), key=lambda i: i[1]["data_offsets"])), metadata


def read_tensors(path: Path, records: Records, *, mapped: bool = False) -> dict[str, Tensor]:
    """The tensors of a checked file, in memory of their own; M002 where it changed meanwhile.

    If they are ``mapped`` they take memory as they are read, and can be written to. A file that is
    overwritten in place changes them, or ends the process: ask ``unchanged`` before. On Windows it
    could not be replaced, so nothing is mapped.
    """
    try:
        backend = "mmap" if mapped and os.name == "posix" else "pread"
        with safe_open(path, "pt", backend=backend) as f:
            return {name: f.get_tensor(name) for name in records}
    except (SafetensorError, OSError) as error:
        raise damaged(path, "safetensors", visible(str(error)[:200])) from error


def unchanged(path: Path) -> Callable[[], None]:
    """What raises M002 once the file at ``path`` is written to; a new one may take its place."""
    before = path.stat()

    def check() -> None:
        now = path.stat() if path.exists() else before  # deleted: what is mapped stays
        written = (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
        if written and os.path.samestat(now, before):
            what = f"{path}: the file was written over while its model was in use"
            raise ModelError("M002", what, "load the model again; replace files by renaming")

    return check


def pieces(tensor: Tensor) -> Iterator[Tensor]:
    """Its numbers in a row, so many at a time that of a mapped file few are in memory."""
    for piece in torch.split(tensor.reshape(-1), _PIECE):
        yield piece
        give_back_pages(piece)


def records_of(tensors: Mapping[str, Tensor]) -> Records:
    """How ``tensors`` are stored: wide numbers first, so that all are aligned."""
    wanted = described(tensors)
    for problem in problems(wanted):
        raise ModelError("M040", f"not storable: {problem}", "rename, convert or reshape it")
    names = sorted(tensors, key=lambda n: (-tensors[n].element_size(), n))
    ends = list(accumulate((tensors[n].nbytes for n in names), initial=0))
    return {
        name: {"dtype": wanted[name][1], "shape": list(wanted[name][0]), "data_offsets": [*place]}
        for name, place in zip(names, pairwise(ends), strict=True)
    }


def write(
    f: BinaryIO, records: Records, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write the container into the open file ``f``; only a tensor that is strided is copied."""
    table = {METADATA: dict(metadata), **records}
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False)
    header = text.encode()
    header += b" " * (-len(header) % 8)  # so that numbers begin aligned
    if len(header) > MAX_HEADER:
        what = f"a table of {len(header):,} bytes; at most {MAX_HEADER:,}"
        raise ModelError("M040", what, "shorten what the header says")
    f.write(len(header).to_bytes(8, "little") + header)
    for name in records:
        f.write(numbers(tensors[name]))


def numbers(tensor: Tensor) -> memoryview:
    """The bytes of a tensor as they are stored; a view of it where that is possible."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def described(tensors: Mapping[str, Tensor]) -> dict[str, tuple[Sequence[int], str]]:
    """Shape and type of each tensor, the type as the format spells it if it has it."""
    return {n: (t.shape, _CODES.get(t.dtype, str(t.dtype))) for n, t in tensors.items()}


def problems(tensors: Mapping[str, tuple[Sequence[int], str]]) -> Iterator[str]:
    """What no weight file of any format may hold: too many, odd names, absurd shapes, odd types."""
    if len(tensors) > MAX_TENSORS:
        yield f"{len(tensors):,} tensors; at most {MAX_TENSORS:,}"
    for name, (shape, dtype) in tensors.items():
        if not 0 < len(name) <= MAX_NAME or not name.isprintable() or name == METADATA:
            yield f"a tensor is called `{visible(name[:80])}`"
        if len(shape) > MAX_AXES:
            yield f"`{visible(name[:80])}` has {len(shape)} axes; at most {MAX_AXES}"
        # An axis of 0 makes any other one pass the check of sizes; torch overflows beyond 2^63.
        elif math.prod(max(axis, 1) for axis in shape) >= 1 << 60:
            yield f"`{visible(name[:80])}` has shape {list(shape)}"
        if dtype not in DTYPES:
            yield f"`{visible(name[:80])}` has type {dtype}; known: {', '.join(DTYPES)}"


def check_finite(tensors: Mapping[str, Tensor], source: Path) -> None:
    """Refuse not-a-number and infinity (M020): such a net paints every image with class 0."""
    for name, tensor in tensors.items():
        bad = first = 0
        for i, piece in enumerate(pieces(tensor)):
            wrong = ~torch.isfinite(piece)  # whole numbers always are
            if wrong.any():
                first = first if bad else i * _PIECE + int(wrong.int().argmax())
                bad += int(wrong.sum())
        if bad:
            where = f"(of {tensor.numel():,}, the first at {first:,})"
            message = f"{source}: `{name}` holds {bad:,} numbers that are not finite {where}"
            hint = "take an earlier checkpoint; a smaller learning rate keeps training finite"
            raise ModelError("M020", message, hint)
