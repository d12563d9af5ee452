"""One door for every weight file: whatever it is, named tensors come out, or a refusal by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from pixelwise.data.preprocess import CAFFE, EFFICIENTNET_LITE, IMAGENET, Preprocess
from pixelwise.errors import ModelError
from pixelwise.machine.files import sha256
from pixelwise.weights.caffe import Array, CaffeLayer, CaffeModel, read_caffemodel
from pixelwise.weights.checkpoint import KEY, Header, load_checkpoint
from pixelwise.weights.names import common_wrappers, layer_of, recognise, renamed
from pixelwise.weights.safetensors_file import check_finite, read_table, read_tensors
from pixelwise.weights.sniff import sniff, weight_file
from pixelwise.weights.torchfile import read_torch

# The first filter's first channel in conv1_1 of VGG_ILSVRC_16_layers, to four places; Keras' VGG16
# carries the same numbers. Conversions keep them, their hashes differ. No measure of scale tells
# the two trainings apart: this channel's root mean square is 0.29, in torchvision's 0.51.
_CAFFE_VGG16 = ((0.4295, 0.3735, -0.0614), (0.2748, 0.0387, -0.3672), (-0.0575, -0.2622, -0.3501))
_FINE_TUNED = 0.02  # how far half precision and training at a rate of 1e-3 may move a weight
# Scaled to take 0..255, torchvision's first filter (root mean square 0.38) is 58 times smaller:
# 255 times ImageNet's mean deviation of 0.226. Nothing that was trained on either comes near.
_FOR_BYTES = 0.02
CAFFE_IN_RGB = Preprocess("rgb", CAFFE.scale, CAFFE.mean[::-1], CAFFE.std)
"""For Caffe's weights whose first layer had red and blue exchanged."""

# Caffe's layer types, those of 2013 in small letters, whose first blob has several axes.
_AXES = {"Convolution": 4, "conv": 4, "Deconvolution": 4, "InnerProduct": 2, "innerproduct": 2}

ForeignKind = Literal["caffe", "torch", "safetensors", "pixelwise"]


@dataclass(frozen=True)
class Foreign:
    """Named tensors from a file; Caffe blobs are called ``<layer>.weight``, ``<layer>.bias``."""

    kind: ForeignKind
    tensors: Mapping[str, Tensor]
    name: str = ""
    """What the file calls its net."""
    notes: tuple[str, ...] = ()
    """What was done on the way, one sentence each."""
    header: Header | None = None
    """Of a checkpoint of our own."""
    caffe: CaffeModel | None = None
    """As decoded."""
    names: Mapping[str, str] = field(default_factory=dict)
    """Its tensors to ours, where a table is known."""
    preprocess: Preprocess | None = None
    """What the weights were trained with, where the file's origin says it."""

    @property
    def has_factors(self) -> bool:
        """Whether an at-once net's fixed factors would be in the file.

        pytorch-fcn has them in its code, so that its at-once weights look like staged ones. Its
        files hold the kernels of its deconvolutions, which no state dict of ours does.
        """
        return self.kind in ("caffe", "pixelwise") or not any(
            name.startswith("upscore") for name in self.tensors
        )

    @property
    def parameters(self) -> int:
        """Numbers in all tensors."""
        return sum(t.numel() for t in self.tensors.values())


def read_weights(path: Path | str, *, quantised: bool = False) -> Foreign:
    """The tensors of a run folder, ``.caffemodel``, ``.safetensors`` or torch state dict file.

    Raises:
        ModelError: M001 missing, M002 damaged, M010 would run code, M011 a known format that is
            not read (named), M020 a number is not finite, M030 a newer checkpoint, M040 one of
            eight bits, where they are not wanted.
    """
    path = weight_file(Path(path))
    kind = sniff(path)
    if kind == "caffe":
        foreign = from_caffe(read_caffemodel(path))
    elif kind == "safetensors":
        records, metadata = read_table(path)
        if KEY in metadata:
            header, tensors = load_checkpoint(path, quantised=quantised)
            return Foreign("pixelwise", tensors, header.net, header=header)
        foreign = _named("safetensors", read_tensors(path, records))
    else:
        foreign = _named("torch", *read_torch(path, zipped=kind == "torch-zip"))
    check_finite(foreign.tensors, path)
    return foreign


def _named(
    kind: ForeignKind, tensors: Mapping[str, Tensor], notes: tuple[str, ...] = ()
) -> Foreign:
    """Tensors without what a tool put before their names, and what these say of it."""
    known = recognise(tensors)
    prefix = known.prefix if known else common_wrappers(tensors)
    if prefix:
        also = f"; so could be {', '.join(known.also)}" if known and known.also else ""
        notes += (f"prefix `{prefix}` taken off{also}",)
    inside = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    tensors = {n: t for n, t in tensors.items() if not n.startswith(prefix)} | inside
    if known is None or not known.layers:
        return Foreign(kind, tensors, notes=notes)
    preprocess, note = _trained_with(known.trunk, inside)
    whose = "efficientnet_lite_pytorch" if preprocess == EFFICIENTNET_LITE else "torchvision"
    name, names = f"{whose}'s {known.trunk}", renamed(inside, known.layers)
    return Foreign(kind, tensors, name, notes + note, names=names, preprocess=preprocess)


