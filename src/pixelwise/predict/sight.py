"""What a net sees of one picture, cell by cell: its streams, and where a cell really looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.engine.network import Network
from pixelwise.engine.runner import evaluated
from pixelwise.errors import UsageError, unknown_name
from pixelwise.nets.net import Net
from pixelwise.predict.memory import check_step
from pixelwise.predict.predictor import Predictor


def streams(net: Net, head: str) -> tuple[str, ...]:
    """The layers with a head's scores before they are enlarged to the picture, coarse to fine.

    Those of each stream, and the sums of streams (``score_fr``, ``score_pool4``, ``fuse_pool4``).
    """
    classes = net.channels[net.outputs[head]]
    return tuple(
        name
        for name, layer in net.layers.items()
        if layer.kind in ("Conv", "Sum")
        and net.channels[name] == classes
        and net.sights[name].map.scale > 1
    )


@dataclass(frozen=True)
class Stream:
    """What a layer of scores says of a picture."""

    labels: NDArray[np.uint8]
    """(h, w): the best class of every cell."""
    differing: dict[str, float]
    """Of a sum: for each map in it the share of cells where that map alone says another class."""


def stream_labels(predictor: Predictor, image: NDArray[Any], head: str) -> dict[str, Stream]:
    """What each of a head's ``streams`` says, before and after they are added.

    Raises:
        UsageError: U002 the net is not carried out by torch, or has no such layers.
    """
    names, network = streams(predictor.net, head), _network(predictor)
    if not names:
        raise UsageError("U002", "the net has no scores but those of its output")
    added = {n: layer.inputs for n in names if (layer := predictor.net.layers[n]).kind == "Sum"}
    wanted = {*names, *(part for parts in added.values() for part in parts)}
    with evaluated(network):
        maps = network.activations(_prepared(predictor, image), wanted)
    best = {name: maps[name][0].argmax(0).numpy().astype(np.uint8) for name in wanted}
    return {
        name: Stream(
            best[name],
            {part: float((best[part] != best[name]).mean()) for part in added.get(name, ())},
        )
        for name in names
    }


def measured_field(
    predictor: Predictor, image: NDArray[Any], layer: str, at: tuple[int, int]
) -> NDArray[np.float32]:
    """Where the cell of a layer nearest to a pixel looks: (H, W), at most 1.

    The gradient of its strongest map by the picture, its size summed over the bands (Luo et al.
    2016: of the receptive field, the middle counts most).

    Args:
        predictor: of a net carried out by torch.
        image: as it takes.
        layer: of the net.
        at: (row, column) of a pixel.

    Raises:
        UsageError: U001 no such layer, U002 the pixel is outside.
        ResourceError: R003 the maps kept for the gradient do not fit into memory.
    """
    net, network, size = predictor.net, _network(predictor), image.shape[:2]
    if layer not in net.layers:
        raise unknown_name("layer", layer, [*net.layers])
    if not all(0 <= i < n for i, n in zip(at, size, strict=True)):
        raise UsageError("U002", f"pixel {at} lies outside a picture of {size}")
    shape = (1, size[0], size[1])
    check_step(net, [*net.layers], shape, number=4, device=torch.device("cpu"))
    x = _prepared(predictor, image).requires_grad_()
    training = network.training
    network.eval()
    with torch.enable_grad():
        cells = network.activations(x, [layer])[layer][0]
    network.train(training)
    sight = net.sights[layer].map
    nearest = [round(float((i - sight.shift) / sight.scale)) for i in at]
    row, column = (min(max(0, i), n - 1) for i, n in zip(nearest, cells.shape[1:], strict=True))
    (slope,) = torch.autograd.grad(cells[:, row, column].max(), x)
    seen = slope[0].abs().sum(0)
    shares: NDArray[np.float32] = (seen / seen.max().clamp_min(1e-30)).numpy()
    return shares


def _network(predictor: Predictor) -> Network:
    network = getattr(predictor.runner, "network", None)
    if not isinstance(network, Network) or predictor.runner.device.type != "cpu":
        what = "layers can be looked at in a checkpoint on a processor alone"
        raise UsageError("U002", what, "serve the run that was exported")
    return network


def _prepared(predictor: Predictor, image: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(predictor.preprocess(image))[None]
