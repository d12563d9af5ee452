"""What is inside a weight file, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pixelwise.errors import ModelError
from pixelwise.machine.files import sha256
from pixelwise.weights.caffe import CaffeModel
from pixelwise.weights.load import read_weights
from pixelwise.weights.names import layer_of
from pixelwise.weights.sniff import sniff, weight_file


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
    foreign = read_weights(path)
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
