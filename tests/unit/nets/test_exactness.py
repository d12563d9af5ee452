"""The specs against nets written by hand, and the properties that the fact sheet gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import UsageError

Weights = Mapping[str, Tensor]


def shaken(network: Network, seed: int = 0) -> Network:
    """Float64, random weights everywhere, scores of the skips included."""
    generator = torch.Generator().manual_seed(seed)
    network = network.double().eval()
    with torch.no_grad():
        for p in network.parameters():
            fan = p[0].numel() if p.dim() > 1 else 16
            draw = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p.copy_(draw * math.sqrt(2 / fan))
    return network


def picture(*size: int, bands: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, bands, *size, generator=generator, dtype=torch.float64)


# -- nets written by hand, as the prototxts have them (fact sheet 1.2 to 1.4, 10) -----------------
def dense_tent(kernel: int, classes: int) -> Tensor:
    """Caffe's BilinearFiller on the diagonal, zero elsewhere."""
    f = math.ceil(kernel / 2)
    c = (kernel - 1) / (2 * f)
    row = torch.tensor([1 - abs(x / f - c) for x in range(kernel)], dtype=torch.float64)
    return torch.eye(classes, dtype=torch.float64)[:, :, None, None] * torch.outer(row, row)


def deconv(x: Tensor, kernel: int, stride: int) -> Tensor:
    return F.conv_transpose2d(x, dense_tent(kernel, x.shape[1]), stride=stride)


def conv_relu(x: Tensor, w: Weights, name: str, *, pad: int) -> Tensor:
    return F.relu(F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=pad))


def score(x: Tensor, w: Weights, name: str) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"])


def vgg_by_hand(image: Tensor, w: Weights) -> tuple[Tensor, dict[int, Tensor]]:
    """score_fr and the pools."""
    x, pools = image, {}
    for block, depth in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, depth + 1):
            pad = 100 if (block, i) == (1, 1) else 1
            x = conv_relu(x, w, f"conv{block}_{i}", pad=pad)
        x = pools[block] = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = conv_relu(x, w, "fc6", pad=0)
    return score(conv_relu(x, w, "fc7", pad=0), w, "score_fr"), pools


def fcn32s_vgg_by_hand(image: Tensor, w: Weights) -> Tensor:
    h, v = image.shape[-2:]
    return deconv(vgg_by_hand(image, w)[0], 64, 32)[:, :, 19 : 19 + h, 19 : 19 + v]


def fcn16s_vgg_by_hand(image: Tensor, w: Weights) -> Tensor:
    score_fr, pools = vgg_by_hand(image, w)
    upscore2 = deconv(score_fr, 4, 2)
    h, v = upscore2.shape[-2:]
    pool4 = score(pools[4], w, "score_pool4")[:, :, 5 : 5 + h, 5 : 5 + v]
    upscore16 = deconv(upscore2 + pool4, 32, 16)
    h, v = image.shape[-2:]
    return upscore16[:, :, 27 : 27 + h, 27 : 27 + v]


def fcn8s_vgg_by_hand(image: Tensor, w: Weights, scales: tuple[float, float] = (1, 1)) -> Tensor:
    score_fr, pools = vgg_by_hand(image, w)
    upscore2 = deconv(score_fr, 4, 2)
    h, v = upscore2.shape[-2:]
    pool4 = score(scales[0] * pools[4], w, "score_pool4")[:, :, 5 : 5 + h, 5 : 5 + v]
    upscore_pool4 = deconv(upscore2 + pool4, 4, 2)
    h, v = upscore_pool4.shape[-2:]
    pool3 = score(scales[1] * pools[3], w, "score_pool3")[:, :, 9 : 9 + h, 9 : 9 + v]
    upscore8 = deconv(upscore_pool4 + pool3, 16, 8)
    h, v = image.shape[-2:]
    return upscore8[:, :, 31 : 31 + h, 31 : 31 + v]


