"""One door for every weight file: whatever it is, named tensors come out, or a refusal by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pixelwise.weights import safe
from pixelwise.weights.caffe import Array, CaffeLayer, CaffeModel, read_caffemodel
from pixelwise.weights.checkpoint import KEY, Header, load_checkpoint
from pixelwise.weights.sniff import sniff
from pixelwise.weights.torchfile import read_torch

ForeignKind = Literal["caffe", "torch", "safetensors", "pixelwise"]


@dataclass(frozen=True)
class Foreign:
    """Named tensors from a file; Caffe blobs are called ``<layer>.weight``, ``<layer>.bias``."""

    kind: ForeignKind
    tensors: Mapping[str, Tensor]
    name: str = ""
    """What the file calls its net."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Layer to Caffe's layer type, for the layers with blobs."""
    notes: tuple[str, ...] = ()
    """What was done on the way, one sentence each."""
    header: Header | None = None
    """Of a checkpoint of our own."""

    @property
    def parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(t.numel() for t in self.tensors.values())


def read_weights(path: Path | str) -> Foreign:
    """The tensors of a ``.caffemodel``, ``.safetensors`` or torch state dict file.

    Raises:
        ModelError: M001 missing, M002 damaged, M010 would run code, M011 a known format that is
            not read (named), M020 a number is not finite, M030 a newer checkpoint.
    """
    path = Path(path)
    match sniff(path):
        case "caffe":
            foreign = from_caffe(read_caffemodel(path))
        case "safetensors":
            foreign = _read_safetensors(path)
        case _:
            tensors, notes = read_torch(path)
            foreign = Foreign("torch", tensors, notes=notes)
    for name, tensor in foreign.tensors.items():
        safe.check_finite(name, tensor, str(path))
    return foreign


def from_caffe(model: CaffeModel) -> Foreign:
    """A Caffe model's blobs under our names.

    Caffe's BatchNorm keeps sums and how many were added; their quotient is the running mean and
    variance. Where two layers of one name carry blobs, the later one wins, as when Caffe copies.
    """
    tensors: dict[str, Tensor] = {}
    types: dict[str, str] = {}
    notes: list[str] = []
    for layer in model.layers:
        if not layer.blobs:
            continue
        if layer.name in types:
            notes.append(f"layer {layer.name} stands twice in the file; the later one counts")
            tensors = {k: v for k, v in tensors.items() if k.rpartition(".")[0] != layer.name}
        types[layer.name] = layer.type
        for parameter, array in _named(layer).items():
            tensors[f"{layer.name}.{parameter}"] = torch.from_numpy(np.ascontiguousarray(array))
    return Foreign("caffe", tensors, model.name, types, tuple(notes))


def _named(layer: CaffeLayer) -> dict[str, Array]:
    blobs = layer.blobs
    if layer.type == "BatchNorm" and len(blobs) == 3 and blobs[2].size == 1:
        count = float(blobs[2].reshape(()))
        factor = 1 / count if count else 0.0  # batch_norm_layer.cpp: an empty average counts as 0
        flat = [(b.reshape(-1) * factor).astype(b.dtype) for b in blobs[:2]]
        return {"running_mean": flat[0], "running_var": flat[1]}
    names = ["weight", "bias"] + [f"blob{i}" for i in range(2, len(blobs))]
    return {n: _natural(layer, i, b) for i, (n, b) in enumerate(zip(names, blobs, strict=False))}


def _natural(layer: CaffeLayer, index: int, blob: Array) -> Array:
    """The shape that the blob has outside of the legacy format, which pads to four axes."""
    if blob.ndim != 4:
        return blob
    if index == 0 and layer.type in ("Convolution", "Deconvolution", "conv"):
        return blob
    keep = 2 if index == 0 and layer.type in ("InnerProduct", "innerproduct") else 1
    leading = blob.shape[: 4 - keep]
    return blob.reshape(blob.shape[4 - keep :]) if set(leading) == {1} else blob


def _read_safetensors(path: Path) -> Foreign:
    with path.open("rb") as f:
        table = safe.read_table(f, path)
        if KEY not in table.metadata:
            return Foreign("safetensors", dict(safe.read_data(f, path, table)))
    header, tensors = load_checkpoint(path)
    return Foreign("pixelwise", tensors, header.net, header=header)
