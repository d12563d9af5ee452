"""What is inside a weight file, as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pixelwise.errors import ModelError
from pixelwise.machine.files import sha256
from pixelwise.weights.caffe import CaffeModel
from pixelwise.weights.load import Foreign, read_weights
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
        raise ModelError(
            "M002", f"{path}: SHA-256 is {digest}, expected {expect_sha256}", "fetch the file again"
        )
    foreign = read_weights(path)
    return {
        "path": str(path),
        "bytes": path.stat().st_size,
        "sha256": digest,
        **(_caffe(foreign.caffe) if foreign.caffe else {}),
        "kind": foreign.kind,
        "name": foreign.name,
        "parameters": foreign.parameters,
        "notes": list(foreign.notes),
        "tensors": _rows(foreign),
        **({"header": foreign.header.as_dict()} if foreign.header else {}),
    }


def _caffe(model: CaffeModel) -> dict[str, Any]:
    skipped = sum(model.skipped.values())
    accounting = {"weights": model.weight_bytes, "structure": model.structure_bytes}
    return {
        "accounting": accounting | {"fields without weights": skipped},
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


def _rows(foreign: Foreign) -> list[dict[str, Any]]:
    rows = []
    for name, tensor in foreign.tensors.items():
        empty = tensor.numel() == 0
        row = {
            "name": name,
            "shape": list(tensor.shape),
            "dtype": str(tensor.dtype).removeprefix("torch."),
            "n": tensor.numel(),
            "min": None if empty else tensor.min().item(),
            "max": None if empty else tensor.max().item(),
        }
        layer = layer_of(name)
        rows.append(row | ({"type": foreign.types[layer]} if layer in foreign.types else {}))
    return rows
