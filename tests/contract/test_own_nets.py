"""Nets that stand in no catalogue, against torch written by hand: what a new kind of layer needs.

Uneven padding, valid convolutions with a margin, unpooling, general deconvolutions, and a kind that
is made here. Of each: outputs, sizes of 1 to 200 pixels, and the receptive field by gradient.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.engine.memory import peak_of_maps
from pixelwise.engine.modules import MODULES
from pixelwise.engine.network import Network
from pixelwise.errors import UsageError
from pixelwise.geometry import CoordMap
from pixelwise.nets.joining import Concat
from pixelwise.nets.layers import Deconv
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import MaxPool
from pixelwise.nets.record import Layer, Shapes
from pixelwise.nets.table import table
from pixelwise.weights import surgery

Weights = Mapping[str, Tensor]


# -- TensorFlow's SAME on even lengths: one cell after, none before -------------------------------
def same() -> Net:
    net = Net()
    x = net.conv("conv1", net.data(2), 4, kernel=3, stride=2, pad=(0, 1), relu="relu1")
    x = net.max_pool("pool1", x, 3, 2, (0, 1), ceil=False)
    x = net.conv("conv2", x, 3, kernel=2, pad=(1, 0), bias=False)
    net.top = net.score("score_fr", x, 5)
    net.crop("score", net.upsample("upscore", net.top, 4, like="data"), like="data")
    return net


def starts(n: int) -> list[int]:
    """First cells of the 3-cell windows at stride 2 that lie in n cells and one."""
    return [start for start in range(0, n, 2) if start + 3 <= n + 1]


def same_by_hand(image: Tensor, w: Weights) -> Tensor:
    x = F.pad(image, (0, 1, 0, 1))
    x = F.relu(F.conv2d(x, w["conv1.weight"], w["conv1.bias"], stride=2))
    rows, columns = (starts(n) for n in x.shape[-2:])
    windows = [[x[:, :, i : i + 3, j : j + 3].amax((2, 3)) for j in columns] for i in rows]
    x = torch.stack([torch.stack(row, dim=2) for row in windows], dim=2)
    x = F.conv2d(F.pad(x, (1, 0, 1, 0)), w["conv2.weight"])
    x = F.conv2d(x, w["score_fr.weight"], w["score_fr.bias"])
    # Cell i is centred on pixel 4i + 1, and after the deconvolution on 4i + 3: two are cut off.
    ramp = torch.tensor([1, 2, 3, 4, 3, 2, 1], dtype=x.dtype) / 4
    tent = torch.eye(5, dtype=x.dtype)[:, :, None, None] * torch.outer(ramp, ramp)
    h, v = image.shape[-2:]
    return F.conv_transpose2d(x, tent, stride=4)[:, :, 2 : 2 + h, 2 : 2 + v]


# -- U-Net in small: valid convolutions, a skip cut to what is left, learned enlarging -------------
def unet(net: Net, widths: tuple[int, ...], *, classes: int = 2, bands: int = 1) -> Net:
    """Two 3x3 convolutions a level, no padding (Ronneberger et al. 2015, figure 1)."""
    x, skips = net.data(bands), []
    for i, width in enumerate(widths):
        if i:
            x = net.max_pool(f"pool{i}", x)
        for part in "ab":
            x = net.conv(f"down{i}{part}", x, width, kernel=3, relu=f"relu_down{i}{part}")
        skips.append(x)
    for i in reversed(range(len(widths) - 1)):
        x = net.add(Deconv(f"up{i}", (x,), widths[i]))
        x = net.add(Concat(f"joined{i}", (net.crop(f"skip{i}", skips[i], like=x), x)))
        for part in "ab":
            x = net.conv(f"rise{i}{part}", x, widths[i], kernel=3, relu=f"relu_rise{i}{part}")
    net.top = net.score("score", x, classes)
    return net


def unet_by_hand(x: Tensor, w: Weights) -> Tensor:
    def twice(x: Tensor, name: str) -> Tensor:
        for part in "ab":
            x = F.relu(F.conv2d(x, w[f"{name}{part}.weight"], w[f"{name}{part}.bias"]))
        return x

    left = twice(x, "down0")
    low = twice(F.max_pool2d(left, 2), "down1")
    up = F.conv_transpose2d(low, w["up0.weight"], w["up0.bias"], stride=2)
    # 4 cells before: the 2x2 pool's and the deconvolution's halves cancel, two 3x3 take 2 each side
    h, v = up.shape[-2:]
    x = twice(torch.cat([left[:, :, 4 : 4 + h, 4 : 4 + v], up], dim=1), "rise0")
    return F.conv2d(x, w["score.weight"], w["score.bias"])


# -- SegNet in small: unpooling where the maxima stood --------------------------------------------
def segnet() -> Net:
    net = Net()
    x = net.conv("conv1", net.data(3), 4, kernel=3, pad=1, relu="relu1")
    x = net.max_pool("pool1", x, indices=True)
    x = net.conv("conv2", x, 4, kernel=3, pad=1, relu="relu2")
    net.top = net.score("score", net.unpool("unpool1", x, "pool1"), 3)
    return net


def segnet_by_hand(x: Tensor, w: Weights) -> Tensor:
    x = F.relu(F.conv2d(x, w["conv1.weight"], w["conv1.bias"], padding=1))
    size = x.shape[-2:]
    x, where = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
    x = F.relu(F.conv2d(x, w["conv2.weight"], w["conv2.bias"], padding=1))
    x = F.max_unpool2d(x, where, 2, 2, output_size=size)
    return F.conv2d(x, w["score.weight"], w["score.bias"])


# -- deconvolutions of any kind ------------------------------------------------------------------
def deconvolved() -> Net:
    net = Net()
    x = net.conv("conv1", net.data(4), 6, kernel=3, stride=3, relu="relu1")
    x = net.add(Deconv("up1", (x,), 4, 5, 3, (1, 0), groups=2))
    x = net.add(Deconv("up2", (x,), 4, 3, 1, 1, groups=4, bias=False, init="bilinear"))
    net.top = net.score("score", x, 3)
    return net


def deconvolved_by_hand(x: Tensor, w: Weights) -> Tensor:
    x = F.relu(F.conv2d(x, w["conv1.weight"], w["conv1.bias"], stride=3))
    x = F.conv_transpose2d(x, w["up1.weight"], w["up1.bias"], stride=3, groups=2)[:, :, 1:, 1:]
    x = F.conv_transpose2d(x, w["up2.weight"], padding=1, groups=4)
    return F.conv2d(x, w["score.weight"], w["score.bias"])


# -- what is asked of each -----------------------------------------------------------------------
Case = tuple[Callable[[], Net], Callable[[Tensor, Weights], Tensor], tuple[int, int]]
CASES: dict[str, Case] = {
    "same": (same, same_by_hand, (28, 45)),
    "unet": (lambda: unet(Net(), (4, 6), classes=3), unet_by_hand, (24, 30)),
    "segnet": (segnet, segnet_by_hand, (13, 18)),
    "deconvolved": (deconvolved, deconvolved_by_hand, (13, 17)),
}


@pytest.mark.parametrize("name", CASES)
def test_it_gives_what_torch_by_hand_gives(name: str) -> None:
    write, by_hand, size = CASES[name]
    network = shaken(Network(write()))
    x = torch.randn(2, sum(network.net.inputs.values()), *size, dtype=torch.float64)
    with torch.no_grad():
        expected = by_hand(x, network.state_dict())
        assert expected.std() > 1e-3
        torch.testing.assert_close(network(x), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_sizes_by_arithmetic_are_those_of_the_modules_from_1_to_200(name: str) -> None:
    with torch.device("meta"):
        network = Network(CASES[name][0]())
    net = network.net
    maps = list(net.channels)
    refused = 0
    for n in range(1, 201):
        x = torch.empty(1, sum(net.inputs.values()), n, 201 - n, device="meta")
        try:
            rows, columns = net.sizes(n), net.sizes(201 - n)
        except UsageError:
            refused += 1
            with pytest.raises((RuntimeError, ValueError)):
                network(x)
            continue
        for layer, found in network.activations(x, maps).items():
            assert found.shape == (1, net.channels[layer], rows[layer], columns[layer]), layer
    assert refused < 110


@pytest.mark.parametrize("name", CASES)
def test_no_cell_sees_beyond_its_field_and_some_see_all_of_it(name: str) -> None:
    network = Network(CASES[name][0]()).double().eval()
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(1)
    net, length = network.net, 41
    bands = sum(net.inputs.values())
    seen = net.sights[net.output]
    # Of many random pictures each cell of a pooling's window is the largest in some.
    x = torch.rand(100, bands, length, 29, dtype=torch.float64, requires_grad=True)
    scores = network(x)[:, 0]
    half = (seen.field - 1) / 2
    reach = Fraction(0)
    first = -(-(half - seen.map.shift) // seen.map.scale)
    for cell in range(int(first), scores.shape[1]):
        centre = seen.map.scale * cell + seen.map.shift
        if centre + half > length - 1:
            break
        (gradient,) = torch.autograd.grad(scores[:, cell].sum(), x, retain_graph=True)
        felt = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
        reach = max(reach, centre - int(felt[0]), int(felt[-1]) - centre)
    assert half - 1 < reach <= half


@dataclass(frozen=True)
class Prelu(Layer):
    """max(x, 0) + slope * min(x, 0), a slope per channel (He et al. 2015)."""

    def parameters(self, given: tuple[int, ...]) -> Shapes:
        return {"weight": (given[0],)}


def test_a_new_kind_is_a_record_and_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Net, table, memory, state dict, surgery and forward pass take it up by themselves."""
    monkeypatch.setitem(MODULES, Prelu, lambda _, channels: nn.PReLU(channels))
    net = Net()
    x = net.add(Prelu("prelu1", (net.conv("conv1", net.data(1), 3, kernel=3),)))
    net.top = net.score("score", x, 2)
    network = Network(net)
    assert net.parameters() == 3 * 9 + 3 + 3 + 2 * 3 + 2
    assert net.parameter_shapes()["prelu1.weight"] == (3,)
    assert network.state_dict()["prelu1.weight"].tolist() == [0.25] * 3
    row = table(net, 4, 5)[2]
    assert (row.name, row.kind, row.parameters, row.receptive_field) == ("prelu1", "Prelu", 3, 3)
    assert peak_of_maps(net, 4, 5) == (20 + 18 + 18, "prelu1")
    moved = surgery.plan({"prelu1.weight": torch.zeros(3)}, network)
    assert [row.target for row in moved.of("copied")] == ["prelu1.weight"]
    network.load_state_dict({**network.state_dict(), "prelu1.weight": torch.tensor([0.0, 1, 2])})
    maps = network.activations(torch.randn(1, 1, 4, 5), ["conv1", "prelu1"])
    slopes = torch.tensor([0.0, 1, 2])[:, None, None]
    low = maps["conv1"].clamp(max=0)
    assert torch.allclose(maps["prelu1"], maps["conv1"].clamp(min=0) + slopes * low)


