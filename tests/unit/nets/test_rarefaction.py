"""Strides lowered: by dilation, with the paper's zero-filled filters, and with longer ones."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import UsageError
from pixelwise.geometry import CoordMap
from pixelwise.nets import lower_stride, rarefy
from pixelwise.nets.catalog import spec
from pixelwise.nets.layers import Conv
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import AvgPool, MaxPool
from pixelwise.weights import surgery


def whole(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Small whole numbers in float64: sums of their products are exact in any order."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4, 5, shape, generator=generator).double()


def toy() -> Net:
    """conv, pool, conv, pool, conv: stride 4, nothing padded, sizes rounded down."""
    net = Net()
    x = net.conv("conv1", net.data(2), 4, kernel=3, relu="relu1")
    x = net.max_pool("pool1", x, 2, 2, ceil=False)
    x = net.conv("conv2", x, 4, kernel=3, relu="relu2")
    x = net.max_pool("pool2", x, 3, 2, ceil=False)
    net.top = net.conv("conv3", x, 3, kernel=2)
    return net


def exact(net: Net) -> Network:
    network = Network(net).double().eval()
    with torch.no_grad():
        for i, (_, p) in enumerate(network.named_parameters()):
            p.copy_(whole(tuple(p.shape), i))
    return network


def with_weights_of(network: Network, net: Net) -> Network:
    other = Network(net).double().eval()
    other.load_state_dict(network.state_dict())
    return other


def zero_filled(weight: Tensor, s: int) -> Tensor:
    """f'[i, j] = f[i/s, j/s] where s divides both, else 0 (paper, section 3.2)."""
    longer = torch.zeros(*weight.shape[:2], *(s * n for n in weight.shape[2:]), dtype=weight.dtype)
    for i in range(longer.shape[2]):
        for j in range(longer.shape[3]):
            if i % s == 0 and j % s == 0:
                longer[:, :, i, j] = weight[:, :, i // s, j // s]
    return longer


# -- the rule of section 3.2 ----------------------------------------------------------------------
def test_rarefied_filters_are_the_papers_zero_filled_ones() -> None:
    network = exact(toy())
    x, w = whole((1, 2, 29, 34), 9), network.state_dict()
    found = with_weights_of(network, rarefy(toy(), "pool1", "pool2"))(x)
    y = F.relu(F.conv2d(x, w["conv1.weight"], w["conv1.bias"]))
    y = F.max_pool2d(y, 2, 1)
    y = F.relu(F.conv2d(y, zero_filled(w["conv2.weight"], 2), w["conv2.bias"]))
    taps = [(i, j) for i in (0, 2, 4) for j in (0, 2, 4)]
    y = torch.stack([y[:, :, i : y.shape[2] - 4 + i, j : y.shape[3] - 4 + j] for i, j in taps])
    y = y.amax(0)
    y = F.conv2d(y, zero_filled(w["conv3.weight"], 4), w["conv3.bias"])
    # The zeros behind the last tap reach beyond it, where a dilated filter ends: s - 1 cells each.
    h, v = y.shape[-2:]
    assert found.shape[-2:] == (h + 1 + 3, v + 1 + 3)
    assert torch.equal(found[:, :, :h, :v], y)


def test_rarefied_equals_the_maps_of_shifted_pictures_interlaced() -> None:
    network = exact(toy())
    x = whole((1, 2, 31, 27), 3)
    dense = with_weights_of(network, rarefy(toy(), "pool1", "pool2"))(x)
    assert dense.shape[-2:] == (31 - 15, 27 - 15)  # the field is 16
    for down in range(4):
        for right in range(4):
            # instead of moving the picture right by 4 - n, n columns are taken away
            part = network(x[:, :, down:, right:])
            assert torch.equal(part, dense[:, :, down::4, right::4])
    assert dense.std() > 0


def test_dilations_multiply_and_weights_and_fields_stay() -> None:
    net = spec("fcn32s-vgg16")
    made = rarefy(net, "pool4", "pool5")
    assert made.parameter_shapes() == net.parameter_shapes()
    assert (made.stride, made.receptive_field) == (8, 404)
    layers = made.layers
    assert [layers[n].dilation for n in ("conv4_3", "conv5_1", "fc6")] == [1, 2, 4]
    assert (layers["conv5_1"].pad, layers["pool5"].dilation, layers["pool5"].stride) == (2, 2, 1)
    # 32 / 4: upsampling is by 8 with a kernel of 16
    assert (layers["upscore"].kernel, layers["upscore"].stride) == (16, 8)
    assert rarefy(rarefy(net, "pool5"), "pool4").sights["score"] == made.sights["score"]
    assert rarefy(net) is net


# -- nothing of the old map is lost ---------------------------------------------------------------
def random_weights(network: Network) -> Network:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.double().eval().parameters():
            fan = p[0].numel() if p.dim() > 1 else 16
            draw = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.copy_(draw * math.sqrt(2 / fan))
    return network


def picture(*size: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(1, 3, *size, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (64, 90)])
@pytest.mark.parametrize(
    ("name", "layers", "times"),
    [
        ("fcn32s-vgg16", ["pool5"], 2),
        ("fcn32s-alexnet", ["pool5"], 2),
        ("fcn32s-googlenet", ["pool2/3x3_s2", "pool3/3x3_s2", "pool4/3x3_s2"], 8),
        ("fcn32s-vgg16-tight", ["pool5"], 2),
        ("fcn8s-resnet18", ["res5a_branch2a", "res5a_branch1"], 2),
        ("fcn32s-mobilenetv2", ["block14_dwise"], 2),
        ("fcn32s-tiny", ["pool5"], 2),
    ],
)
def test_every_cell_of_the_old_map_is_in_the_new_one_rims_included(
    name: str, layers: list[str], times: int, size: tuple[int, int]
) -> None:
    width = 1 / 4 if "tiny" in name or "mobile" in name else 1 / 16
    network = random_weights(build(name, width=width, classes=5))
    finer = with_weights_of(network, rarefy(network.net, *layers))
    with torch.no_grad():
        old, new = (
            n.activations(picture(*size), ["score_fr"])["score_fr"] for n in (network, finer)
        )
    assert new[..., ::times, ::times].shape == old.shape
    torch.testing.assert_close(
        new[..., ::times, ::times], old, rtol=0, atol=1e-12 * old.abs().max().item()
    )
    place, old_place = (n.net.sights["score_fr"].map for n in (finer, network))
    assert place == CoordMap(old_place.scale / times, old_place.shift)


@pytest.mark.parametrize(
    ("name", "layers", "shift"),
    [("fcn8s-vgg16", ["pool4", "pool5"], 8), ("fcn32s-alexnet", ["pool2", "pool5"], 8)],
)
def test_shifting_the_picture_by_the_new_stride_shifts_the_scores(
    name: str, layers: list[str], shift: int
) -> None:
    """Upsampling and crops fit the finer grid: away from the rim nothing else depends on place."""
    network = random_weights(build(name, width=1 / 16, classes=3, rarefied=layers))
    reach = math.ceil((network.net.sights["score"].field - 1) / 2)
    length = 2 * reach + 40
    image = picture(length + shift, 3)
    with torch.no_grad():
        still, moved = network(image[:, :, :length]), network(image[:, :, shift:])
        other = network(image[:, :, shift - 1 : shift - 1 + length])
    a = still[:, :, reach + shift : length - reach]
    b = moved[:, :, reach : length - reach - shift]
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * a.abs().max().item())
    c = other[:, :, reach : length - reach - shift]
    assert (a - c).abs().max() > 1e-6 * a.abs().max()


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("fcn32s-vgg16", ["pool5"]),
        ("fcn32s-vgg16", ["pool1", "pool2", "pool3", "pool4", "pool5"]),
        ("fcn8s-vgg16", ["pool3", "pool4", "pool5"]),
        ("fcn8s-vgg16-tight", ["pool5"]),
        ("fcn32s-alexnet", ["pool1", "pool2", "pool5"]),
        ("fcn8s-googlenet-tight", ["pool2/3x3_s2", "pool3/3x3_s2", "pool4/3x3_s2"]),
        ("siftflow-fcn8s", ["pool4", "pool5"]),
        ("nyud-fcn16s-color-hha", ["pool5color", "pool5hha"]),
    ],
)
def test_every_size_still_fits(name: str, layers: list[str]) -> None:
    net = spec(name, rarefied=layers)
    for n in range(1, 401):
        sizes = net.sizes(n)
        assert {sizes[output] for output in net.outputs.values()} == {n}