def alexnet_scores_by_hand(image: Tensor, w: Weights) -> Tensor:
    x = F.relu(F.conv2d(image, w["conv1.weight"], w["conv1.bias"], stride=4, padding=100))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)
    x = F.relu(F.conv2d(x, w["conv2.weight"], w["conv2.bias"], padding=2, groups=2))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = F.local_response_norm(x, 5, 1e-4, 0.75, 1.0)
    x = conv_relu(x, w, "conv3", pad=1)
    x = F.relu(F.conv2d(x, w["conv4.weight"], w["conv4.bias"], padding=1, groups=2))
    x = F.relu(F.conv2d(x, w["conv5.weight"], w["conv5.bias"], padding=1, groups=2))
    x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    x = conv_relu(x, w, "fc6", pad=0)
    x = conv_relu(x, w, "fc7", pad=0)
    return score(x, w, "score_fr")


def upscored_by_hand(scores: Tensor, image: Tensor) -> Tensor:
    h, v = image.shape[-2:]
    return deconv(scores, 63, 32)[:, :, 18 : 18 + h, 18 : 18 + v]


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (96, 65)])
def test_fcn8s_vgg16_equals_the_net_written_by_hand(size: tuple[int, int]) -> None:
    network = shaken(build("fcn8s-vgg16", width=1 / 16, classes=5))
    with torch.no_grad():
        expected = fcn8s_vgg_by_hand(picture(*size), network.state_dict())
        assert expected.abs().max() > 1e-3
        torch.testing.assert_close(network(picture(*size)), expected, rtol=1e-12, atol=1e-12)


def test_the_at_once_net_equals_the_net_written_by_hand() -> None:
    network = shaken(build("fcn8s-vgg16-atonce", width=1 / 16, classes=5))
    with torch.no_grad():
        image = picture(40, 70)
        expected = fcn8s_vgg_by_hand(image, network.state_dict(), (0.01, 0.0001))
        # the scales are float32 numbers
        torch.testing.assert_close(network(image), expected, rtol=1e-6, atol=1e-8)
        assert not torch.allclose(expected, fcn8s_vgg_by_hand(image, network.state_dict()))


@pytest.mark.parametrize("size", [(1, 1), (37, 53), (130, 65)])
def test_fcn32s_alexnet_equals_the_net_written_by_hand(size: tuple[int, int]) -> None:
    network = shaken(build("fcn32s-alexnet", width=1 / 16, classes=5))
    with torch.no_grad():
        scores = alexnet_scores_by_hand(picture(*size), network.state_dict())
        expected = upscored_by_hand(scores, picture(*size))
        torch.testing.assert_close(network(picture(*size)), expected, rtol=1e-12, atol=1e-12)


def stream(network: Network, suffix: str) -> Weights:
    """The weights of one stream under the names of a net that stands alone, and all others."""
    names = {k: k.replace(f"{suffix}.", ".") for k in network.state_dict()}
    return {names[k]: v for k, v in network.state_dict().items()}


@pytest.mark.parametrize("fusion", ["sum", "average"])
@pytest.mark.parametrize("size", [(1, 1), (37, 53)])
def test_late_fusion_equals_two_trunks_written_by_hand(size: tuple[int, int], fusion: str) -> None:
    """The streams' scores are added (paper, section 5), or their mean is taken (the release)."""
    # another width than the release's 3, so that no band can go astray
    inputs = {"color": 3, "hha": 4}
    options = {"width": 1 / 16, "classes": 5, "inputs": inputs, "fusion": fusion}
    network = shaken(build("fcn32s-alexnet", **options))
    net = network.net
    assert (net.inputs, net.receptive_field) == (inputs, 355)
    assert {"conv1color.weight", "conv1hha.bias", "score_frhha.weight"} <= set(network.state_dict())
    color, hha = picture(*size), picture(*size, bands=4, seed=1)
    stacked = torch.cat([color, hha], dim=1)
    with torch.no_grad():
        sides = [
            alexnet_scores_by_hand(color, stream(network, "color")),
            alexnet_scores_by_hand(hha, stream(network, "hha")),
        ]
        share = 0.5 if fusion == "average" else 1
        expected = upscored_by_hand(share * sides[0] + share * sides[1], color)
        torch.testing.assert_close(network(stacked), expected, rtol=1e-12, atol=1e-12)
        for bands in (6, 8):  # never cut, never filled up
            with pytest.raises(RuntimeError, match="split"):
                network(torch.zeros(1, bands, *size, dtype=torch.float64))


