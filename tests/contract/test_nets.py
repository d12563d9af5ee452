"""What every net promises by arithmetic alone; `test_every_net.py` has what it does at work."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from narrow_nets import (
    DISTINCT,
    LEAST,
    OF_PARTS,
    SEGMENTERS,
    few,
    make_positive,
    narrow,
    picture,
    width,
)
from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import NETS, spec
from pixelwise.nets.layers import Input
from pixelwise.nets.pooling import MaxPool


# -- sizes ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_size_from_1_to_2048_gives_scores_of_that_size(name: str) -> None:
    net, least = spec(name), LEAST.get(name, 1)
    margin = {"unet": 92}.get(name, 0)  # Ronneberger et al. 2015, figure 1: 572 give 388
    for n in range(least, 601 if NETS[name].relative else 2049):  # strides are 32 at most
        sizes = net.sizes(n)
        given = {sizes[layer] for layer in net.outputs.values()}
        assert given == {n - 2 * margin - (n - 2 * margin - 4) % 16 * bool(margin)}
    if least > 1:
        with pytest.raises(UsageError, match="has no output for an input of"):
            net.sizes(least - 1)


# -- the receptive field, measured ----------------------------------------------------------------
def transparent(name: str) -> Network:
    """A copy through which every pixel of a window is felt: positive weights, means for maxima."""
    network = build(name, width=1 / 64, classes=1).double().eval()
    make_positive(network)
    for layer in network.net.layers.values():
        if isinstance(layer, MaxPool):
            mean = nn.AvgPool2d(layer.kernel, layer.stride, layer.pad, ceil_mode=layer.ceil)
            network.add_module(layer.name, mean)
    return network


def measured_window(network: Network, layer: str, cell: int, length: int) -> tuple[int, int]:
    """First and last input row that cell ``cell`` of ``layer`` feels, on a picture 1 px wide."""
    x = torch.full((1, 3, length, 1), 0.01, dtype=torch.float64, requires_grad=True)
    across = (
        network.net.sights[layer].map.inverse().shift
    )  # the column that is centred on the pixel
    column = min(max(0, round(across)), network.net.sizes(1)[layer] - 1)
    network.activations(x, [layer])[layer][0, 0, cell, column].backward()
    assert x.grad is not None
    felt = x.grad[0, 0, :, 0].nonzero().flatten()
    return int(felt[0]), int(felt[-1])


@pytest.mark.parametrize(
    "name",
    [
        "fcn4s-alexnet",
        "fcn4s-alexnet-tight",
        "fcn4s-vgg16",
        "fcn4s-vgg16-tight",
        "fcn4s-googlenet",
        "fcn4s-resnet18",
        "fcn4s-mobilenetv2",
        "fcn4s-tiny",
    ],
)
def test_receptive_field_by_gradient_is_that_by_arithmetic(name: str) -> None:
    network = transparent(name)
    net = network.net
    scored = [n for n in net.layers if n.startswith("score_") and not n.endswith("c")]
    assert len(scored) == 4
    for layer in scored:
        sight = net.sights[layer]
        length = int(sight.field) + 64
        cell = net.sizes(length)[layer] // 2
        centre = sight.map.scale * cell + sight.map.shift
        half = (int(sight.field) - 1) / 2
        expected = (float(centre) - half, float(centre) + half)
        assert measured_window(network, layer, cell, length) == expected, layer


@pytest.mark.parametrize("name", ["fcn32s-tiny", "fcn8s-tiny", "fcn16s-resnet18", "fcn8s-vgg16"])
def test_no_score_sees_beyond_its_field_and_some_see_all_of_it(name: str) -> None:
    # a tile needs this much around it; which side a pixel sees further to depends on its phase
    network = transparent(name)
    field = int(network.net.sights["score"].field)
    length = field + 40
    start = length // 2 - 16
    before, after = 0, 0
    for pixel in range(start, start + 32):
        first, last = measured_window(network, "score", pixel, length)
        before, after = max(before, pixel - first), max(after, last - pixel)
    half = (field - 1) / 2
    assert max(before, after) == math.floor(half)


def test_both_axes_are_treated_alike() -> None:
    for name in ("fcn8s-alexnet", "fcn8s-mobilenetv2"):
        network = narrow(name)
        turned = build(name, width=width(name), **few(name)).eval()
        turned.load_state_dict(
            {
                key: value.transpose(-1, -2) if value.dim() == 4 else value
                for key, value in network.state_dict().items()
            }
        )
        x = picture(name, 1, 70, 41)
        with torch.no_grad():
            a, b = network(x), turned(x.transpose(-1, -2)).transpose(-1, -2)
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * float(a.abs().max()))


def test_the_first_layer_is_the_picture() -> None:
    for name in set(DISTINCT) - set(OF_PARTS):
        net = spec(name, channels=4)
        assert isinstance(net.layers[net.input], Input)
        assert net.channels[net.input] == 4
