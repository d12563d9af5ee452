"""State dicts out of torch's ``.pt`` / ``.pth`` files, without running what is in them.

``torch.load(weights_only=True)`` builds nothing but tensors and plain containers, in both of
torch's formats. It does not bound memory, so before it a zip archive is scanned (nothing
compressed, no overlap, sizes that add up), a stream of the format before torch 1.6 is metered
(reads, so objects), and after it only dense tensors that own their bytes are taken. TorchScript,
``.pt2`` and everything that names another class are refused; there is no option to trust a file.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from functools import reduce
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from pixelwise.errors import ModelError
from pixelwise.weights.names import recognise
from pixelwise.weights.safetensors_file import MAX_NAME, described, problems, shown
from pixelwise.weights.sniff import refuse

MAX_RECORDS = 20_000
MAX_OBJECTS_RECORD = 4 << 20  # bytes of the object stream; a thousand tensors take 200 kB
MAX_READS = 4_000_000  # of a metered stream; ResNet-20 needs 10,000
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "module", "model_ema", "ema")
"""Where tools put a net's weights, the trained ones before their average."""
_CODE_RECORDS = {
    "constants.pkl": "a TorchScript program",
    "archive_format": "a torch.export program (.pt2)",
    "serialized_exported_program.json": "a torch.export program (.pt2)",
    "models/model.json": "a torch.export program (.pt2)",
}


def read_torch(path: Path, *, zipped: bool) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a state dict file, and what was done to find them.

    Args:
        path: a file that torch.save wrote.
        zipped: whether it is a zip archive, as since torch 1.6.

    Raises:
        ModelError: M002 damaged, M010 would need code, M011 an archive of something else.
    """
    if zipped:
        scan_zip(path)
    with path.open("rb") as f:
        loaded = _load(_Metered(f), path)
    if not isinstance(loaded, Mapping):
        raise ModelError(
            "M002",
            f"{path}: holds a {type(loaded).__name__}, expected a state dict",
            "torch.save(model.state_dict(), ...) writes one",
        )
    keys, state = _state_dict(loaded)
    tensors = {k: v for k, v in state.items() if isinstance(v, Tensor) and isinstance(k, str)}
    if not tensors:
        raise ModelError("M002", f"{path}: no tensors in it", "expected a torch state dict")
    _check(tensors, path)
    notes = []
    for i, key in enumerate(keys):
        outer = _inside(loaded, keys[:i])
        beside = [str(k)[:40] for k in outer if k != key]
        notes.append(f"taken from `{key}`" + (f"; beside it: {beside[:8]}" if beside else ""))
    if others := [str(k)[:40] for k in state if k not in tensors]:
        notes.append(f"entries that are no tensors left out: {', '.join(others[:8])}")
    return {k: v.detach().contiguous() for k, v in tensors.items()}, tuple(notes)


def _state_dict(loaded: Mapping[Any, Any]) -> tuple[tuple[str, ...], Mapping[Any, Any]]:
    """The keys that lead to a net's weights, and these.

    Numbers that are kept beside them are tensors as well (``best_acc1``), and so is the optimizer's
    state: the first mapping with a known trunk in it counts, else the one in the usual place.
    """
    states = list(_with_tensors(loaded))
    for keys, state in states:
        if recognise(k for k, v in state.items() if isinstance(k, str) and isinstance(v, Tensor)):
            return keys, state
    usual = (s for s in states if s[0] and set(s[0]) <= set(_CONTAINERS))
    return next(usual, next((s for s in states if not s[0]), ((), loaded)))


def _with_tensors(
    loaded: Mapping[Any, Any],
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Every mapping that holds tensors: outer before inner, usual containers before others."""
    rank = {key: i for i, key in enumerate(_CONTAINERS)}
    queue: list[tuple[tuple[str, ...], Mapping[Any, Any]]] = [((), loaded)]
    seen = set[int]()
    for keys, mapping in queue:  # grows while it is walked; a mapping may hold itself
        if id(mapping) in seen:
            continue
        seen.add(id(mapping))
        if any(isinstance(v, Tensor) for v in mapping.values()):
            yield keys, mapping
        inner = [k for k, v in mapping.items() if isinstance(k, str) and isinstance(v, Mapping)]
        inner.sort(key=lambda k: rank.get(k, len(rank)))
        queue += [((*keys, k), mapping[k]) for k in inner]


