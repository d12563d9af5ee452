"""The heads against the fact sheet: offsets (1.3, 1.6, 1.7), sizes (1.5), slack, smallest pads."""

from __future__ import annotations

import pytest

from pixelwise.errors import UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.heads.fcn import fcn
from pixelwise.nets.joining import Crop
from pixelwise.nets.layers import Conv, Scale, Upsample
from pixelwise.nets.net import Net
from pixelwise.nets.trunks import alexnet, googlenet, vgg16

SIZES = range(1, 2049)


def slack(net: Net, crop: str, lengths: range = SIZES) -> tuple[int, int]:
    """Least and most cells that are left beyond a crop, over all input lengths."""
    layer = net.layers[crop]
    assert isinstance(layer, Crop)
    larger, like = layer.inputs
    left = []
    for n in lengths:
        sizes = net.sizes(n)
        left.append(sizes[larger] - layer.offset - sizes[like])
    return min(left), max(left)


def every_size_fits(net: Net, lengths: range = SIZES) -> bool:
    try:
        return all(net.sizes(n)[net.output] == n for n in lengths)
    except UsageError:
        return False


# -- offsets: fact sheet 1.3, 1.6, 1.7 ------------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "crops"),
    [
        ("fcn32s-vgg16", {"score": 19}),
        ("fcn16s-vgg16", {"score_pool4c": 5, "score": 27}),
        ("fcn8s-vgg16", {"score_pool4c": 5, "score_pool3c": 9, "score": 31}),
        ("fcn8s-vgg16-atonce", {"score_pool4c": 5, "score_pool3c": 9, "score": 31}),
        ("fcn32s-alexnet", {"score": 18}),
        ("fcn8s-alexnet", {"score_conv5c": 5, "score_conv2c": 10, "score": 18}),
        ("fcn32s-googlenet", {"score": 98}),
    ],
)
def test_crop_offsets_are_the_released_ones(name: str, crops: dict[str, int]) -> None:
    assert spec(name).crops() == crops