def _trained_with(trunk: str, tensors: Mapping[str, Tensor]) -> tuple[Preprocess, tuple[str, ...]]:
    """The preprocessing of weights under torchvision's names, and a note where it is another's.

    VGG16 goes round in conversions of Caffe's weights too, with the same names and shapes (fact
    sheet, trap 9). Other trunks have batch norm behind their first layer, or no Caffe twin.
    """
    if trunk.startswith("efficientnetlite"):
        return EFFICIENTNET_LITE, ()
    first = tensors.get("features.0.weight")
    if trunk != "vgg16" or first is None or first.shape[1:] != (3, 3, 3):
        return IMAGENET, ()
    caffe = torch.tensor(_CAFFE_VGG16)
    filters = first.float()
    if (filters[0, 0] - caffe).abs().max() < _FINE_TUNED:
        what, preprocess = "the numbers of Caffe's VGG16, as BGR", CAFFE
    elif (filters[0, 2] - caffe).abs().max() < _FINE_TUNED:  # red and blue exchanged
        what, preprocess = "the numbers of Caffe's VGG16, turned to RGB", CAFFE_IN_RGB
    elif filters.square().mean().sqrt() < _FOR_BYTES:
        what, preprocess = "weights as small as for 0..255", CAFFE
    else:
        return IMAGENET, ()
    return preprocess, (
        f"features.0 has {what}: pictures are shown {str(preprocess.order).upper()}, 0..255, less "
        "Caffe's mean (`pixelwise weights import --preprocess` states another)",
    )


def from_caffe(model: CaffeModel) -> Foreign:
    """A Caffe model's blobs under our names.

    Caffe's BatchNorm keeps sums and how many were added; their quotient is the running mean and
    variance. Its scale and shift are those of the Scale layer behind it. Where two layers of one
    name carry blobs, the later one wins, as when Caffe copies.
    """
    by_layer: dict[str, dict[str, Tensor]] = {}
    notes = []
    for before, layer in pairwise((CaffeLayer("", ""), *model.layers)):
        if not layer.blobs:
            continue
        arrays = {k: np.ascontiguousarray(v) for k, v in _parameters(layer).items()}
        tensors = {k: torch.from_numpy(v) for k, v in arrays.items()}
        behind = layer.bottoms and layer.bottoms == before.tops
        if behind and (before.type, layer.type) == ("BatchNorm", "Scale"):
            by_layer.setdefault(before.name, {}).update(tensors)
            continue
        if layer.name in by_layer:
            notes.append(f"layer {layer.name} stands twice in the file; the later one counts")
        by_layer[layer.name] = tensors
    named = {f"{name}.{k}": v for name, parts in by_layer.items() for k, v in parts.items()}
    return Foreign("caffe", named, model.name, tuple(notes), caffe=model, preprocess=CAFFE)


def _parameters(layer: CaffeLayer) -> dict[str, Array]:
    blobs = layer.blobs
    if layer.type == "BatchNorm" and len(blobs) == 3 and blobs[2].size == 1:
        count = float(blobs[2].reshape(()))
        factor = 1 / count if count else 0.0  # batch_norm_layer.cpp: an empty average counts as 0
        mean, variance = ((b.reshape(-1) * factor).astype(b.dtype) for b in blobs[:2])
        return {"running_mean": mean, "running_var": variance}
    names = ("weight", "bias", *(f"blob{i}" for i in range(2, len(blobs))))
    axes = (_AXES.get(layer.type, 1), *(1 for _ in blobs))
    return {n: _unpadded(b, a) for n, b, a in zip(names, blobs, axes, strict=False)}


def _unpadded(blob: Array, axes: int) -> Array:
    """The shape that a blob has outside of the legacy format, which pads to four axes."""
    padded = blob.ndim == 4 and set(blob.shape[: 4 - axes]) == {1}
    return blob.reshape(blob.shape[4 - axes :]) if padded else blob


def show(path: Path, *, expect_sha256: str = "") -> dict[str, Any]:
    """Tensors with shape, type and range, the file's SHA-256, a checkpoint's header.

    For a Caffe file also where every byte went; the parts add up to the file's size.

    Raises:
        ModelError: what ``read_weights`` raises, and M002 for another checksum than expected.
    """
    path = weight_file(path)
    sniff(path)  # what is refused is refused before gigabytes are hashed
    digest = sha256(path)
    if expect_sha256 and digest != expect_sha256.strip().lower():
        message = f"{path}: SHA-256 is {digest}, expected {expect_sha256}"
        raise ModelError("M002", message, "fetch the file again")
    foreign = read_weights(path, quantised=True)
    layers = foreign.caffe.layers if foreign.caffe else ()
    types = {layer.name: layer.type for layer in layers if layer.blobs}
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "sha256": digest,
        **(_caffe(foreign.caffe) if foreign.caffe else {}),
        "kind": foreign.kind,
        "name": foreign.name,
        "parameters": foreign.parameters,
        "notes": list(foreign.notes),
        "tensors": [_row(name, tensor, types) for name, tensor in foreign.tensors.items()],
        **({"header": foreign.header.as_dict()} if foreign.header else {}),
    }


def _caffe(model: CaffeModel) -> dict[str, Any]:
    return {
        "accounting": {
            "weights": model.weight_bytes,
            "structure": model.structure_bytes,
            "fields without weights": sum(model.skipped.values()),
        },
        "skipped": dict(model.skipped),
        "layers": [
            {
                "name": layer.name,
                "type": layer.type,
                "bottoms": list(layer.bottoms),
                "tops": list(layer.tops),
                "blobs": [list(blob.shape) for blob in layer.blobs],
            }
            for layer in model.layers
        ],
    }


def _row(name: str, tensor: Tensor, types: Mapping[str, str]) -> dict[str, Any]:
    layer = layer_of(name)
    return {
        "name": name,
        "shape": list(tensor.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "n": tensor.numel(),
        "min": tensor.min().item() if tensor.numel() else None,
        "max": tensor.max().item() if tensor.numel() else None,
        **({"type": types[layer]} if layer in types else {}),
    }