# -- the margin ------------------------------------------------------------------------------------
def test_the_published_unet_leaves_its_margin() -> None:
    # Ronneberger et al. 2015, figure 1: 572 -> 388, so 92 on each side; 23 convolutional layers
    net = unet(Net(), (64, 128, 256, 512, 1024))
    assert net.frame(572, 572) == (92, 388, 388)
    assert net.frame(572, 588) == (92, 388, 404)
    assert net.depth == 23
    assert [net.crops()[f"skip{i}"] for i in (3, 2, 1, 0)] == [4, 16, 40, 88]
    sizes = net.sizes(572)
    assert [sizes[f"relu_down{i}b"] for i in range(5)] == [568, 280, 136, 64, 28]


def test_a_frame_is_where_a_picture_returns_unmoved() -> None:
    net = unet(Net(), (2, 2), classes=1)
    network = Network(net).double()
    with torch.no_grad():  # every 3x3 kernel passes its centre on, the upward way adds nothing
        for p in network.parameters():
            p.zero_()
            if p.shape[-1] == 3:
                p[0, 0, 1, 1] = 1
        network.get_submodule("score").weight[0, 0] = 1
    x = torch.rand(1, 1, 28, 32, dtype=torch.float64)
    top, height, width = net.frame(28, 32)
    assert (top, height, width) == (8, 12, 16)
    assert torch.equal(network(x), x[:, :, top : top + height, top : top + width])


