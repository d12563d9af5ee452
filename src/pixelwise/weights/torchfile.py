"""State dicts out of torch's ``.pt`` / ``.pth`` files, without running what is in them.

``torch.load(weights_only=True)`` builds nothing but tensors and plain containers, in both of
torch's formats. It does not bound memory, so before it a zip archive is scanned (nothing
compressed, no overlap, sizes that add up), a stream of the format before torch 1.6 is metered
(reads, so objects), and after it only dense tensors that own their bytes are taken. TorchScript,
``.pt2`` and everything that names another class are refused; there is no option to trust a file.
"""

from __future__ import annotations

import itertools
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import torch
from torch import Tensor

from pixelwise.errors import ModelError, visible
from pixelwise.weights.names import recognise
from pixelwise.weights.safetensors_file import MAX_NAME, described, problems
from pixelwise.weights.sniff import damaged, refuse

MAX_RECORDS = 20_000  # a record for each tensor, as many as ``MAX_TENSORS``
MAX_OBJECTS_RECORD = 4 << 20  # bytes of the object stream; a thousand tensors take 200 kB
MAX_READS = 4_000_000  # of a metered stream; ResNet-20 needs 10,000
MAX_DEPTH = 16  # mappings around a net's weights; tools put two. Ways to all take its square.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "net", "module", "model_ema", "ema")
"""Where tools put a net's weights, the trained ones before their average."""
_CODE_RECORDS = {
    "constants.pkl": "a TorchScript program",
    "archive_format": "a torch.export program (.pt2)",
    "serialized_exported_program.json": "a torch.export program (.pt2)",
    "models/model.json": "a torch.export program (.pt2)",
}


def read_torch(path: Path, *, zipped: bool) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a state dict file, and what was done to find them; zipped since torch 1.6."""
    if zipped:
        scan_zip(path)
    loaded = _load(path)
    if not isinstance(loaded, Mapping):
        message = f"{path}: holds a {type(loaded).__name__}, expected a state dict"
        raise ModelError("M002", message, "torch.save(model.state_dict(), ...) writes one")
    way, state = _state_dict(loaded)
    tensors = _tensors(state)
    if not tensors:
        raise ModelError("M002", f"{path}: no tensors in it", "expected a torch state dict")
    for problem in _tensor_problems(tensors, path.stat().st_size):
        raise damaged(path, "torch", problem)
    notes = []
    for key, outer in way:
        beside = [str(k)[:40] for k in outer if k != key]
        notes.append(f"taken from `{key}`" + (f"; beside it: {beside[:8]}" if beside else ""))
    if others := [str(k)[:40] for k in state if k not in tensors]:
        notes.append(f"entries that are no tensors left out: {', '.join(others[:8])}")
    return {k: v.detach().contiguous() for k, v in tensors.items()}, tuple(notes)


Way = tuple[tuple[str, Mapping[Any, Any]], ...]
"""The keys that lead to a mapping, each with the mapping that it is in."""


def _tensors(mapping: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {k: v for k, v in mapping.items() if isinstance(k, str) and isinstance(v, Tensor)}


def _state_dict(loaded: Mapping[Any, Any]) -> tuple[Way, Mapping[Any, Any]]:
    """A net's weights in what a tool saved, and the way to them.

    Numbers that are kept beside them are tensors as well (``best_acc1``), and so is the optimizer's
    state: the first mapping with a known trunk in it counts, else the one in the usual place.
    """
    states = list(_with_tensors(loaded))
    known = (s for s in states if recognise(_tensors(s[1])))
    usual = (s for s in states if s[0] and {key for key, _ in s[0]} <= set(_CONTAINERS))
    return next(itertools.chain(known, usual, [((), loaded)]))


def _with_tensors(loaded: Mapping[Any, Any]) -> Iterator[tuple[Way, Mapping[Any, Any]]]:
    """Every mapping that holds tensors: outer before inner, usual containers before others."""
    rank = {key: i for i, key in enumerate(_CONTAINERS)}
    queue: list[tuple[Way, Mapping[Any, Any]]] = [((), loaded)]
    seen = set[int]()
    for way, mapping in queue:  # grows while it is walked; a mapping may hold itself
        if id(mapping) in seen or len(way) > MAX_DEPTH:
            continue
        seen.add(id(mapping))
        if any(isinstance(v, Tensor) for v in mapping.values()):
            yield way, mapping
        inner = [k for k, v in mapping.items() if isinstance(k, str) and isinstance(v, Mapping)]
        inner.sort(key=lambda k: rank.get(k, len(rank)))
        queue += [((*way, (k, mapping)), mapping[k]) for k in inner]


def scan_zip(path: Path) -> None:
    """Refuse an archive that torch.save did not write, before torch opens it."""
    try:
        with zipfile.ZipFile(path) as archive:
            records, comment = archive.infolist(), archive.comment
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise damaged(path, "torch", str(error)) from error
    names = [r.filename for r in records]
    inner = {n.partition("/")[2] for n in names}
    # Before data.pkl is asked for: programs have one too, and are refused for another reason.
    for record, what in _CODE_RECORDS.items():
        if record in inner or record in names or any(n.startswith("code/") for n in inner):
            raise refuse(path, "M010", what)
    if "data.pkl" not in inner:
        raise refuse(path, "M011", "a zip archive that holds no torch state dict")
    if comment or len(records) > MAX_RECORDS or len(set(names)) != len(names):
        what = "the archive has a comment, doubled names or too many records"
        raise damaged(path, "torch", what)
    for problem in _record_problems(records, path.stat().st_size):
        raise damaged(path, "torch", problem)


def _record_problems(records: list[zipfile.ZipInfo], size: int) -> Iterator[str]:
    behind = 0
    for record in sorted(records, key=lambda r: r.header_offset):
        name, length = record.filename, record.file_size
        shown = f"record `{visible(name[:80])}`"
        if record.compress_type != zipfile.ZIP_STORED or record.compress_size != length:
            yield f"{shown} is compressed, torch.save stores"
        if record.flag_bits & 1 or ".." in name.split("/") or name.startswith("/"):
            yield f"{shown} is encrypted or leads outside"
        if record.header_offset < behind:
            yield f"{shown} overlaps the one before it"
        behind = record.header_offset + 30 + length  # 30: a local header without its name
        if behind > size:
            yield f"{shown} of {length:,} bytes is cut off"
        if name.endswith("/data.pkl") and length > MAX_OBJECTS_RECORD:
            yield f"{shown} has {length:,} bytes"


class _NumpyType:
    """What stands for a numpy type in a stream: nothing is made of it."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def _numpy_number(*_: object) -> None:
    """What stands for a number of numpy's, such as the best score so far."""