def test_sizes_by_arithmetic_are_those_of_the_modules() -> None:
    with torch.device("meta"):
        network = build("fcn8s-vgg16", width=1 / 16, rarefied=["pool4", "pool5"])
        lowered = build("fcn32s-vgg16", width=1 / 16, lowered=["pool4", "pool5"])
    for net in (network, lowered):
        for n in (1, 2, 33, 47, 100, 131):
            x = torch.empty(1, 3, n, 133 - n, device="meta")
            rows, columns = net.net.sizes(n), net.net.sizes(133 - n)
            for layer, found in net.activations(x, list(net.net.layers)).items():
                assert found.shape[-2:] == (rows[layer], columns[layer]), layer


# -- longer filters -------------------------------------------------------------------------------
def test_pool5_at_stride_1_has_the_papers_14x14_fc6() -> None:
    net = lower_stride(spec("fcn32s-vgg16"), "pool5")
    fc6 = net.layers["fc6"]
    assert isinstance(fc6, Conv)
    assert (fc6.kernel, fc6.dilation) == (14, 1)
    assert net.parameter_shapes()["fc6.weight"] == (4096, 512, 14, 14)
    # pool5 keeps its 2x2 window, 212 px at stride 16: 212 + 13 * 16; without the window it is 404
    assert (net.stride, net.receptive_field) == (16, 420)
    assert 196 + 13 * 16 == 404