def _inside(loaded: Mapping[Any, Any], keys: tuple[str, ...]) -> Mapping[Any, Any]:
    return reduce(lambda mapping, key: mapping[key], keys, loaded)


def scan_zip(path: Path) -> None:
    """Refuse an archive that torch.save did not write, before torch opens it."""
    try:
        with zipfile.ZipFile(path) as archive:
            records = archive.infolist()
            comment = archive.comment
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise _damaged(path, str(error)) from error
    names = [r.filename for r in records]
    inner = {n.partition("/")[2] for n in names}
    for record, what in _CODE_RECORDS.items():
        if record in inner or record in names or any(n.startswith("code/") for n in inner):
            raise refuse(path, "M010", what)
    if "data.pkl" not in inner:
        raise refuse(path, "M011", "a zip archive that holds no torch state dict")
    if comment or len(records) > MAX_RECORDS or len(set(names)) != len(names):
        raise _damaged(path, "the archive has a comment, doubled names or too many records")
    _check_records(path, records)


def _check_records(path: Path, records: list[zipfile.ZipInfo]) -> None:
    size, behind = path.stat().st_size, 0
    for record in sorted(records, key=lambda r: r.header_offset):
        name = record.filename
        if record.compress_type != zipfile.ZIP_STORED or record.compress_size != record.file_size:
            raise _damaged(path, f"record `{name[:80]}` is compressed, torch.save stores")
        if record.flag_bits & 1 or ".." in name.split("/") or name.startswith("/"):
            raise _damaged(path, f"record `{name[:80]}` is encrypted or leads outside")
        if record.header_offset < behind:
            raise _damaged(path, f"record `{name[:80]}` overlaps the one before it")
        behind = record.header_offset + 30 + record.file_size
        if behind > size:
            raise _damaged(path, f"record `{name[:80]}` of {record.file_size:,} bytes is cut off")
        if name.endswith("/data.pkl") and record.file_size > MAX_OBJECTS_RECORD:
            raise _damaged(path, f"record `{name[:80]}` has {record.file_size:,} bytes")


class _Metered:
    """A binary file that allows a number of reads; every object of a stream takes at least one."""

    def __init__(self, f: BinaryIO) -> None:
        self._f = f
        self._left = MAX_READS

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ValueError("more objects than any state dict has")

    def read(self, n: int = -1) -> bytes:
        self._count()
        return self._f.read(n)

    def readline(self) -> bytes:
        self._count()
        return self._f.readline(MAX_NAME)

    def readinto(self, buffer: Any) -> int:
        self._count()
        return int(self._f.readinto(buffer))  # type: ignore[attr-defined]

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._f.seek(offset, whence)

    def tell(self) -> int:
        return self._f.tell()


def _load(f: _Metered, path: Path) -> object:
    try:
        return torch.load(f, map_location="cpu", weights_only=True)  # type: ignore[arg-type]
    # Hostile bytes leave torch as nearly any exception; its own text advises what must not be done.
    except Exception as error:  # noqa: BLE001
        text = str(error) or "cut off"
        named = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", text)
        if "Unsupported" in text or ("Weights only load failed" in text and "GLOBAL" in text):
            what = f"a file with Python objects beyond tensors ({named[1] if named else 'code'})"
            raise refuse(path, "M010", what) from None
        raise _damaged(path, f"{type(error).__name__}: {text.splitlines()[0][:120]}") from None


def _check(tensors: Mapping[str, Tensor], path: Path) -> None:
    for problem in problems(described(tensors)):
        raise _damaged(path, problem)
    total = 0
    for name, t in tensors.items():
        if t.layout != torch.strided or t.device.type != "cpu" or t.is_quantized or t.is_nested:
            raise _damaged(path, f"`{shown(name)}` is not a dense tensor")
        if t.nbytes > t.untyped_storage().nbytes():  # views with strides of 0 take no room in it
            raise _damaged(path, f"`{shown(name)}` claims {t.nbytes:,} bytes that are not there")
        total += t.nbytes
    if total > 2 * path.stat().st_size:  # tied weights may be seen twice
        raise _damaged(path, f"its tensors claim {total:,} bytes, more than the file can hold")


def _damaged(path: Path, what: str) -> ModelError:
    return ModelError("M002", f"{path}: damaged torch file: {what}", "fetch the file again")