# Training scripts keep scores beside their weights as numpy made them (pytorch-fcn: best_mean_iu).
# These names lead to the two above and not to numpy: the numbers are passed over.
_PASSED_OVER: list[Any] = [
    (_numpy_number, "numpy.core.multiarray.scalar"),
    (_numpy_number, "numpy._core.multiarray.scalar"),
    (_NumpyType, "numpy.dtype"),
]


def _load(path: Path) -> object:
    try:
        with path.open("rb") as f, torch.serialization.safe_globals(_PASSED_OVER):
            return torch.load(_metered(f), map_location="cpu", weights_only=True)
    # Hostile bytes leave torch as nearly any exception; its own text advises what must not be done.
    except Exception as error:  # noqa: BLE001
        text = str(error) or "cut off"
        named = re.search(r"(?:GLOBAL|class|function) ([\w.]+)", text)
        if "Unsupported" in text or ("Weights only load failed" in text and "GLOBAL" in text):
            what = f"a file with Python objects beyond tensors ({named[1] if named else 'code'})"
            raise refuse(path, "M010", what) from None
        what = f"{type(error).__name__}: {text.splitlines()[0][:120]}"
        raise damaged(path, "torch", what) from None


def _metered(f: BinaryIO) -> Any:
    """``f`` with a number of reads that it allows; every object of a stream takes at least one."""
    reads = itertools.count(1)

    def counted(read: Callable[..., Any]) -> Callable[..., Any]:
        def metered(*args: Any) -> Any:
            if next(reads) > MAX_READS:
                raise ValueError("more objects than any state dict has")
            return read(*args)

        return metered

    return SimpleNamespace(
        read=counted(f.read),
        readline=counted(lambda: f.readline(MAX_NAME)),
        readinto=counted(f.readinto),  # type: ignore[attr-defined]
        seek=f.seek,
        tell=f.tell,
    )


def _tensor_problems(tensors: Mapping[str, Tensor], size: int) -> Iterator[str]:
    yield from problems(described(tensors))
    for name, t in ((visible(name[:80]), t) for name, t in tensors.items()):
        if t.layout != torch.strided or t.device.type != "cpu" or t.is_quantized or t.is_nested:
            yield f"`{name}` is not a dense tensor"
        if t.nbytes > t.untyped_storage().nbytes():  # views with strides of 0 take no room in it
            yield f"`{name}` claims {t.nbytes:,} bytes that are not there"
    total = sum(t.nbytes for t in tensors.values())
    if total > 2 * size:  # tied weights may be seen twice
        yield f"its tensors claim {total:,} bytes, more than the file can hold"