def test_longer_filters_with_rarefied_weights_hold_what_rarefied_maps_hold() -> None:
    network = exact(toy())
    lowered = Network(lower_stride(toy(), "pool1", "pool2")).double().eval()
    surgery.carry_out(surgery.plan(network.state_dict(), lowered), network.state_dict(), lowered)
    w = network.state_dict()
    assert torch.equal(lowered.get_parameter("conv2.weight"), zero_filled(w["conv2.weight"], 2))
    assert torch.equal(lowered.get_parameter("conv3.weight"), zero_filled(w["conv3.weight"], 4))
    finer = with_weights_of(network, rarefy(toy(), "pool1", "pool2"))
    x = whole((1, 2, 29, 34), 5)
    assert torch.equal(lowered(x), finer(x))
    # conv2's 6 cells of 1 px end a pixel behind its 3 of 2 px, conv3's 8 end 3 px behind its 2 of 4
    ends = [n.net.sights["conv3"] for n in (lowered, finer)]
    assert [seen.field for seen in ends] == [16 + 1 + 3, 16]
    assert ends[0].map.shift - ends[1].map.shift == Fraction(1 + 3, 2)


def test_the_14x14_fc6_says_at_first_what_the_rarefied_7x7_says() -> None:
    options: dict[str, Any] = {"width": 1 / 16, "classes": 3}
    network = random_weights(build("fcn32s-vgg16", **options))
    lowered = build("fcn32s-vgg16", **options, lowered=["pool5"]).double().eval()
    surgery.carry_out(surgery.plan(network.state_dict(), lowered), network.state_dict(), lowered)
    finer = with_weights_of(network, rarefy(network.net, "pool5"))
    x = picture(470, 470)
    with torch.no_grad():
        a, b = (n.activations(x, ["score_fr"])["score_fr"] for n in (lowered, finer))
    # Its padding is 116 for 100: a cell of 16 px more on either side. Cells 13 to 15 lie at
    # 12.5 + 16 * i, and their 420 px in the picture.
    assert a.shape[2] == b.shape[2] + 2
    assert lowered.net.sights["score_fr"].map.shift == Fraction(25, 2) - 16 + 8
    a, b = a[:, :, 14:17, 14:17], b[:, :, 13:16, 13:16]
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * b.abs().max().item())


# -- what is refused ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "layers", "says"),
    [
        ("fcn32s-vgg16", ["pool6"], "`pool6`; did you mean `pool"),
        ("fcn32s-vgg16", ["conv1_1"], "conv1_1 is no convolution or pooling with a stride"),
        ("fcn32s-vgg16", ["relu1_1"], "relu1_1 is no convolution or pooling with a stride"),
        ("fcn8s-resnet18", ["res5a_branch1"], "res5a joins maps that are not aligned"),
        ("resnet18", ["conv1"], r"pool5 \(GlobalAvgPool\) cannot be carried out on a finer grid"),
        ("fcn8s-vgg16-tight", ["pool4", "pool5"], "upscore2c: finer, upscore2 no longer covers"),
    ],
)
def test_what_cannot_be_made_finer_is_refused(name: str, layers: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        rarefy(spec(name), *layers)


def test_layers_that_have_a_stride_are_named() -> None:
    with pytest.raises(UsageError) as caught:
        rarefy(toy(), "conv2")
    assert caught.value.hint == "those with one: pool1, pool2"


def test_learned_upsampling_keeps_its_kernel_or_is_refused() -> None:
    net = spec("fcn16s-vgg16", learned="inner")
    for layer in ("pool5", "pool4"):  # other factor; the same with a kernel of the other parity
        with pytest.raises(UsageError, match="upscore2: its learned 4x4 does not fit the finer"):
            rarefy(net, layer)
    net = spec("fcn16s-alexnet", learned="inner")
    assert rarefy(net, "pool2").parameter_shapes() == net.parameter_shapes()


def test_a_pool_whose_windows_would_be_padding_alone_is_refused() -> None:
    net = Net()
    net.max_pool("pool", net.data(1), 2, 2, 1)
    with pytest.raises(UsageError, match="pool: windows of the finer map would lie in its padding"):
        rarefy(net, "pool")
    with pytest.raises(UsageError, match="mean: average pooling of stride 2 with a dilation"):
        AvgPool("mean", ("data",), 3, 2, 2)


@pytest.mark.parametrize("wrong", ["pool5", 5, [5], [["pool5"]], {"pool5": 1}])
def test_layers_are_named_in_a_list(wrong: object) -> None:
    with pytest.raises(UsageError, match=r"rarefied is .*, expected names of layers"):
        spec("fcn32s-vgg16", rarefied=wrong)


def test_a_dilated_pool_of_a_classifier_keeps_its_mean() -> None:
    net = spec("googlenet", rarefied=["pool4/3x3_s2"], width=1 / 16)
    assert (net.layers["pool5/7x7_s1"].dilation, net.receptive_field) == (2, 907)
    assert isinstance(net.layers["pool4/3x3_s2"], MaxPool)
