"""The trunks against the fact sheet: sizes (1.5), maps (1.2), fields and parameters (7)."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest

from pixelwise.geometry import Pad
from pixelwise.nets.catalog import spec
from pixelwise.nets.layers import BatchNorm, Conv, Dropout, Relu
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import AvgPool
from pixelwise.nets.trunks.efficientnet import rounded
from pixelwise.nets.trunks.googlenet import googlenet

# fact sheet 1.5: length of an axis -> length of each map
VGG_SIZES = {
    "conv1_2": {500: 698, 375: 573, 425: 623, 560: 758, 256: 454, 480: 678, 640: 838, 1: 199},
    "pool1": {500: 349, 375: 287, 425: 312, 560: 379, 256: 227, 480: 339, 640: 419, 1: 100},
    "pool2": {500: 175, 375: 144, 425: 156, 560: 190, 256: 114, 480: 170, 640: 210, 1: 50},
    "pool3": {500: 88, 375: 72, 425: 78, 560: 95, 256: 57, 480: 85, 640: 105, 1: 25},
    "pool4": {500: 44, 375: 36, 425: 39, 560: 48, 256: 29, 480: 43, 640: 53, 1: 13},
    "pool5": {500: 22, 375: 18, 425: 20, 560: 24, 256: 15, 480: 22, 640: 27, 1: 7},
    "fc6": {500: 16, 375: 12, 425: 14, 560: 18, 256: 9, 480: 16, 640: 21, 1: 1},
    "score_fr": {500: 16, 375: 12, 425: 14, 560: 18, 256: 9, 480: 16, 640: 21, 1: 1},
}
ALEXNET_SIZES = {
    "conv1": {500: 173, 375: 142},
    "pool1": {500: 86, 375: 71, 425: 77, 560: 94, 256: 56, 480: 84, 640: 104, 1: 24},
    "pool2": {500: 43, 375: 35, 425: 38, 560: 47, 256: 28, 480: 42, 640: 52, 1: 12},
    "pool5": {500: 21, 375: 17, 425: 19, 560: 23, 256: 14, 480: 21, 640: 26, 1: 6},
    "fc6": {500: 16, 375: 12, 425: 14, 560: 18, 256: 9, 480: 16, 640: 21, 1: 1},
    "upscore": {500: 543, 375: 415, 425: 479, 560: 607, 256: 319, 480: 543, 640: 703, 1: 63},
}


@pytest.mark.parametrize(
    ("net", "sizes"), [("fcn8s-vgg16", VGG_SIZES), ("fcn32s-alexnet", ALEXNET_SIZES)]
)
def test_sizes_are_those_of_the_fact_sheet(net: str, sizes: dict[str, dict[int, int]]) -> None:
    found = spec(net)
    for layer, lengths in sizes.items():
        assert {n: found.sizes(n)[layer] for n in lengths} == lengths, layer


def test_unpadded_alexnet_has_the_papers_grid() -> None:
    # fact sheet 7: 227 -> 55, 27, 13, 6, 1; 500 -> 123, 61, 30, 15, 10 (the paper's 10x10)
    layers = ("conv1", "pool1", "pool2", "pool5", "fc6")
    net = spec("alexnet")
    assert [net.sizes(227)[n] for n in layers] == [55, 27, 13, 6, 1]
    assert [net.sizes(500)[n] for n in layers] == [123, 61, 30, 15, 10]


def test_vgg_maps_are_those_of_the_fact_sheet() -> None:
    # fact sheet 1.2: cell = a * pixel + b
    published = {
        "conv1_1": (1, 99),
        "pool1": (2, 49.25),
        "pool2": (4, 24.375),
        "pool3": (8, 11.9375),
        "pool4": (16, 5.71875),
        "pool5": (32, 2.609375),
        "fc6": (32, -0.390625),
        "score_fr": (32, -0.390625),
    }
    net = spec("fcn32s-vgg16")
    for layer, (stride, b) in published.items():
        back = net.sights[layer].map.inverse()
        assert (back.scale, back.shift) == (Fraction(1, stride), Fraction(b)), layer


# fact sheet 7, layer by layer
FIELDS = {
    "fcn32s-alexnet": {
        "conv1": 11,
        "pool1": 19,
        "conv2": 51,
        "pool2": 67,
        "conv3": 99,
        "conv4": 131,
        "conv5": 163,
        "pool5": 195,
        "fc6": 355,
    },
    "fcn32s-vgg16": {
        "conv1_1": 3,
        "conv1_2": 5,
        "pool1": 6,
        "conv2_1": 10,
        "conv2_2": 14,
        "pool2": 16,
        "conv3_1": 24,
        "conv3_3": 40,
        "pool3": 44,
        "conv4_1": 60,
        "conv4_3": 92,
        "pool4": 100,
        "conv5_1": 132,
        "conv5_3": 196,
        "pool5": 212,
        "fc6": 404,
        "score_fr": 404,
    },
    "fcn32s-googlenet": {
        "conv1/7x7_s2": 7,
        "pool1/3x3_s2": 11,
        "conv2/3x3": 19,
        "pool2/3x3_s2": 27,
        "inception_3a/output": 59,
        "inception_3b/output": 91,
        "pool3/3x3_s2": 107,
        "inception_4a/output": 171,
        "inception_4e/output": 427,
        "pool4/3x3_s2": 459,
        "inception_5a/output": 587,
        "inception_5b/output": 715,
    },
}


@pytest.mark.parametrize("name", FIELDS)
def test_receptive_fields_grow_as_in_the_fact_sheet(name: str) -> None:
    sights = spec(name).sights
    assert {layer: sights[layer].field for layer in FIELDS[name]} == FIELDS[name]


@pytest.mark.parametrize(
    ("name", "field", "depth"),
    [
        ("fcn32s-alexnet", 355, 8),
        ("fcn32s-vgg16", 404, 16),
        ("fcn32s-googlenet", 715, 22),
        ("googlenet", 907, 22),  # table 1 counts the average pool that the text discards
        ("alexnet", 355, 8),
        ("vgg16", 404, 16),
        ("resnet18", float("inf"), 18),
        ("resnet50", float("inf"), 50),
    ],
)
def test_table_1_of_the_paper(name: str, field: float, depth: int) -> None:
    net = spec(name)
    assert (net.receptive_field, net.depth, net.stride) == (field, depth, 32)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # fact sheet 7, 21 classes
        ("fcn32s-alexnet", 56_954_261),
        ("fcn32s-vgg16", 134_346_581),
        ("fcn32s-googlenet", 5_995_077),
        # the classifiers, 1000 classes: BVLC's and torchvision's figures
        ("alexnet", 60_965_224),
        ("vgg16", 138_357_544),
        ("googlenet", 6_998_552),
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("mobilenetv2", 3_504_872),
        # of efficientnet_lite_pytorch's models
        ("efficientnetlite0", 4_652_008),
        ("efficientnetlite1", 5_416_680),
        ("efficientnetlite2", 6_092_072),
    ],
)
def test_parameters_are_the_published_ones(name: str, parameters: int) -> None:
    assert spec(name).parameters() == parameters


def test_geometries_of_a_trunk_have_the_same_parameters_and_field() -> None:
    for trunk in ("alexnet", "vgg16", "googlenet"):
        caffe, tight = spec(f"fcn8s-{trunk}"), spec(f"fcn8s-{trunk}-tight")
        assert caffe.parameter_shapes() == tight.parameter_shapes()
        assert caffe.receptive_field == tight.receptive_field


def test_tight_grids_are_the_caffe_grids_modulo_the_stride() -> None:
    for trunk in ("alexnet", "vgg16", "googlenet"):
        caffe, tight = spec(f"fcn32s-{trunk}"), spec(f"fcn32s-{trunk}-tight")
        for layer, sight in caffe.sights.items():
            if layer in ("score", "upscore"):
                continue
            shift = (tight.sights[layer].map.shift - sight.map.shift) / sight.map.scale
            assert shift.denominator == 1, layer


def test_tight_pads_are_small() -> None:
    layers = {
        "alexnet": ("conv1", 127),
        "vgg16": ("conv1_1", 506),
        "googlenet": ("conv1/7x7_s2", 253),
    }
    for trunk, (layer, size) in layers.items():
        assert spec(f"fcn32s-{trunk}-tight").sizes(500)[layer] == size


def test_dropout_is_where_and_as_strong_as_published() -> None:
    # fact sheet 1.2, 1.4, 1.7
    def dropouts(name: str) -> dict[str, float]:
        return {n: r.p for n, r in spec(name).layers.items() if isinstance(r, Dropout)}

    assert dropouts("fcn32s-vgg16") == dropouts("fcn32s-alexnet") == {"drop6": 0.5, "drop7": 0.5}
    assert dropouts("fcn32s-googlenet") == dropouts("googlenet") == {"pool5/drop_7x7_s1": 0.4}
    assert dropouts("fcn32s-resnet50") == {}


@pytest.mark.parametrize(
    "trunk", ["resnet18", "resnet50", "mobilenetv2", "efficientnetlite0", "tiny"]
)
def test_convolutions_before_a_normalisation_have_no_bias_of_their_own(trunk: str) -> None:
    layers = spec(f"fcn8s-{trunk}").layers
    normalised = {r.inputs[0] for r in layers.values() if isinstance(r, BatchNorm)}
    biases = {n: r.bias for n, r in layers.items() if isinstance(r, Conv)}
    assert biases == {n: n not in normalised for n in biases}


def test_mobile_nets_cut_at_six_and_nobody_else_does() -> None:
    for trunk in ("mobilenetv2", "efficientnetlite2", "resnet18", "vgg16"):
        ceilings = {
            r.ceiling for r in spec(f"fcn8s-{trunk}").layers.values() if isinstance(r, Relu)
        }
        mobile = trunk.startswith(("mobile", "efficient"))
        assert ceilings == {6.0 if mobile else float("inf")}


@pytest.mark.parametrize(
    ("trunk", "pads"),
    [
        # TensorFlow's SAME at the published side: uneven on even lengths, one cell more behind
        ("efficientnetlite0", {"conv1": (0, 2), "block2_dwise": (0, 2), "block12_dwise": (1, 3)}),
        ("efficientnetlite1", {"conv1": (0, 2), "block16_dwise": 2}),
        ("efficientnetlite2", {"conv1": (0, 2), "block5_dwise": 2, "block8_dwise": 1}),
    ],
)
def test_pads_before_strides_are_those_of_the_training(trunk: str, pads: dict[str, Pad]) -> None:
    layers = spec(f"fcn8s-{trunk}").layers
    strided = {n: r.pad for n, r in layers.items() if isinstance(r, Conv) and r.stride == 2}
    assert len(strided) == 5
    assert {name: strided[name] for name in pads} == pads


def test_channels_are_multiples_of_eight_at_most_a_tenth_below() -> None:
    asked = (1, 8.8, 9, 11, 12, 20, 26, 27)
    assert [rounded(channels) for channels in asked] == [8, 8, 16, 16, 16, 24, 24, 32]


def test_the_narrow_trunk_by_hand() -> None:
    trunk = spec("fcn32s-tiny", classes=1)
    widths = [3, 16, 16, 24, 24, 32, 32, 64, 64, 96, 96, 128]
    kernels = sum(9 * a * b + 2 * b for a, b in pairwise(widths))
    assert trunk.parameters() == kernels + 128 + 1  # score_fr


def test_vgg_trunk_alone_has_the_literature_count() -> None:
    net = spec("fcn32s-vgg16")
    shapes = net.parameter_shapes()
    trunk = {name: shape for name, shape in shapes.items() if name.startswith("conv")}
    count = 0
    for shape in trunk.values():
        n = 1
        for side in shape:
            n *= side
        count += n
    assert count == 14_714_688  # fact sheet 7


def test_googlenet_with_its_average_pool_is_cropped_at_2() -> None:
    # fact sheet 1.7: the 7x7 average pool kept, pad 100
    net = Net()
    net.data(3)
    x = googlenet(net, 1 / 16, "caffe").top
    x = net.score("score_fr", net.add(AvgPool("pool5/7x7_s1", (x,), 7, 1)), 21)
    net.crop("score", net.upsample("upscore", x, 32, like="data"), like="data")
    assert net.crops() == {"score": 2}
