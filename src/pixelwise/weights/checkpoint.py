"""A net's weights with all that is needed to use them: one safetensors file with a JSON header.

The header says which net it is, its options, classes, colours and preprocessing; a SHA-256 over
header, tensor names, shapes and numbers finds every flipped bit. Files are written whole or not at
all, with the mode that the umask gives.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor

from pixelwise import __version__
from pixelwise.errors import ModelError, UsageError, first_few
from pixelwise.machine.files import atomic_write
from pixelwise.nets import catalog
from pixelwise.nets.net import Net
from pixelwise.pictures.bands import InputKind
from pixelwise.settings import Byte, Natural, Plain, limits, parse_json, read, refuse, settings
from pixelwise.weights import safetensors_file
from pixelwise.weights.safetensors_file import DTYPES, Records
from pixelwise.weights.sniff import sniff

VERSION = 3
PLAIN = 2
"""The format of what is not quantised: earlier versions read it too."""
DAMAGED = "the file was changed or damaged after it was written; take another copy"
KEY = "pixelwise"
"""The entry of the safetensors metadata that holds the header."""
SINCE = {"heads": 2, "inputs": 2, "quantised": 3}
"""Fields of the header that files of an earlier format have not, nor their checksums."""

Palette = tuple[tuple[Byte, Byte, Byte], ...]


@settings("header.heads.", code="M002", hint=DAMAGED, others="ignore")
class HeadClasses:
    """What the labels of a head mean."""

    classes: tuple[str, ...]
    palette: Palette = ()


@settings("header.quantised.", code="M002", hint=DAMAGED, others="ignore")
class Calibration:
    """What the eight bits of a quantised net stand for, and how that was chosen."""

    maps: Mapping[str, tuple[Annotated[float, limits(gt=0)], Byte]]
    """By map: the step between two numbers, and the number that stands for zero."""
    layers: tuple[str, ...]
    """Convolutions in eight bits, by the last of the layers that are computed with them."""
    pictures: Natural = 0
    agreement: float = 0.0
    """Part of the labels that were those of float32, on other pictures."""


@settings("header.", code="M002", hint=DAMAGED, others="ignore")
class Header:
    """What a checkpoint says about itself."""

    net: str
    """Name in ``nets.catalog``; empty for loose blobs that belong to no net of ours."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of ``engine.build`` beside the name: classes, channels, width, ..."""
    classes: tuple[str, ...] = ()
    palette: Palette = ()
    """``classes`` and ``palette`` are the first head's."""
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    """A ``Preprocess`` as plain data."""
    inference: Mapping[str, Any] = field(default_factory=dict)
    """How pictures are shown to the net: ``View.as_dict()``."""
    scores: Mapping[str, Any] = field(default_factory=dict)
    step: Natural = 0
    data: Mapping[str, Any] = field(default_factory=dict)
    """Of the training data: path, fingerprint, ``splits`` if they were drawn, ``trained_on``."""
    heads: Mapping[Plain, HeadClasses] = field(default_factory=dict)
    """By the data's names, in the net's order; empty: one head that no data has named."""
    inputs: Mapping[Plain, InputKind] = field(default_factory=dict)
    """What made the pictures that it was trained on, by name, in the order of the bands."""
    quantised: Calibration | None = None
    """Of a net in eight bits."""
    made_by: str = ""
    version: Natural = PLAIN
    sha256: str = ""
    """Over header and tensors; filled in by ``save_checkpoint``."""

    def __post_init__(self) -> None:
        first = next(iter(self.heads.values()), None)
        other = first is not None and first.classes != self.classes
        refuse(other and "header.classes are not those of the first of header.heads")

    @property
    def trained_on(self) -> frozenset[str] | None:
        """``data.sample.content`` of each picture that the weights were trained on.

        None where nobody knows: early versions trained without a note of it.
        """
        contents = self.data.get("trained_on")
        if isinstance(contents, list):
            return frozenset(map(str, contents))
        return None if self.step else frozenset()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with the fields that its format has."""
        fields = dataclasses.asdict(self)
        return {k: v for k, v in fields.items() if SINCE.get(k, 1) <= self.version}


def save_checkpoint(path: Path | str, tensors: Mapping[str, Tensor], header: Header) -> Path:
    """Write ``tensors`` and ``header`` atomically; readers see the old file or the new one.

    Raises:
        ModelError: M020 a number is not finite, M040 a name or shape that could not be read again;
            nothing was written.
        ResourceError: R001 no space, R002 not writable; what stood at ``path`` stands still.
    """
    path = Path(path)
    safetensors_file.check_finite(tensors, path)
    records = safetensors_file.records_of(tensors)
    made_by = header.made_by or f"pixelwise {__version__}, torch {torch.__version__}"
    version = VERSION if header.quantised else PLAIN
    header = dataclasses.replace(header, version=version, made_by=made_by)
    sealed = dataclasses.replace(header, sha256=_digest(header, records, tensors))
    text = json.dumps(sealed.as_dict(), ensure_ascii=False)
    # A folder's name may be no UTF-8; its half surrogates are JSON's to escape, since the
    # container's library refuses them in a table.
    metadata = {KEY: text.encode("utf-8", "backslashreplace").decode()}
    return atomic_write(path, lambda f: safetensors_file.write(f, records, tensors, metadata))


def read_header(path: Path | str) -> Header:
    """The header alone; cheap, and no tensor is read (so the checksum is not verified)."""
    return _described(Path(path))[0]


def load_checkpoint(
    path: Path | str,
    *,
    net: torch.nn.Module | Mapping[str, Tensor] | None = None,
    mapped: bool = False,
    quantised: bool = False,
) -> tuple[Header, dict[str, Tensor]]:
    """Header and tensors, verified; with ``net`` names, shapes and types must be exactly its own.

    A net is a module or its state dict, on any device (meta will do); it is compared with the
    file's table before memory is taken. ``mapped`` tensors stay in the file until they are read.
    Weights in eight bits are for those who say that they know what to do with them.

    Raises:
        ModelError: M001 missing, M002 damaged or not a checkpoint, M020 not finite, M030 newer,
            M040 not the tensors of ``net``, or ``quantised`` ones.
    """
    path = Path(path)
    header, records = _described(path)
    if header.quantised and not quantised:
        what = f"{path} is quantised: it holds weights of eight bits, which only predict"
        raise ModelError("M040", what, "give the model that it was made from")
    if net is not None:
        wanted = net.state_dict() if isinstance(net, torch.nn.Module) else net
        if misfits := list(_misfits(records, wanted)):
            message = f"{path}: not the tensors of this net: {first_few(misfits, separator='; ')}"
            raise ModelError("M040", message, f"pixelwise weights show {path}")
    tensors = safetensors_file.read_tensors(path, records, mapped=mapped)
    computed, sealed = _digest(header, records, tensors), header.sha256
    if computed != sealed:
        message = f"{path}: the checksum is {computed[:12]}..., expected {sealed[:12]}..."
        raise ModelError("M002", message, DAMAGED)
    safetensors_file.check_finite(tensors, path)
    return header, tensors


def net_of(header: Header, path: Path) -> Net:
    """The net that a header describes, its heads named; it comes from a file and may say anything.

    Raises:
        ModelError: M040 no net that can be built, M002 heads that it has not.
    """
    if not header.net:
        message = f"{path} holds loose blobs of no net in the catalogue"
        raise ModelError("M040", message, "pixelwise weights import FILE --net NAME -o OUT")
    try:
        net = catalog.spec(header.net, **dict(header.options))
    except (UsageError, TypeError, ValueError, OverflowError) as error:
        message = f"{path}: the header describes no net that can be built ({error})"
        hint = "pip install --upgrade pixelwise, if a newer version wrote it"
        raise ModelError("M040", message, hint) from error
    try:
        if header.heads:
            net.name_heads([*header.heads])
    except UsageError as error:
        raise ModelError("M002", f"{path}: {error}", DAMAGED) from error
    return net


def _digest(header: Header, records: Records, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of header and records as sorted JSON, then of the numbers in the file's order."""
    plain = dataclasses.replace(header, sha256="").as_dict()
    text = json.dumps([plain, records], sort_keys=True, ensure_ascii=False)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in records:
        for piece in safetensors_file.pieces(tensors[name]):
            digest.update(safetensors_file.numbers(piece))
    return digest.hexdigest()


