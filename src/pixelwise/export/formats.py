"""The formats of other runtimes: what goes into a file, and how it is carried out there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise import __version__
from pixelwise.engine.backends import Carry, onnx_runtime, openvino, package
from pixelwise.engine.network import Network
from pixelwise.errors import ModelError
from pixelwise.export import onnx_graph
from pixelwise.machine.files import Content
from pixelwise.nets.net import Net
from pixelwise.weights.checkpoint import Header

MAX_PROTOBUF = 2**31 - 1
"""Bytes of an ONNX file that has its weights within."""


@dataclass(frozen=True)
class Work:
    """What is to be written."""

    network: Network
    header: Header
    labels: bool
    size: tuple[int, int]

    @property
    def net(self) -> Net:
        """The records."""
        return self.network.net

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the file gives, in the order of the heads."""
        heads = tuple(self.net.outputs)
        if not self.labels:
            return heads
        return tuple(f"{h}.{onnx_graph.LABELS}" for h in heads) if heads[1:] else ("labels",)

    def notes(self) -> dict[str, str]:
        """What a user of the file must know, by the keys under which it stands in there."""
        own = self.header
        heads = {name: list(head.classes) for name, head in own.heads.items()}
        notes = {
            "made_by": f"pixelwise {__version__}",
            "classes": json.dumps(heads or list(own.classes), ensure_ascii=False),
            "palette": json.dumps([list(colour) for colour in own.palette]),
            "preprocess": json.dumps(dict(own.preprocess)),
            "gives": "labels" if self.labels else "scores",
            "pixelwise": json.dumps(own.as_dict(), ensure_ascii=False),
        }
        return {
            key: value.encode("utf-8", "backslashreplace").decode() for key, value in notes.items()
        }


@dataclass(frozen=True)
class Made:
    """A file, or two that belong together, and what carries them out."""

    contents: list[Content]
    carry: Carry


# -- the formats -----------------------------------------------------------------------------
def _onnx(work: Work, scratch: Path) -> Made:
    del scratch
    data = _onnx_bytes(work)
    return Made([data], onnx_runtime(data))


def _onnx_bytes(work: Work) -> bytes:
    onnx = package("onnx", "export")
    tensors = {name: t.numpy() for name, t in work.network.state_dict().items()}
    stored = sum(t.nbytes for t in tensors.values())
    if stored > MAX_PROTOBUF:
        what = f"{work.header.net}: {stored:,} bytes of weights, an ONNX file has at most 2 GiB"
        raise ModelError("M040", what, "a narrower net, or fewer classes")
    pixels = json.dumps(dict(work.header.preprocess))
    doc = f"{work.header.net}; pictures: (x * scale - mean) / std, those of log as logarithms: "
    model = onnx_graph.model(work.net, tensors, labels=work.labels, doc=doc + pixels)
    onnx.helper.set_model_props(model, work.notes())
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _openvino(work: Work, scratch: Path) -> Made:
    core = package("openvino", "openvino").Core()
    model = core.read_model(_onnx_bytes(work))
    for key, value in work.notes().items():
        model.set_rt_info(value, ["pixelwise", key])
    place = scratch / "model.xml"
    package("openvino", "openvino").save_model(model, place, compress_to_fp16=False)
    return Made([_copy(place), _copy(place.with_suffix(".bin"))], openvino(place))


def _pt2(work: Work, scratch: Path) -> Made:
    """torch's own; with free sizes it takes not all nets (2.13: one cell is no free size)."""
    bands = sum(work.net.inputs.values())
    picture = torch.zeros(1, bands, *work.size)
    with torch.no_grad():
        program = torch.export.export(_Plain(work.network, labels=work.labels), (picture,))
    place = scratch / "model.pt2"
    torch.export.save(program, place, extra_files=work.notes())
    module = program.module()

    @torch.inference_mode()
    def carry(x: NDArray[np.float32]) -> list[NDArray[Any]]:
        return [given.numpy() for given in module(torch.from_numpy(x))]

    return Made([_copy(place)], carry)


class _Plain(torch.nn.Module):
    """A net that gives a tuple, in the order of its heads."""

    def __init__(self, network: Network, *, labels: bool) -> None:
        super().__init__()
        self.network, self.labels = network, labels

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        maps = self.network.activations(x, self.network.net.outputs.values())
        given = (maps[layer] for layer in self.network.net.outputs.values())
        return tuple(scores.argmax(1) if self.labels else scores for scores in given)


def _copy(place: Path) -> Content:
    return lambda f: f.write(place.read_bytes())


MAKE: dict[str, Callable[[Work, Path], Made]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "pt2": _pt2,
}
