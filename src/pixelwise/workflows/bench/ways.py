"""The ways in which a model file can be carried out here: ours, and those of peers.

A peer that is not installed says so with what brings it; none is needed to use pixelwise.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.data.preprocess import Preprocess
from pixelwise.engine import backends, convolutions, planned
from pixelwise.engine import runner as runners
from pixelwise.engine.build import build
from pixelwise.engine.network import Network, filled
from pixelwise.engine.runner import Runner, TorchRunner
from pixelwise.errors import ResourceError, UsageError
from pixelwise.pictures import images
from pixelwise.predict import model as models
from pixelwise.predict.exported import SUFFIXES
from pixelwise.predict.quantising import quantised
from pixelwise.settings import as_dict
from pixelwise.weights import checkpoint
from pixelwise.weights.checkpoint import Header
from pixelwise.workflows.bench.by_hand import by_hand, tent

Way = Callable[[Tensor], tuple[Tensor, Callable[[], Tensor]]]
"""Pictures (1, B, H, W), preprocessed, to labels (H, W); and what gives all scores (K, H, W)."""
OWN = ("fp32", "low memory", "bf16", "int8", "oneDNN", "modules")
PEERS = ("by hand", "opencv", "onnxruntime", "openvino", "openvino bf16")
WAYS = (*OWN, *PEERS)


def random_checkpoint(net: str, folder: Path, **options: Any) -> Path:
    """A net of the catalogue with random weights of He's scale, as a model file."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build(net, **options)
        with torch.no_grad():
            for key, parameter in network.named_parameters():
                if parameter.ndim > 1:
                    torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
                elif key.endswith("bias"):
                    torch.nn.init.normal_(parameter, std=0.1)
    bands = sum(network.net.inputs.values())
    classes = tuple(str(i) for i in range(network.net.channels[network.net.output]))
    pixels = as_dict(Preprocess("rgb", 1.0, (128.0,) * bands, (1.0,) * bands))
    header = Header(net, options, classes, preprocess=pixels)
    return checkpoint.save_checkpoint(folder / f"{net}.safetensors", network.state_dict(), header)


def in_eight_bits(path: Path, image: NDArray[np.uint8], folder: Path) -> Path:
    """The same model quantised, calibrated on one picture: its speed is that of any other.

    Raises:
        ResourceError: R009 this processor does not multiply eight bits.
        UsageError: U002 it takes no picture of three bands.
    """
    if image.shape[2] != 3:
        raise UsageError(
            "U002", f"{path} takes {image.shape[2]} bands", "quantize it and give that"
        )
    photos = folder / "photos"
    images.write_image(photos / "noise.png", image)
    with_nothing = nullcontext(lambda: None)
    made = quantised(
        models.load(path), photos, pictures=1, agreement=1e-9, stage=lambda *_: with_nothing
    )
    return made.model.save(folder / f"{path.stem}-int8.safetensors")


def make(way: str, path: Path, picture: Tensor) -> Way:
    """A way to carry out a model file on pictures of this size.

    Raises:
        UsageError: U002 it cannot carry out this file.
        ResourceError: R008 its package is not installed.
        ModelError: as ``load``.
    """
    if path.suffix in SUFFIXES:
        if way != "fp32":
            raise UsageError("U002", f"{path} has a runtime of its own", "give a checkpoint")
        return by_runner(models.load(path).predictor.runner)
    low = checkpoint.read_header(path).quantised is not None
    if low and way != "int8":
        raise UsageError("U002", f"{path} holds eight bits alone", "--ways int8")
    if way in ("fp32", "bf16", "int8"):
        return by_runner(models.load(path, precision=way).predictor.runner)
    if way == "low memory":
        return by_runner(models.load(path, memory="low").predictor.runner)
    header, tensors = checkpoint.load_checkpoint(path)
    network = filled(checkpoint.net_of(header, path), tensors)
    match way:
        case "oneDNN":
            return _without_our_kernels(by_runner(models.load(path).predictor.runner))
        case "modules":
            return by_runner(TorchRunner(network))
        case "by hand":
            return _as_pytorch_fcn(network, header)
        case "opencv":
            return _opencv(network, picture)
    return _by_onnx(way, network)


def by_runner(runner: Runner) -> Way:
    """Labels of the first head."""

    def way(x: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        first = next(iter(runner.maps(x).values()))
        return first.labels()[0], lambda: first.whole()[0]

    return way


def _of_scores(scores: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
    return scores.argmax(0), lambda: scores


def _without_our_kernels(way: Way) -> Way:
    def run(x: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        # Weights are packed, and with that kernels are chosen, at the first picture.
        with ExitStack() as stack:
            for module in (convolutions, planned, runners):
                stack.enter_context(patch.object(module, "unavailable", lambda: "asked for"))
            return way(x)

    return run


def _as_pytorch_fcn(network: Network, header: Header) -> Way:
    if header.net != "fcn8s-vgg16" or {*header.options} - {"classes"}:
        raise UsageError("U002", f"{header.net} is not written by hand", "bench fcn8s-vgg16")
    weights = dict(network.state_dict())
    classes = network.net.channels[network.net.output]
    kernels = [tent(classes, k) for k in (4, 4, 16)]

    def way(x: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        with torch.no_grad():
            return _of_scores(by_hand(x, weights, kernels)[0])

    return way


def _opencv(network: Network, picture: Tensor) -> Way:
    from pixelwise.weights.caffe_files import caffemodel, prototxt
    from pixelwise.weights.caffe_layers import caffe_layers, misfits

    try:
        cv2 = import_module("cv2")
    except ImportError as error:
        hint = "pip install 'opencv-python-headless<5'"
        raise ResourceError("R008", "the package cv2 is not installed", hint) from error
    for unfit in misfits(network.net):
        raise UsageError("U002", f"Caffe cannot express the net: {unfit}", "leave opencv out")
    layers = list(caffe_layers(network.net, network.state_dict(), *picture.shape[2:]))
    text = np.frombuffer(prototxt("net", layers).encode(), np.uint8)
    numbers = np.frombuffer(b"".join(map(bytes, caffemodel("net", layers))), np.uint8)
    there = cv2.dnn.readNetFromCaffe(text, numbers)
    cv2.setNumThreads(torch.get_num_threads())

    def way(x: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        there.setInput(x.numpy(), "data")
        return _of_scores(torch.from_numpy(np.asarray(there.forward())[0]))

    return way


def _by_onnx(way: str, network: Network) -> Way:
    backends.package("onnx", "export")
    from pixelwise.export import onnx_graph

    tensors = {key: t.numpy() for key, t in network.state_dict().items()}
    data = onnx_graph.model(network.net, tensors).SerializeToString()
    if way == "onnxruntime":
        carry = backends.onnx_runtime(data)
    else:
        carry = backends.openvino(data, bf16=way.endswith("bf16"))

    def run(x: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        return _of_scores(torch.from_numpy(np.asarray(carry(x.numpy())[0])[0]))

    return run