def test_frames_of_whole_and_of_coarse_outputs() -> None:
    net = same()
    assert net.frame(28, 44) == (0, 28, 44)
    net.heads["fine"] = "score"
    net.heads["coarse"] = "score_fr"
    assert net.frame(28, 44, "fine") == (0, 28, 44)
    with pytest.raises(UsageError, match=r"cells of score_fr lie at 4x\+1 of the picture"):
        net.frame(28, 44, "coarse")
    net = Net()
    net.heads["wide"] = net.conv("wide", net.data(1), 1, kernel=3, pad=(1, 3))
    with pytest.raises(UsageError, match="wide ends beyond a picture of 5x6"):
        net.frame(5, 6, "wide")


# -- unpooling -------------------------------------------------------------------------------------
def test_uneven_padding_that_no_framework_defines_is_refused() -> None:
    for wrong in ({}, {"ceil": False, "indices": True}):
        with pytest.raises(UsageError, match=r"pool: padding \(0, 1\) beside rounding"):
            MaxPool("pool", ("data",), 2, 2, (0, 1), **wrong)


def test_unpooling_holds_indices_of_eight_bytes_and_not_the_map_whose_size_it_takes() -> None:
    net = segnet()
    # The picture 300 and twice 400 at relu1; at unpool1 the picture, relu2 100, the indices 200 and
    # what is made 400: relu1 is gone.
    assert peak_of_maps(net, 10, 10) == (300 + 400 + 400, "relu1")
    network, held = Network(net), {}
    keep = weakref.WeakValueDictionary[str, Tensor]()
    network.get_submodule("relu1").register_forward_hook(
        lambda _m, _i, out: keep.__setitem__("relu1", out)
    )
    network.get_submodule("unpool1").register_forward_pre_hook(
        lambda _m, given: held.update(relu1="relu1" in keep, like=given[2].shape)
    )
    with torch.no_grad():
        network(torch.rand(1, 3, 10, 12))
    assert held == {"relu1": False, "like": (0, 0, 10, 12)}
    alone = Net()
    alone.max_pool("pool", alone.data(4), indices=True)
    assert peak_of_maps(alone, 10, 10) == (400 + 100 + 200, "pool")
    assert Network(alone)(torch.rand(1, 4, 10, 10)).shape == (1, 4, 5, 5)