def _misfits(records: Records, wanted: Mapping[str, Tensor]) -> Iterator[str]:
    yield from (f"`{name}` is missing" for name in wanted if name not in records)
    for name, record in records.items():
        shape, dtype = record["shape"], DTYPES[record["dtype"]]
        if name not in wanted:
            yield f"`{name}` is not known to the net"
        elif shape != (expected := list(wanted[name].shape)):
            yield f"`{name}` is {shape}, expected {expected}"
        elif dtype != wanted[name].dtype:
            yield f"`{name}` is {dtype}, expected {wanted[name].dtype}"


def _described(path: Path) -> tuple[Header, Records]:
    """All that a checkpoint says before its numbers."""
    hint = f"pixelwise weights import {path} -o OUT.safetensors --net NAME"
    if (kind := sniff(path)) != "safetensors":
        raise ModelError("M002", f"{path}: looks like a {kind} file, expected safetensors", hint)
    records, metadata = safetensors_file.read_table(path)
    if KEY not in metadata:
        raise ModelError("M002", f"{path}: a safetensors file without a pixelwise header", hint)
    return header_in(metadata[KEY], path), records


def header_in(text: str, path: Path) -> Header:
    """The header that a file holds as ``text``.

    Raises:
        ModelError: M002 it is damaged, M030 newer than is read here.
    """
    try:
        data = parse_json(text)
    except ValueError as error:
        raise ModelError("M002", f"{path}: the header is {error}", DAMAGED) from error
    version = data.get("version") if isinstance(data, dict) else None
    if type(version) is int and version > VERSION:  # before its fields are read by our rules
        made_by = str(data.get("made_by", "unknown"))[:80]
        message = f"{path}: written in format {version} ({made_by}), read up to {VERSION}"
        raise ModelError("M030", message, "pip install --upgrade pixelwise")
    header = read(Header, data, place=path)
    for name in (f.name for f in dataclasses.fields(Header)):
        # A flipped bit in a name must not pass for a default.
        if name not in data and SINCE.get(name, 1) <= header.version:
            raise ModelError("M002", f"{path}: header.{name} is missing", DAMAGED)
    return header
