"""The nets that grew from FCN, against their papers' numbers and torch written by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import NETS, spec
from pixelwise.nets.heads.context import BINS, RATES, vgg16_conv
from pixelwise.nets.heads.mirrored import segnet as segnet_of
from pixelwise.nets.heads.scored import features, scored
from pixelwise.nets.layers import Conv
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import Resize
from pixelwise.nets.trunks.vgg16 import BLOCKS
from random_weights import shaken

Weights = Mapping[str, Tensor]


# -- what the papers and the authors' definitions say ----------------------------------------------
def parameters_of(net: Net, *, biases_before_norm: bool = False) -> int:
    """Of a net; with biases in front of batch normalisations, which Caffe's files have."""
    normed = {r.inputs[0] for n, r in net.layers.items() if r.normalises_batch}
    return net.parameters() + biases_before_norm * sum(net.channels[n] for n in normed)


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        # 29.45 M (Badrinarayanan et al. 2017), of 11 classes, with biases in front of its norms.
        ("segnet-vgg16", {"classes": 11}, 29_449_355),
        # "Approximately 252M parameters" (Noh et al. 2015), with biases in front of its norms.
        ("deconvnet-vgg16", {}, 251_805_653),
        # The release's phseg_v5 by hand: levels, deconvolutions, scores; one band, two classes.
        ("unet", {"classes": 2, "channels": 1}, 31_030_658),
        # milesial's Pytorch-UNet for three bands and two classes, which it prints as 31.04 M.
        ("unet-padded", {"classes": 2}, 31_037_698),
        # DeepLab v1, table 2: 20.5 M.
        ("deeplab-largefov-vgg16", {}, 20_505_429),
        # torchvision's DeepLabV3_ResNet50_Weights: 42,004,074, of which its auxiliary head has
        # 1024 * 256 * 9 + 2 * 256 + 257 * 21.
        ("deeplabv3-resnet50", {}, 42_004_074 - 2_365_205),
        # mmsegmentation's pspnet_r50-d8 but for its stem of three 3x3, and for its auxiliary head.
        ("pspnet-resnet50", {}, 23_508_032 + 4 * (2048 * 512 + 1024) + 18_875_392 + 513 * 21),
    ],
)
def test_parameters_are_those_of_the_authors(
    name: str, options: dict[str, int], count: int
) -> None:
    net = spec(name, **options)
    assert (
        parameters_of(net, biases_before_norm=name in ("segnet-vgg16", "deconvnet-vgg16")) == count
    )


def test_segnet_gives_back_what_each_layer_read_on_the_way_down() -> None:
    """Of blocks (4, 6, 8) and (10, 12, 14): 3>4>6>8, 8>10>12>14, then 14>12>10>8, 8>6>4>scores."""
    net = scored(partial(segnet_of, widths=((4, 6, 8), (10, 12, 14))), heads={"": 5})
    convs = {n: net.channels[n] for n in net.layers if n.startswith(("conv", "score"))}
    assert convs == {
        **{"conv1_1": 4, "conv1_2": 6, "conv1_3": 8, "conv2_1": 10, "conv2_2": 12, "conv2_3": 14},
        **{"conv2_3_D": 12, "conv2_2_D": 10, "conv2_1_D": 8, "conv1_3_D": 6, "conv1_2_D": 4},
        "score": 5,
    }


def test_sizes_are_those_of_the_papers() -> None:
    unet = spec("unet")
    assert unet.frame(572, 572) == (92, 388, 388)  # Ronneberger et al. 2015, figure 1
    assert unet.frame(572, 588) == (92, 388, 404)
    assert unet.depth == 23  # section 2: "in total 23 convolutional layers"
    assert [unet.crops()[f"crop_d{i}c-d{i}cc"] for i in (3, 2, 1, 0)] == [4, 16, 40, 88]
    assert [unet.sizes(572)[f"relu_d{i}c"] for i in range(5)] == [568, 280, 136, 64, 28]
    deconvnet = spec("deconvnet-vgg16").sizes(224)  # Noh et al. 2015, table 2
    assert [deconvnet[n] for n in ("pool5", "fc6", "fc6-deconv", "unpool5")] == [7, 1, 7, 14]
    largefov = spec("deeplab-largefov-vgg16")  # Chen et al. 2015, section 3: 321 px, 41 cells
    assert largefov.sizes(321)["score_fc8"] == 41
    assert largefov.stride == 8
    assert spec("pspnet-resnet50").sizes(473)["score_psp"] == 60  # the release's crop, conv6
    assert spec("deeplabv3-resnet50").sizes(513)["score_aspp"] == 65