@pytest.mark.parametrize(
    ("stride", "larger_by", "skips"),
    [(32, 81, []), (16, 73, [5]), (8, 69, [5, 9])],
)
def test_vgg_offsets_follow_the_closed_forms(
    stride: int, larger_by: int, skips: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # fact sheet 1.6: P - 81, P - 73, P - 69; the skips' offsets do not depend on P
    for pad in range(81, 141):
        monkeypatch.setitem(vgg16.PADS, "caffe", (pad, 0))
        *inner, last = fcn(vgg16.vgg16, stride, width=1 / 16).crops().values()
        assert (inner, last) == (skips, pad - larger_by)


def test_alexnet_offset_follows_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    for pad in range(82, 141):
        monkeypatch.setitem(alexnet.PADS, "caffe", (pad, 0, 0, 0, 0))
        assert fcn(alexnet.alexnet, 32).crops() == {"score": pad - 82}


def test_googlenet_with_its_published_pad(monkeypatch: pytest.MonkeyPatch) -> None:
    # fact sheet 1.7: offset 1, fits 32..2048 with slack 0..31; 500 -> 15, 375 -> 11
    monkeypatch.setitem(googlenet.PADS, "caffe", (3, 0))
    net = fcn(googlenet.googlenet, 32)
    assert net.crops() == {"score": 1}
    assert slack(net, "score", range(32, 2049)) == (0, 31)
    assert (net.sizes(500)["score_fr"], net.sizes(375)["score_fr"]) == (15, 11)


@pytest.mark.parametrize(("stride", "least"), [(32, 97), (16, 97), (8, 97)])
def test_smallest_pad_of_vgg(stride: int, least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # fact sheet 1.6
    for pad, fits in ((least - 1, False), (least, True)):
        monkeypatch.setitem(vgg16.PADS, "caffe", (pad, 0))
        assert every_size_fits(fcn(vgg16.vgg16, stride)) is fits


def test_smallest_pad_of_alexnet(monkeypatch: pytest.MonkeyPatch) -> None:
    for pad, fits in ((98, False), (99, True)):
        monkeypatch.setitem(alexnet.PADS, "caffe", (pad, 0, 0, 0, 0))
        assert every_size_fits(fcn(alexnet.alexnet, 32)) is fits


@pytest.mark.parametrize(
    ("name", "crop", "least", "most"),
    [
        ("fcn32s-vgg16", "score", 19, 50),
        ("fcn16s-vgg16", "score", 27, 58),
        ("fcn8s-vgg16", "score", 31, 62),
        ("fcn8s-vgg16", "score_pool4c", 4, 5),
        ("fcn8s-vgg16", "score_pool3c", 6, 9),
        ("fcn32s-alexnet", "score", 15, 46),
    ],
)
def test_slack_beyond_the_crops(name: str, crop: str, least: int, most: int) -> None:
    # fact sheet 1.6, all input sizes 1..2048
    assert slack(spec(name), crop) == (least, most)


@pytest.mark.parametrize(("trunk", "kernel"), [("alexnet", 64), ("vgg16", 63)])
def test_the_kernel_of_the_other_parity_is_refused(trunk: str, kernel: int) -> None:
    # fact sheet 1.6: the offset would be 18.5
    net = spec(f"fcn32s-{trunk}")
    net.add(Upsample("other", ("score_fr",), kernel, 32))
    with pytest.raises(UsageError, match="37/2"):
        net.crop("crop_other", "other", like="data")


# -- sizes of the heads: fact sheet 1.5 -----------------------------------------------------------
@pytest.mark.parametrize(
    ("name", "layer", "sizes"),
    [
        (
            "fcn32s-vgg16",
            "upscore",
            {500: 544, 375: 416, 425: 480, 560: 608, 256: 320, 480: 544, 640: 704, 1: 64},
        ),
        (
            "fcn16s-vgg16",
            "upscore16",
            {500: 560, 375: 432, 425: 496, 560: 624, 256: 336, 480: 560, 640: 720, 1: 80},
        ),
        (
            "fcn8s-vgg16",
            "upscore8",
            {500: 568, 375: 440, 425: 504, 560: 632, 256: 344, 480: 568, 640: 728, 1: 88},
        ),
    ],
)
def test_last_upsampling(name: str, layer: str, sizes: dict[int, int]) -> None:
    net = spec(name)
    assert {n: net.sizes(n)[layer] for n in sizes} == sizes
    assert {n: net.sizes(n)["score"] for n in sizes} == {n: n for n in sizes}


@pytest.mark.parametrize(
    ("layers", "sizes"),
    [
        (
            ("upscore2", "score_pool4c", "fuse_pool4"),
            {500: 34, 375: 26, 425: 30, 560: 38, 256: 20, 480: 34, 640: 44, 1: 4},
        ),
        (
            ("upscore_pool4", "score_pool3c", "fuse_pool3"),
            {500: 70, 375: 54, 425: 62, 560: 78, 256: 42, 480: 70, 640: 90, 1: 10},
        ),
        (("score_pool4",), {500: 44, 375: 36, 1: 13}),
        (("score_pool3",), {500: 88, 375: 72, 1: 25}),
    ],
)
def test_skips_of_fcn8s(layers: tuple[str, ...], sizes: dict[int, int]) -> None:
    net = spec("fcn8s-vgg16")
    for layer in layers:
        assert {n: net.sizes(n)[layer] for n in sizes} == sizes, layer


# -- what stands in the heads ---------------------------------------------------------------------
def test_layers_of_fcn8s_have_the_released_names_in_the_released_order() -> None:
    names = list(spec("fcn8s-vgg16").layers)
    assert names[names.index("score_fr") :] == [
        "score_fr",
        "upscore2",
        "score_pool4",
        "score_pool4c",
        "fuse_pool4",
        "upscore_pool4",
        "score_pool3",
        "score_pool3c",
        "fuse_pool3",
        "upscore8",
        "score",
    ]


def test_upsampling_counted_as_caffe_stores_it() -> None:
    # fact sheet 7: k64 1,806,336; k63 1,750,329; k32 451,584; k16 112,896; k4 7,056
    def upsampling(name: str) -> int:
        net = spec(name)
        return net.parameters(upsampling=True) - net.parameters()

    assert upsampling("fcn32s-vgg16") == 1_806_336
    assert upsampling("fcn32s-alexnet") == 1_750_329
    assert upsampling("fcn16s-vgg16") == 451_584 + 7_056
    assert upsampling("fcn8s-vgg16") == 112_896 + 2 * 7_056


def test_skip_scores_add_their_parameters() -> None:
    # fact sheet 7: score_pool4 10,773; score_pool3 5,397
    counts = [spec(f"fcn{s}s-vgg16").parameters() for s in (32, 16, 8)]
    assert counts[1] - counts[0] == 10_773
    assert counts[2] - counts[1] == 5_397


def test_at_once_scales_are_the_released_ones() -> None:
    # fact sheet 1.3
    layers = spec("fcn8s-vgg16-atonce").layers
    scales = {name: r.value for name, r in layers.items() if isinstance(r, Scale)}
    assert scales == {"scale_pool4": 0.01, "scale_pool3": 0.0001}
    assert layers["score_pool4"].inputs == ("scale_pool4",)
    assert layers["scale_pool3"].inputs == ("pool3",)


def test_all_scores_start_at_zero_and_nothing_else_does() -> None:
    for name in ("fcn8s-vgg16", "fcn8s-alexnet", "fcn4s-resnet18"):
        for layer in spec(name).layers.values():
            if isinstance(layer, Conv):
                assert (layer.init == "zero") == layer.name.startswith("score_"), layer.name


@pytest.mark.parametrize(
    ("learned", "expected"),
    [
        ("none", [False, False, False]),
        ("inner", [True, True, False]),
        ("all", [True, True, True]),
    ],
)
def test_learned_upsampling(learned: str, expected: list[bool]) -> None:
    net = spec("fcn8s-vgg16", learned=learned)
    assert [r.learned for r in net.layers.values() if isinstance(r, Upsample)] == expected


def test_rims_fade_in_caffe_nets_and_hold_in_tight_ones() -> None:
    def edges(name: str) -> set[str]:
        return {r.edge for r in spec(name).layers.values() if isinstance(r, Upsample)}

    assert edges("fcn8s-vgg16") == edges("fcn32s-vgg16-pool5") == {"fade"}
    assert edges("fcn8s-vgg16-tight") == edges("fcn8s-tiny") == {"hold"}


def test_at_once_without_a_released_factor_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"no factor for the skip from inception_4e.*pool4 \(0\.01\)"
    ):
        fcn(googlenet.googlenet, 16, at_once=True)
    with pytest.raises(UsageError, match="no factor"):
        fcn(vgg16.vgg16, 4, at_once=True)
