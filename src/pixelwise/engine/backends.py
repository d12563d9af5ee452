"""Other runtimes behind our own interface: what carries out a net that was exported.

They compute in their own order of sums, so that scores differ in the last digits; only a file that
gave our scores when it was written is kept (``export/``).
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.engine.memory import by_modules
from pixelwise.engine.runner import ScoreMap, refuse_not_finite
from pixelwise.engine.upsampling import Window
from pixelwise.errors import ResourceError
from pixelwise.nets.net import Net

Carry = Callable[[NDArray[np.float32]], list[NDArray[Any]]]
"""Preprocessed pictures (N, B, H, W) to the map of each head, in the net's order."""


class ForeignRunner:
    """A ``Runner`` whose net is carried out by another runtime, on the processor."""

    def __init__(self, net: Net, carry: Carry, precision: str) -> None:
        self.net, self.carry, self.precision = net, carry, precision
        self.device = torch.device("cpu")

    def needs(self, height: int, width: int, *, scores: bool = False) -> int:
        """What the runtime takes is not known: about as much as torch's modules."""
        return by_modules(self.net, height, width, scores=scores)

    def maps(self, x: Tensor) -> dict[str, ScoreMap]:
        """(N, B, H, W) float32 to the scores by head; these runtimes upsample them themselves."""
        given = self.carry(x.contiguous().numpy())
        by_head = {}
        for head, scores in zip(self.net.outputs, given, strict=True):
            cells = torch.from_numpy(np.ascontiguousarray(scores))
            by_head[head] = ScoreMap(cells, None, Window(0, 0, *cells.shape[-2:]))
            refuse_not_finite(by_head[head])
        return by_head


def onnx_runtime(data: bytes) -> Carry:
    """An ONNX file's content, by ONNX Runtime; R008 if that is not installed."""
    runtime = package("onnxruntime", "export")
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # it warns of each shape that it does not know beforehand
    options.intra_op_num_threads = torch.get_num_threads()
    session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (picture,) = session.get_inputs()

    def carry(x: NDArray[np.float32]) -> list[NDArray[Any]]:
        given: list[NDArray[Any]] = session.run(None, {picture.name: x})
        return given

    return carry


def openvino(source: Path | bytes, *, bf16: bool = False) -> Carry:
    """An OpenVINO file, or an ONNX file's content, by OpenVINO.

    Its default precision is otherwise the processor's best.
    """
    runtime = package("openvino", "openvino")
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    core = runtime.Core()
    read = core.read_model(source) if isinstance(source, bytes) else source
    compiled = core.compile_model(read, "CPU", settings)

    def carry(x: NDArray[np.float32]) -> list[NDArray[Any]]:
        given = compiled(x)
        return [given[port] for port in compiled.outputs]

    return carry


def package(name: str, extra: str) -> Any:
    """The package ``name``.

    Raises:
        ResourceError: R008 it is not installed; the hint names the extra that brings it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        hint = f"pip install 'pixelwise[{extra}]'"
        raise ResourceError("R008", f"the package {name} is not installed", hint) from error