def test_two_streams_with_a_skip_are_the_mean_of_two_whole_nets() -> None:
    """nyud-fcn16s-color-hha: all after the scores is linear, so fusing late or later is one."""
    network = shaken(build("nyud-fcn16s-color-hha", width=1 / 16, classes=5))
    color, hha = picture(37, 53), picture(37, 53, seed=1)
    with torch.no_grad():
        alone = [
            fcn16s_vgg_by_hand(image, stream(network, name))
            for image, name in ((color, "color"), (hha, "hha"))
        ]
        found = network(torch.cat([color, hha], dim=1))
        expected = 0.5 * alone[0] + 0.5 * alone[1]
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
        assert not torch.allclose(found, alone[0])


def test_early_fusion_reads_all_bands_in_the_first_layer() -> None:
    network = shaken(build("nyud-fcn32s-color-d", width=1 / 16, classes=5))
    weights = stream(network, "_bgrd")
    image = picture(37, 53, bands=4)
    assert weights["conv1_1.weight"].shape == (4, 4, 3, 3)
    with torch.no_grad():
        expected = fcn32s_vgg_by_hand(image, weights)
        torch.testing.assert_close(network(image), expected, rtol=1e-12, atol=1e-12)


def test_two_heads_equal_two_nets_written_by_hand_on_one_trunk() -> None:
    """siftflow-fcn8s: the head stands twice, both on the same fc7, pool4 and pool3."""
    network = shaken(build("siftflow-fcn8s", width=1 / 16, heads={"sem": 5, "geo": 3}))
    net = network.net
    assert net.outputs == {"sem": "score_sem", "geo": "score_geo"}
    assert (net.receptive_field, net.stride, net.depth) == (404, 32, 16)
    with pytest.raises(UsageError, match="several heads: sem, geo"):
        _ = net.output
    names = {k.partition(".")[0] for k in network.state_dict()}
    assert {"score_fr_sem", "score_pool4_geo", "score_pool3_sem", "conv1_1"} <= names
    image = picture(37, 53)
    with torch.no_grad():
        found = network(image)
        assert {head: scores.shape[1] for head, scores in found.items()} == {"sem": 5, "geo": 3}
        for head, scores in found.items():
            expected = fcn8s_vgg_by_hand(image, stream(network, f"_{head}"))
            torch.testing.assert_close(scores, expected, rtol=1e-12, atol=1e-12)


