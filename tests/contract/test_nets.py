"""What every net of the catalogue promises, by arithmetic and by running narrow copies."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import NETS, spec
from pixelwise.nets.layers import Input
from pixelwise.nets.pooling import MaxPool
from pixelwise.nets.released import RELEASED
from random_weights import shaken

# Two heads, bands of two inputs, two streams. The other released nets are nets of the catalogue
# with other options (tests/unit/nets/test_released.py compares their layers).
OF_PARTS = ["siftflow-fcn8s", "nyud-fcn32s-color-d", "nyud-fcn16s-color-hha"]
# Of three trunks that differ by channels and repeats one stands for all; of the others the 4s.
TWINS = [f"fcn{s}s-efficientnetlite{i}" for s in (32, 16, 8) for i in (1, 2)]
# Of the relatives on trunks those on Lite0 and the narrow one, and the best known on ResNet-50.
TWINS += [
    f"{kind}-{trunk}"
    for kind in ("unet", "deeplabv3", "pspnet")
    for trunk in ("mobilenetv2", "resnet18", "resnet50", "efficientnetlite1", "efficientnetlite2")
    if trunk != "resnet50" or kind == "unet"
]
DISTINCT = [n for n in NETS if (n not in RELEASED or n in OF_PARTS) and n not in TWINS]
SEGMENTERS = [name for name in DISTINCT if NETS[name].task == "segmentation"]
CLASSIFIERS = [name for name, entry in NETS.items() if entry.task == "classification"]
# Valid convolutions: the shortest pictures of which anything is left.
LEAST = {"unet": 188, "deconvnet-vgg16": 193}


def width(name: str) -> float:
    """Narrow enough to be quick, wide enough that no net is dead under random weights."""
    return 1 / 4 if "tiny" in name or "mobilenet" in name else 1 / 16


def large(name: str, *sides: int) -> tuple[int, ...]:
    """Sides of a picture, longer by what a net without padding takes from them."""
    return tuple(side + LEAST.get(name, 1) - 1 for side in sides)


def few(name: str) -> dict[str, Any]:
    """Five classes, or as few of two heads together."""
    return {"heads": {"sem": 3, "geo": 2}} if "siftflow" in name else {"classes": 5}


def scores(network: Network, x: Tensor) -> Tensor:
    """Those of all heads, one behind the other."""
    found = network(x)
    return found if isinstance(found, Tensor) else torch.cat([*found.values()], dim=1)


@cache
def narrow(name: str) -> Network:
    """A narrow copy with random weights everywhere, in evaluation mode."""
    return shaken(build(name, width=width(name), **few(name)))


def picture(name: str, n: int, *size: int) -> Tensor:
    bands = sum(narrow(name).net.inputs.values())
    return torch.randn(n, bands, *size, generator=torch.Generator().manual_seed(1))


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


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (31, 33), (37, 53), (64, 64), (97, 61)])
@pytest.mark.parametrize("name", SEGMENTERS)
def test_scores_have_the_pictures_size(name: str, size: tuple[int, int]) -> None:
    with torch.no_grad():
        found = scores(narrow(name), picture(name, 1, *large(name, *size)))
    assert found.shape[:2] == (1, 5)
    assert name == "unet" or found.shape[2:] == large(name, *size)
    assert found.isfinite().all()


@pytest.mark.parametrize("name", DISTINCT)
def test_sizes_by_arithmetic_are_those_of_the_maps(name: str) -> None:
    network = narrow(name)
    net = network.net
    sizes = ((227, 224), (263, 300)) if name in CLASSIFIERS else ((1, 7), (45, 66), (83, 32))
    for height, width in [large(name, *size) for size in sizes]:
        with torch.no_grad():
            maps = network.activations(picture(name, 1, height, width), net.layers)
        rows, columns = net.sizes(height), net.sizes(width)
        for layer, found in maps.items():
            assert found.shape == (1, net.channels[layer], rows[layer], columns[layer]), layer


def make_positive(network: Network) -> None:
    """Every convolution a mean, every normalisation the identity: nothing dies or is cut off."""
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(1 / p[0].numel() if p.dim() > 1 else 0)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1)


# -- batches, names, modes ------------------------------------------------------------------------
@pytest.mark.parametrize("name", DISTINCT)
def test_a_batch_of_two_is_two_of_one(name: str) -> None:
    network = narrow(name)
    size = (227, 230) if name in CLASSIFIERS else (35, 50)
    x = picture(name, 2, *large(name, *size))
    with torch.no_grad():
        both, one, two = scores(network, x), scores(network, x[:1]), scores(network, x[1:])
    scale = float(both.abs().max())
    torch.testing.assert_close(both, torch.cat([one, two]), rtol=0, atol=1e-5 * scale)
    assert not torch.equal(one, two)


@pytest.mark.parametrize("name", DISTINCT)
def test_state_dict_names_layers_and_fits_its_own_net(name: str) -> None:
    network = narrow(name)
    state = network.state_dict()
    assert {key.rsplit(".", 1)[0] for key in state} <= set(network.net.layers)
    assert set(network.net.parameter_shapes()) <= set(state)
    twin = build(name, width=width(name), **few(name)).eval()
    twin.load_state_dict(state)
    size = (224, 224) if name in CLASSIFIERS else (19, 40)
    with torch.no_grad():
        x = picture(name, 1, *large(name, *size))
        assert torch.equal(scores(twin, x), scores(network, x))


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    upsamples = any(layer.upsamples for layer in spec(name).layers.values())
    learned = {"learned": "all"} if upsamples else {}
    network = build(name, width=width(name), **few(name), **learned).eval()
    make_positive(network)
    faint = (
        1e-4 * picture(name, 1, *large(name, 40, 40)).abs()
    )  # residual blocks double it; ReLU6 would cut it off
    scores(network, faint).sum().backward()
    silent = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


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