def test_unpooling_without_indices_or_from_windows_that_overlap_is_refused() -> None:
    net = Net()
    net.max_pool("plain", net.data(1))
    net.max_pool("overlapping", "data", 3, 2, indices=True)
    for pool in ("plain", "overlapping", "data"):
        with pytest.raises(UsageError, match=f"{pool} is no max pooling with indices"):
            net.unpool("back", "plain", pool)


def test_a_bilinear_start_is_the_bilinear_kernel_and_he_keeps_the_scale() -> None:
    net = Net()
    net.add(Deconv("up", (net.data(64),), 64, 4, 2, 1, groups=2, bias=False, init="bilinear"))
    x = torch.randn(1, 64, 5, 6)
    fixed = F.interpolate(x, scale_factor=2, mode="bilinear")[..., 1:-1, 1:-1]
    torch.testing.assert_close(Network(net)(x)[..., 1:-1, 1:-1], fixed, rtol=0, atol=1e-6)
    with pytest.raises(UsageError, match="a bilinear start from 64 to 32 channels"):
        net.add(Deconv("other", ("up",), 32, init="bilinear"))
    torch.manual_seed(0)
    net = Net()
    net.add(Deconv("up", (net.data(64),), 48, 4, 2, groups=2))
    out = Network(net)(torch.randn(4, 64, 16, 16).relu())[..., 4:-4, 4:-4]
    # He et al. 2015, eq. 10: half of what comes in is zero, and the variance is kept at one
    assert out.var().item() == pytest.approx(1, abs=0.1)


def test_sights_of_uneven_padding_by_hand() -> None:
    net = same()
    # conv1 3/2 begins on pixels 0..2, pool1 on cells 0..2 of it, conv2 one cell before
    assert net.sights["conv1"].map == CoordMap(Fraction(2), Fraction(1))
    assert net.sights["pool1"].map == CoordMap(Fraction(4), Fraction(3))
    assert net.sights["conv2"].map == CoordMap(Fraction(4), Fraction(1))
    assert [net.sights[n].field for n in ("conv1", "pool1", "conv2")] == [3, 7, 11]
    assert net.crops() == {"score": 2}


def shaken(network: Network) -> Network:
    """Float64, random weights everywhere."""
    generator = torch.Generator().manual_seed(0)
    network = network.double().eval()
    with torch.no_grad():
        for p in network.parameters():
            fan = p[0].numel() if p.dim() > 1 else 16
            p.copy_(torch.randn(p.shape, generator=generator, dtype=p.dtype) / fan**0.5)
    return network