# -- the rim: fact sheet 1.8 ----------------------------------------------------------------------
def constant_scores(name: str, rows: int, columns: int = 100) -> Tensor:
    """The final scores along a middle column when score_fr is one everywhere and skips are zero."""
    network = build(name, width=1 / 16, classes=1).eval()
    with torch.no_grad():
        network.get_submodule("score_fr").bias.fill_(1)  # its weights are zero
        return network(torch.zeros(1, 3, rows, columns))[0, 0, :, columns // 2]


FADES = [  # rows of the picture, rows below 1 at the top and bottom of 32s, 16s, 8s, last factors
    (500, ((13, 7), (21, 15), (25, 19)), (0.797, 0.773, 0.754)),
    (375, ((13, 10), (21, 18), (25, 22)), (0.703, 0.703, 0.684)),
    (425, ((13, 0), (21, 4), (25, 8)), (1, 0.945, 0.941)),
    (256, ((13, 0), (21, 0), (25, 0)), (1, 1, 1)),
]


@pytest.mark.parametrize(("rows", "counts", "last"), FADES)
def test_constant_scores_fade_at_the_rim_as_in_the_releases(
    rows: int, counts: tuple[tuple[int, int], ...], last: tuple[float, ...]
) -> None:
    for stride, (top, bottom), factor in zip((32, 16, 8), counts, last, strict=True):
        column = constant_scores(f"fcn{stride}s-vgg16", rows)
        below = (column < 1).nonzero().flatten().tolist()
        assert below == [*range(top), *range(rows - bottom, rows)]
        assert column.max() == 1
        assert column[0].item() == pytest.approx(0.6094, abs=5e-5)
        assert column[-1].item() == pytest.approx(factor, abs=5e-4)


def test_first_row_factor_is_exact() -> None:
    assert constant_scores("fcn32s-vgg16", 500)[0] == 0.609375  # fact sheet 11.5


@pytest.mark.parametrize("trunk", ["vgg16-tight", "alexnet-tight", "googlenet-tight", "resnet18"])
@pytest.mark.parametrize("stride", [32, 8, 4])
def test_constant_scores_stay_constant_in_tight_nets(trunk: str, stride: int) -> None:
    for rows in (1, 45, 128):
        column = constant_scores(f"fcn{stride}s-{trunk}", rows, 37)
        assert torch.equal(column, torch.ones(rows))


# -- away from the rim ----------------------------------------------------------------------------
def interior(network: Network, length: int) -> slice:
    """Pixels whose scores see the picture and nothing beyond it."""
    reach = math.ceil((network.net.sights["score"].field - 1) / 2)
    assert length - 2 * reach >= 32, "the picture is too small to have an interior"
    return slice(reach, length - reach)


@pytest.mark.parametrize(
    ("name", "width", "length"),
    [
        ("fcn32s-alexnet", 1 / 16, 480),
        ("fcn8s-alexnet", 1 / 16, 480),
        ("fcn32s-vgg16", 1 / 32, 520),
        ("fcn8s-vgg16", 1 / 32, 540),
        ("fcn4s-vgg16", 1 / 32, 541),
        ("fcn32s-googlenet", 1 / 16, 820),
        ("fcn8s-googlenet", 1 / 16, 823),
    ],
)
def test_tight_and_caffe_geometry_agree_in_the_interior(
    name: str, width: float, length: int
) -> None:
    caffe = shaken(build(name, width=width, classes=3))
    tight = shaken(build(f"{name}-tight", width=width, classes=3), seed=1)
    tight.load_state_dict(caffe.state_dict())
    image = picture(length, length + 9)
    inside = (..., interior(caffe, length), interior(caffe, length + 9))
    with torch.no_grad():
        a, b = caffe(image), tight(image)
    size = a[inside].abs().max()
    assert (a[inside] - b[inside]).abs().max() <= 1e-12 * size
    # and only there: the rims differ
    assert (a - b).abs().max() > 1e-3 * size


@pytest.mark.parametrize("name", ["fcn32s-vgg16", "fcn8s-vgg16-tight", "fcn32s-alexnet"])
def test_shifting_the_picture_by_32_px_shifts_the_scores(name: str) -> None:
    # fact sheet 11.15; one column of pixels is enough, its surroundings do not change
    network = shaken(build(name, width=1 / 16, classes=3))
    length = 620
    image = picture(length + 32, 3)
    inside = interior(network, length)
    moved = slice(inside.start + 32, inside.stop + 32)
    with torch.no_grad():
        still, shifted = network(image[:, :, :length]), network(image[:, :, 32:])
        other = network(image[:, :, 31 : 31 + length])
    overlap = slice(moved.start, inside.stop)
    a = still[:, :, overlap]
    b = shifted[:, :, overlap.start - 32 : overlap.stop - 32]
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12 * float(a.abs().max()))
    # a shift by 31 px is no shift of the grid
    c = other[:, :, overlap.start - 31 : overlap.stop - 31]
    assert (a - c).abs().max() > 1e-6 * a.abs().max()


def test_16s_with_zero_skips_is_not_32s() -> None:
    # fact sheet 11.6: two bilinear steps are another filter than one
    coarse = shaken(build("fcn32s-vgg16", width=1 / 16, classes=3))
    fine = build("fcn16s-vgg16", width=1 / 16, classes=3).double().eval()
    fine.load_state_dict(coarse.state_dict(), strict=False)
    with torch.no_grad():
        image = picture(150, 150)
        a, b = coarse(image), fine(image)
        assert torch.equal(
            coarse.activations(image, ["score_fr"])["score_fr"],
            fine.activations(image, ["score_fr"])["score_fr"],
        )
    difference = (a - b).abs().max() / a.abs().max()
    assert 1e-3 < difference < 0.5