# -- by hand ---------------------------------------------------------------------------------------
def conv(
    x: Tensor, w: Weights, name: str, *, norm: str = "", pad: int = 0, rate: int = 1
) -> Tensor:
    """A convolution, a normalisation in evaluation, a ReLU."""
    x = F.conv2d(x, w[f"{name}.weight"], w.get(f"{name}.bias"), padding=pad, dilation=rate)
    return F.relu(normed(x, w, norm) if norm else x)


def normed(x: Tensor, w: Weights, name: str) -> Tensor:
    parts = [w[f"{name}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *parts)


def plain(x: Tensor, w: Weights, name: str) -> Tensor:
    return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"])


def encoded(x: Tensor, w: Weights) -> tuple[Tensor, list[tuple[Tensor, torch.Size]]]:
    """VGG16's blocks with norms; of each pool the indices, and the size of what was pooled."""
    pools = []
    for i, block in enumerate(BLOCKS, 1):
        for j in range(1, len(block) + 1):
            x = conv(x, w, f"conv{i}_{j}", norm=f"bn{i}_{j}", pad=1)
        size = x.shape[-2:]
        x, where = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        pools.append((where, size))
    return x, pools


def segnet(x: Tensor, w: Weights) -> Tensor:
    x, pools = encoded(x, w)
    for i in (5, 4, 3, 2, 1):
        where, size = pools[i - 1]
        x = F.max_unpool2d(x, where, 2, 2, output_size=size)
        for j in range(len(BLOCKS[i - 1]), 0, -1):
            if (i, j) != (1, 1):
                x = conv(x, w, f"conv{i}_{j}_D", norm=f"bn{i}_{j}_D", pad=1)
    return F.conv2d(x, w["score.weight"], w["score.bias"], padding=1)


def deconvnet(x: Tensor, w: Weights) -> Tensor:
    x, pools = encoded(x, w)
    x = conv(conv(x, w, "fc6", norm="bnfc6"), w, "fc7", norm="bnfc7")
    x = F.conv_transpose2d(x, w["fc6-deconv.weight"])
    x = F.relu(normed(x, w, "fc6-deconv-bn"))
    for i in (5, 4, 3, 2, 1):
        where, size = pools[i - 1]
        x = F.max_unpool2d(x, where, 2, 2, output_size=size)
        for j in range(1, len(BLOCKS[i - 1]) + 1):
            x = F.conv_transpose2d(x, w[f"deconv{i}_{j}.weight"], padding=1)
            x = F.relu(normed(x, w, f"debn{i}_{j}"))
    return plain(x, w, "score")


def unet(x: Tensor, w: Weights, *, padded: bool = False) -> Tensor:
    def twice(x: Tensor, names: tuple[str, str], after: tuple[str, str]) -> Tensor:
        for name, relu in zip(names, after, strict=True):
            norm = f"bn_{relu}" if padded else ""
            x = conv(x, w, f"conv_{name}", norm=norm, pad=int(padded))
        return x

    maps = []
    for i in range(5):
        x = F.max_pool2d(x, 2, ceil_mode=padded) if i else x
        x = twice(x, (f"d{i}a-b", f"d{i}b-c"), (f"d{i}b", f"d{i}c"))
        maps.append(x)
    for i, below in ((3, "d4c"), (2, "u3d"), (1, "u2d"), (0, "u1d")):
        up = f"upconv_{below}_u{i}a"
        x, skip = F.conv_transpose2d(x, w[f"{up}.weight"], w[f"{up}.bias"], stride=2), maps[i]
        if padded:
            x = x[..., : skip.shape[2], : skip.shape[3]]
        else:  # the published margins: 4, 16, 40 and 88 cells of the map on the left
            x, cut = F.relu(x), {3: 4, 2: 16, 1: 40, 0: 88}[i]
            skip = skip[..., cut : cut + x.shape[2], cut : cut + x.shape[3]]
        x = torch.cat([x, skip], dim=1)
        x = twice(x, (f"u{i}b-c", f"u{i}c-d"), (f"u{i}c", f"u{i}d"))
    return plain(x, w, "score")


def atrous_vgg(x: Tensor, w: Weights) -> Tensor:
    """Two pools of stride 1, and holes behind them: Chen et al. 2015, section 3.1."""
    for i, block in enumerate(BLOCKS, 1):
        rate = 2 if i == 5 else 1
        for j in range(1, len(block) + 1):
            x = conv(x, w, f"conv{i}_{j}", pad=rate, rate=rate)
        if i < 4:
            x = F.max_pool2d(x, 3, 2, 1)
        else:
            x = F.max_pool2d(F.pad(x, (rate,) * 4, value=-torch.inf), 3, 1, dilation=rate)
    return x


def largefov(x: Tensor, w: Weights) -> Tensor:
    x = conv(atrous_vgg(x, w), w, "fc6", pad=12, rate=12)
    return plain(conv(x, w, "fc7"), w, "score_fc8")


def aspp_by_sum(x: Tensor, w: Weights) -> Tensor:
    x, scores = atrous_vgg(x, w), []
    for i, rate in enumerate((6, 12, 18, 24), 1):
        y = conv(conv(x, w, f"fc6_{i}", pad=rate, rate=rate), w, f"fc7_{i}")
        scores.append(plain(y, w, f"score_fc8_{i}"))
    return torch.stack(scores).sum(0)


By = Callable[[Tensor, Weights], Tensor]
CASES: dict[str, tuple[str, By, tuple[int, int]]] = {
    "segnet-vgg16": ("score", segnet, (45, 66)),
    "deconvnet-vgg16": ("score", deconvnet, (193, 230)),
    "unet": ("score", unet, (220, 233)),
    "unet-padded": ("score", partial(unet, padded=True), (45, 66)),
    "deeplab-largefov-vgg16": ("score_fc8", largefov, (45, 66)),
    "deeplabv2-vgg16": ("score_fused", aspp_by_sum, (33, 50)),
}


def narrow(name: str) -> Network:
    """A narrow copy with random weights, in double precision."""
    return shaken(build(name, width=1 / 16, classes=5)).double()


def close(found: Tensor, expected: Tensor) -> None:
    assert expected.std() > 1e-3 * expected.abs().max() > 0
    limit = 1e-12 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("name", CASES)
def test_it_gives_what_torch_by_hand_gives(name: str) -> None:
    layer, by_hand, size = CASES[name]
    network = narrow(name)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        close(network.activations(x, [layer])[layer], by_hand(x, network.state_dict()))


@pytest.mark.parametrize(
    ("name", "last"),
    [("deeplabv3-resnet18", "res5b_relu"), ("pspnet-resnet18", "res5b_relu")],
)
def test_what_stands_on_a_trunk_by_hand(name: str, last: str) -> None:
    network = narrow(name)
    w, x = network.state_dict(), torch.randn(2, 3, 70, 91, dtype=torch.float64)
    top = network.net.top
    with torch.no_grad():
        maps = network.activations(x, [last, top])
        seen, size = maps[last], maps[last].shape[-2:]
        spread = partial(F.interpolate, size=size, mode="bilinear", align_corners=True)
        if "deeplab" in name:
            parts = [conv(seen, w, "aspp0", norm="aspp0/bn")]
            for i, rate in enumerate(RATES[8], 1):
                parts.append(conv(seen, w, f"aspp{i}", norm=f"aspp{i}/bn", pad=rate, rate=rate))
            pooled = conv(seen.mean((2, 3), keepdim=True), w, "image_pool", norm="image_pool/bn")
            y = torch.cat([*parts, pooled.expand(-1, -1, *size)], dim=1)
            y = conv(y, w, "aspp_project", norm="aspp_project/bn")
            expected = plain(conv(y, w, "aspp_last", norm="aspp_last/bn", pad=1), w, "score_aspp")
        else:
            means = [F.adaptive_avg_pool2d(seen, bins) for bins in BINS]
            parts = [
                conv(m, w, f"psp{b}", norm=f"psp{b}/bn") for m, b in zip(means, BINS, strict=True)
            ]
            y = torch.cat([seen, *map(spread, parts)], dim=1)
            expected = plain(conv(y, w, "psp_last", norm="psp_last/bn", pad=1), w, "score_psp")
        close(maps[top], expected)


# -- atrous trunks ---------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [(33, 50), (64, 47)])
def test_the_atrous_vgg_is_the_rarefied_one_and_holds_all_that_the_plain_one_gives(
    size: tuple[int, int],
) -> None:
    nets = {}
    for stride in (32, 8):
        nets[stride] = Net()
        nets[stride].data(3)
        features(nets[stride], vgg16_conv, 1 / 16, stride)
    plain, atrous = (shaken(Network(nets[stride])).double() for stride in (32, 8))
    atrous.load_state_dict(plain.state_dict())
    x = torch.randn(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        dense, coarse = atrous(x), plain(x)
        close(dense, atrous_vgg(x, plain.state_dict()))
        assert dense[..., ::4, ::4].shape == coarse.shape
        close(dense[..., ::4, ::4], coarse)


def test_the_atrous_resnet_has_torchvisions_dilations() -> None:
    """replace_stride_with_dilation=[False, True, True]: a stage's first block has the former."""
    net = spec("deeplabv3-resnet50")
    made = {
        name: (layer.stride, layer.dilation, layer.pad)
        for name, layer in net.layers.items()
        if isinstance(layer, Conv) and re.fullmatch(r"res[45][a-f]_branch2b", name)
    }
    expected = {f"res4{b}_branch2b": (1, 1 if b == "a" else 2) for b in "abcdef"}
    expected |= {f"res5{b}_branch2b": (1, 2 if b == "a" else 4) for b in "abc"}
    assert made == {name: (*window, window[1]) for name, window in expected.items()}


def test_cells_are_as_far_apart_as_an_entry_says() -> None:
    for name, entry in NETS.items():
        if entry.relative and name.startswith(("deeplab", "pspnet")):
            light = "mobilenet" in name or "efficientnet" in name
            assert spec(name, width=1 / 16).stride == (16 if light else 8), name


# -- options ---------------------------------------------------------------------------------------
def test_several_heads_stand_on_the_same_features() -> None:
    for name in ("segnet-tiny", "unet-padded", "unet-tiny", "deeplabv2-vgg16", "pspnet-tiny"):
        net = spec(name, width=1 / 16, heads={"sem": 4, "geo": 3})
        one = spec(name, width=1 / 16, classes=4)
        assert {head: net.channels[layer] for head, layer in net.outputs.items()} == {
            "sem": 4,
            "geo": 3,
        }
        beside = [layer for layer in net.layers if layer.endswith("_geo")]
        assert len(net.layers) == len(one.layers) + len(beside), name


@pytest.mark.parametrize("name", ["segnet-tiny", "unet", "pspnet-tiny", "deeplabv2-vgg16"])
def test_late_fusion_is_the_mean_of_two_nets(name: str) -> None:
    both = {"inputs": {"color": 3, "hha": 3}, "width": 1 / 16, "classes": 5}
    fused = shaken(build(name, **both, fusion="average")).double()
    state, alone = fused.state_dict(), {}
    x = torch.randn(1, 6, 200, 220, dtype=torch.float64)
    with torch.no_grad():
        for i, stream in enumerate(both["inputs"]):
            alone[stream] = build(name, width=1 / 16, classes=5).double().eval()
            own = {
                key.replace(f"{stream}.", ".", 1): value
                for key, value in state.items()
                if key.rpartition(".")[0].endswith(stream)
            }
            alone[stream].load_state_dict(own)
            alone[stream] = alone[stream](x[:, 3 * i : 3 * i + 3])
        close(fused(x), (alone["color"] + alone["hha"]) / 2)


@pytest.mark.parametrize(
    ("name", "learned", "says"),
    [
        ("segnet-tiny", "all", "the net has no bilinear upsampling"),
        ("unet", "inner", "the net has no bilinear upsampling"),
        ("pspnet-tiny", "inner", "the net has one upsampling, the last"),
    ],
)
def test_learned_upsampling_that_is_not_there_is_refused(
    name: str, learned: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        spec(name, learned=learned)
    assert spec("pspnet-tiny", learned="all").layers["upscore8"].learned  # type: ignore[attr-defined]


def test_a_map_that_sees_a_part_is_not_resized() -> None:
    net = Net()
    x = net.conv("a", net.data(3), 4, kernel=3, stride=2)
    with pytest.raises(UsageError, match="back: a sees 3 px, expected everything"):
        net.add(Resize("back", (x, "data")))
