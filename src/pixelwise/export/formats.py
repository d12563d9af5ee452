"""The formats of other runtimes: what goes into a file, and how it is carried out there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise import __version__
from pixelwise.engine.network import Network
from pixelwise.errors import ModelError, ResourceError
from pixelwise.export import onnx_graph
from pixelwise.machine.files import Content
from pixelwise.nets.net import Net
from pixelwise.weights.checkpoint import Header

MAX_PROTOBUF = 2**31 - 1
"""Bytes of an ONNX file that has its weights within."""

Outputs = dict[str, NDArray[Any]]
Runtime = Callable[[NDArray[np.float32]], Outputs]
"""Preprocessed pictures (N, B, H, W) to what the file gives, by head."""


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

    def named(self, values: Iterable[Any]) -> Outputs:
        """The file's outputs by head."""
        return {h: np.asarray(v) for h, v in zip(self.net.outputs, values, strict=True)}


@dataclass(frozen=True)
class Made:
    """A file, or two that belong together, and what carries them out."""

    contents: list[Content]
    runtime: Runtime


# -- the formats -----------------------------------------------------------------------------
def _onnx(work: Work, scratch: Path) -> Made:
    del scratch
    data = _onnx_bytes(work)
    ort = _package("onnxruntime")
    options = ort.SessionOptions()
    options.log_severity_level = 3  # it warns of each shape that it does not know beforehand
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (picture,) = session.get_inputs()
    return Made([data], lambda x: work.named(session.run(None, {picture.name: x})))


def _onnx_bytes(work: Work) -> bytes:
    onnx = _package("onnx")
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
    data, openvino = _onnx_bytes(work), _package("openvino")
    core = openvino.Core()
    model = core.read_model(data)
    for key, value in work.notes().items():
        model.set_rt_info(value, ["pixelwise", key])
    place = scratch / "model.xml"
    openvino.save_model(model, place, compress_to_fp16=False)
    compiled = core.compile_model(place, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(x: NDArray[np.float32]) -> Outputs:
        return work.named([compiled(x)[port] for port in compiled.outputs])

    return Made([_copy(place), _copy(place.with_suffix(".bin"))], run)


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
    def run(x: NDArray[np.float32]) -> Outputs:
        return work.named(module(torch.from_numpy(x)))

    return Made([_copy(place)], run)


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


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        extra = "openvino" if name == "openvino" else "export"
        hint = f"pip install 'pixelwise[{extra}]'"
        raise ResourceError("R008", f"the export needs the package {name}", hint) from error


MAKE: dict[str, Callable[[Work, Path], Made]] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "pt2": _pt2,
}
