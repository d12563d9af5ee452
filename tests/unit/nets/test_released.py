"""The released nets: layer lists written down from the prototxts, and the fact sheet's numbers."""

from __future__ import annotations

from typing import Any

import pytest

from pixelwise.errors import UsageError
from pixelwise.nets.catalog import NETS, entry, spec
from pixelwise.nets.joining import Concat, Crop, Sum
from pixelwise.nets.layers import Conv, Dropout, Input, Lrn, Relu, Scale, Upsample
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import MaxPool
from pixelwise.nets.released import RELEASED
from pixelwise.weights.surgery import score_layers

# The layers of the prototxts as "name: numbers" (fact sheet 1.2 to 1.4), inputs by their tops.
VGG = [
    *(f"conv{b}_{i}: {n} 3 1 {100 if (b, i) == (1, 1) else 1}" for b, i, n in (
        (1, 1, 64), (1, 2, 64), (2, 1, 128), (2, 2, 128), (3, 1, 256), (3, 2, 256), (3, 3, 256),
        (4, 1, 512), (4, 2, 512), (4, 3, 512), (5, 1, 512), (5, 2, 512), (5, 3, 512),
    )),
    *(f"relu{b}_{i}" for b, depth in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, depth + 1)),
    *(f"pool{b}: 2 2 0" for b in range(1, 6)),
    "fc6: 4096 7 1 0", "relu6", "drop6: 0.5", "fc7: 4096 1 1 0", "relu7", "drop7: 0.5",
]  # fmt: skip
ALEXNET = [
    "conv1: 96 11 4 100", "conv2: 256 5 1 2 g2", "conv3: 384 3 1 1", "conv4: 384 3 1 1 g2",
    "conv5: 256 3 1 1 g2", "relu1", "relu2", "relu3", "relu4", "relu5", "pool1: 3 2 0",
    "pool2: 3 2 0", "pool5: 3 2 0", "norm1: 5 0.0001 0.75", "norm2: 5 0.0001 0.75",
    "fc6: 4096 6 1 0", "relu6", "drop6: 0.5", "fc7: 4096 1 1 0", "relu7", "drop7: 0.5",
]  # fmt: skip


def head(stride: int, classes: int, end: str = "") -> list[str]:
    """32s, 16s or 8s as the release has it; ``end`` stands behind names, before a crop's c."""
    layers = [f"score_fr{end}: {classes} 1 1 0"]
    if stride == 32:
        return [*layers, f"upscore{end}: 64 32", f"score{end}: 19"]
    layers += [f"upscore2{end}: 4 2", f"score_pool4{end}: {classes} 1 1 0"]
    layers += [f"score_pool4{end}c: 5", f"fuse_pool4{end}: sum"]
    if stride == 16:
        return [*layers, f"upscore16{end}: 32 16", f"score{end}: 27"]
    layers += [f"upscore_pool4{end}: 4 2", f"score_pool3{end}: {classes} 1 1 0"]
    layers += [f"score_pool3{end}c: 9", f"fuse_pool3{end}: sum"]
    return [*layers, f"upscore8{end}: 16 8", f"score{end}: 31"]


def stream(name: str) -> list[str]:
    """A whole 32s net up to its scores, every name with the stream's behind."""
    named = [f"{layer.partition(':')[0]}{name}{layer[layer.find(':'):] if ':' in layer else ''}"
             for layer in [*VGG, "score_fr: 40 1 1 0"]]  # fmt: skip
    return [f"{name}: input", *named]


PICTURE = ["data: input"]
AT_ONCE = ["scale_pool4: 0.01", "scale_pool3: 0.0001"]
BGRD = [layer.replace("conv1_1:", "conv1_1_bgrd:") for layer in VGG]
LAYERS = {
    **{f"voc-fcn{s}s": [*PICTURE, *VGG, *head(s, 21)] for s in (32, 16, 8)},
    "voc-fcn8s-atonce": [*PICTURE, *VGG, *AT_ONCE, *head(8, 21)],
    "voc-fcn-alexnet": [
        *PICTURE, *ALEXNET, "score_fr: 21 1 1 0", "upscore: 63 32", "score: 18"
    ],
    "nyud-fcn32s-color": [*PICTURE, *VGG, *head(32, 40)],
    "nyud-fcn32s-hha": [*PICTURE, *VGG, *head(32, 40)],
    "nyud-fcn32s-color-d": [
        "color: input", "depth: input", "data: concat", *BGRD, *head(32, 40)
    ],
    "nyud-fcn32s-color-hha": [
        *stream("color"), *stream("hha"),
        "score_fused: sum 0.5 0.5", "upscore: 64 32", "score: 19",
    ],
    **{
        f"siftflow-fcn{s}s": [*PICTURE, *VGG, *head(s, 33, "_sem"), *head(s, 3, "_geo")]
        for s in (32, 16, 8)
    },
    **{f"pascalcontext-fcn{s}s": [*PICTURE, *VGG, *head(s, 60)] for s in (32, 16, 8)},
}  # fmt: skip


def written(net: Net) -> list[str]:
    """A net's layers in the same words."""

    def words(layer: object) -> str:
        match layer:
            case Conv(width=n, kernel=k, stride=s, pad=p, groups=g):
                return f": {n} {k} {s} {p}" + (f" g{g}" if g > 1 else "")
            case MaxPool(kernel=k, stride=s, pad=p, ceil=True):
                return f": {k} {s} {p}"
            case Lrn(window=n, alpha=a, beta=b, k=1.0):
                return f": {n} {a} {b}"
            case Dropout(p=p):
                return f": {p}"
            case Upsample(kernel=k, stride=s, learned=False, edge="fade"):
                return f": {k} {s}"
            case Crop(offset=offset):
                return f": {offset}"
            case Scale(value=value):
                return f": {value}"
            case Sum(coefficients=c):
                return " ".join([": sum", *map(str, c)])
            case Concat():
                return ": concat"
            case Input():
                return ": input"
            case Relu():
                return ""
        raise AssertionError(layer)

    return [f"{layer.name}{words(layer)}" for layer in net.layers.values()]


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_those_of_the_prototxt(name: str) -> None:
    assert sorted(written(spec(name))) == sorted(LAYERS[name])


def test_all_fifteen_and_the_two_that_were_never_released() -> None:
    assert len(LAYERS) == 15
    assert set(RELEASED) == {*LAYERS, "voc-fcn-googlenet", "nyud-fcn16s-color-hha"}
    assert RELEASED.keys() <= NETS.keys()


def test_siftflow_layers_stand_in_the_released_order() -> None:
    names = [n for n in spec("siftflow-fcn8s").layers if n.endswith(("_sem", "_geo", "_semc"))]
    assert names[:11] == [
        "score_fr_sem", "upscore2_sem", "score_pool4_sem", "score_pool4_semc", "fuse_pool4_sem",
        "upscore_pool4_sem", "score_pool3_sem", "score_pool3_semc", "fuse_pool3_sem",
        "upscore8_sem", "score_sem",
    ]  # fmt: skip
    assert names[11] == "score_fr_geo"


def test_the_top_is_the_last_map_before_any_upsampling() -> None:
    tops = {"nyud-fcn16s-color-hha": "score_fused", "siftflow-fcn8s": "score_fr_sem"}
    assert {name: spec(name).top for name in tops} == tops
    # what can be zero, or of other classes, are the scores of the streams
    scores = score_layers(spec("nyud-fcn16s-color-hha"))
    assert scores == {f"score_{at}{s}" for at in ("fr", "pool4") for s in ("color", "hha")}
    assert score_layers(spec("googlenet")) == {"loss3/classifier"}


def test_who_reads_what() -> None:
    layers = spec("siftflow-fcn8s").layers
    assert {layers[f"score_fr_{h}"].inputs for h in ("sem", "geo")} == {("drop7",)}
    assert {layers[f"score_pool4_{h}"].inputs for h in ("sem", "geo")} == {("pool4",)}
    assert layers["score_geo"].inputs == ("upscore8_geo", "data")
    layers = spec("nyud-fcn32s-color-hha").layers
    assert layers["conv1_1hha"].inputs == ("hha",)
    assert layers["score_fused"].inputs == ("score_frcolor", "score_frhha")
    assert layers["score"].inputs == ("upscore", "color")
    layers = spec("nyud-fcn32s-color-d").layers
    assert layers["data"].inputs == ("color", "depth")
    assert layers["conv1_1_bgrd"].inputs == ("data",)
    assert layers["relu1_1"].inputs == ("conv1_1_bgrd",)
    layers = spec("voc-fcn8s-atonce").layers
    assert (layers["scale_pool4"].inputs, layers["score_pool4"].inputs) == (
        ("pool4",),
        ("scale_pool4",),
    )


def test_the_16s_of_two_streams_begins_as_the_32s_with_zero_scores_beside() -> None:
    coarse, fine = (spec(f"nyud-fcn{s}s-color-hha") for s in (32, 16))
    own = fine.parameter_shapes().items() - coarse.parameter_shapes().items()
    assert coarse.parameter_shapes().items() <= fine.parameter_shapes().items()
    new = {name.partition(".")[0] for name, _ in own}
    assert new == {"score_pool4color", "score_pool4hha"}
    assert all(fine.layers[name].zero_start for name in new)


# -- numbers --------------------------------------------------------------------------------------
VGG_TRUNK = 14_714_688 + 102_764_544 + 16_781_312  # fact sheet 1.2, 7


def scores(classes: int, *channels: int) -> int:
    return sum(classes * c + classes for c in channels)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("voc-fcn32s", 134_346_581),
        ("voc-fcn-alexnet", 56_954_261),
        ("voc-fcn-googlenet", 5_995_077),
        ("voc-fcn8s", 134_346_581 + 10_773 + 5_397),
        ("nyud-fcn32s-color", VGG_TRUNK + scores(40, 4096)),
        ("nyud-fcn32s-color-d", VGG_TRUNK + 2_368 - 1_792 + scores(40, 4096)),
        ("nyud-fcn32s-color-hha", 2 * (VGG_TRUNK + scores(40, 4096))),
        ("nyud-fcn16s-color-hha", 2 * (VGG_TRUNK + scores(40, 4096, 512))),
        ("siftflow-fcn32s", VGG_TRUNK + scores(33, 4096) + scores(3, 4096)),
        ("siftflow-fcn8s", VGG_TRUNK + scores(33, 4096, 512, 256) + scores(3, 4096, 512, 256)),
        ("pascalcontext-fcn16s", VGG_TRUNK + scores(60, 4096, 512)),
    ],
)
def test_parameters(name: str, parameters: int) -> None:
    assert spec(name).parameters() == parameters


@pytest.mark.parametrize("name", RELEASED)
def test_field_stride_and_depth_are_those_of_table_1(name: str) -> None:
    facts = {"voc-fcn-alexnet": (355, 8), "voc-fcn-googlenet": (715, 22)}
    net = spec(name)
    assert (net.receptive_field, net.depth) == facts.get(name, (404, 16))
    assert net.stride == 32


# fact sheet 1.5, by the length of an axis
LENGTHS = (500, 375, 425, 560, 256, 480, 640, 1)
MAPS = {
    "conv1_1": (698, 573, 623, 758, 454, 678, 838, 199),
    "pool1": (349, 287, 312, 379, 227, 339, 419, 100),
    "pool2": (175, 144, 156, 190, 114, 170, 210, 50),
    "pool3": (88, 72, 78, 95, 57, 85, 105, 25),
    "score_pool3": (88, 72, 78, 95, 57, 85, 105, 25),
    "pool4": (44, 36, 39, 48, 29, 43, 53, 13),
    "score_pool4": (44, 36, 39, 48, 29, 43, 53, 13),
    "pool5": (22, 18, 20, 24, 15, 22, 27, 7),
    "fc6": (16, 12, 14, 18, 9, 16, 21, 1),
    "score_fr": (16, 12, 14, 18, 9, 16, 21, 1),
    "upscore": (544, 416, 480, 608, 320, 544, 704, 64),
    "upscore2": (34, 26, 30, 38, 20, 34, 44, 4),
    "upscore16": (560, 432, 496, 624, 336, 560, 720, 80),
    "upscore_pool4": (70, 54, 62, 78, 42, 70, 90, 10),
    "upscore8": (568, 440, 504, 632, 344, 568, 728, 88),
}
ALEXNET_MAPS = {
    "conv1": (173, 142, None, None, None, None, None, None),
    "pool1": (86, 71, 77, 94, 56, 84, 104, 24),
    "pool2": (43, 35, 38, 47, 28, 42, 52, 12),
    "pool5": (21, 17, 19, 23, 14, 21, 26, 6),
    "fc6": (16, 12, 14, 18, 9, 16, 21, 1),
    "upscore": (543, 415, 479, 607, 319, 543, 703, 63),
}


@pytest.mark.parametrize("name", [n for n in RELEASED if n != "voc-fcn-googlenet"])
def test_sizes_of_every_map_in_the_fact_sheet(name: str) -> None:
    net = spec(name)
    table = ALEXNET_MAPS if name == "voc-fcn-alexnet" else MAPS
    checked = set()
    for i, length in enumerate(LENGTHS):
        sizes = net.sizes(length)
        for layer, size in sizes.items():
            plain = layer
            for end in ("_sem", "_geo", "_bgrd", "color", "hha"):
                plain = plain.removesuffix(end)
            if plain in table and table[plain][i] is not None:
                assert size == table[plain][i], (layer, length)
                checked.add(plain)
            if plain == "score":
                assert size == length
    assert len(checked) >= 6


def test_a_released_net_is_the_catalogues_function_with_its_options() -> None:
    for stride in (32, 16, 8):
        assert spec(f"voc-fcn{stride}s") == spec(f"fcn{stride}s-vgg16")
        context = spec(f"fcn{stride}s-vgg16", classes=60)
        assert spec(f"pascalcontext-fcn{stride}s") == context
        two = spec(f"fcn{stride}s-vgg16", heads={"sem": 33, "geo": 3})
        assert spec(f"siftflow-fcn{stride}s") == two
    late: dict[str, Any] = {"inputs": {"color": 3, "hha": 3}, "fusion": "average", "classes": 40}
    assert spec("nyud-fcn16s-color-hha") == spec("fcn16s-vgg16", **late)
    assert spec("voc-fcn-googlenet") == spec("fcn32s-googlenet")


def test_what_an_entry_says_of_its_weights() -> None:
    # fact sheet 1.1 and 3.1
    published = {name: e.weights for name, e in NETS.items() if e.weights}
    assert published == {
        "voc-fcn32s": "fcn32s-heavy-pascal.caffemodel",
        "voc-fcn16s": "fcn16s-heavy-pascal.caffemodel",
        "voc-fcn8s": "fcn8s-heavy-pascal.caffemodel",
        "voc-fcn8s-atonce": "fcn8s-atonce-pascal.caffemodel",
        "voc-fcn-alexnet": "fcn-alexnet-pascal.caffemodel",
        "nyud-fcn32s-color": "nyud-fcn32s-color-heavy.caffemodel",
        "nyud-fcn32s-hha": "nyud-fcn32s-hha-heavy.caffemodel",
        "nyud-fcn32s-color-hha": "nyud-fcn32s-color-hha-heavy.caffemodel",
        **{f"siftflow-fcn{s}s": f"siftflow-fcn{s}s-heavy.caffemodel" for s in (32, 16, 8)},
        **{
            f"pascalcontext-fcn{s}s": f"pascalcontext-fcn{s}s-heavy.caffemodel" for s in (32, 16, 8)
        },
    }
    assert entry("siftflow-fcn16s").options["heads"] == {"sem": 33, "geo": 3}
    assert entry("siftflow-fcn16s").preprocess == "siftflow"
    assert entry("nyud-fcn32s-color-d").preprocess == "nyud-color-d"
    assert entry("pascalcontext-fcn8s").preprocess == "caffe"


# -- options --------------------------------------------------------------------------------------
def test_inputs_heads_and_fusion_go_together_on_any_trunk() -> None:
    net = spec(
        "fcn8s-resnet18",
        width=1 / 16,
        heads={"labels": 5, "geometry": 3},
        inputs={"image": 3, "depth": 1, "ir": 2},
        fusion="sum",
    )
    assert net.inputs == {"image": 3, "depth": 1, "ir": 2}
    assert net.outputs == {"labels": "score_labels", "geometry": "score_geometry"}
    assert net.layers["score_fused_labels"].inputs == (
        "score_frimage_labels",
        "score_frdepth_labels",
        "score_frir_labels",
    )
    assert {layer.coefficients for layer in net.layers.values() if isinstance(layer, Sum)} == {()}
    early = spec("fcn32s-alexnet", inputs={"color": 3, "hha": 3})
    assert early.parameter_shapes()["conv1_bgrhha.weight"] == (96, 6, 11, 11)
    assert early.channels["data"] == 6
    one = spec("fcn32s-tiny", heads={"labels": 4}, inputs={"image": 3})
    assert (one.inputs, one.outputs) == ({"image": 3}, {"labels": "score_labels"})
    assert "score_fr_labels.weight" in one.parameter_shapes()


def test_options_replace_a_released_nets_own() -> None:
    assert spec("nyud-fcn32s-color-hha", fusion="sum").layers["score_fused"] == Sum(
        "score_fused", ("score_frcolor", "score_frhha")
    )
    assert spec("voc-fcn8s", heads={"a": 3}).outputs == {"a": "score_a"}
    assert spec("siftflow-fcn8s", heads={"sem": 7}).channels["score_sem"] == 7
    assert spec("nyud-fcn32s-color", classes=13).channels["score"] == 13
    # what agrees is no contradiction
    assert spec("nyud-fcn32s-color-d", channels=4) == spec("nyud-fcn32s-color-d")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("siftflow-fcn8s", {"classes": 33}, r"classes 33, which contradicts its heads sem \(33\)"),
        ("fcn8s-vgg16", {"classes": 4, "heads": {"a": 3}}, r"contradicts its heads a \(3\)"),
        ("nyud-fcn32s-color-d", {"channels": 3}, r"channels 3, .* inputs color \(3\), depth \(1\)"),
        ("fcn8s-vgg16", {"fusion": "sum"}, "fusion sum has one input"),
        ("nyud-fcn32s-color-hha", {"inputs": {"color": 3}}, "fusion average has one input"),
        ("fcn8s-vgg16", {"fusion": "max"}, "fusion is 'max', expected one of early, sum, average"),
        ("fcn8s-vgg16", {"heads": {}}, "heads is {}"),
        ("fcn8s-vgg16", {"heads": {"a.b": 3}}, "heads is"),
        ("fcn8s-vgg16", {"heads": {"a": 0}}, "heads is"),
        ("fcn8s-vgg16", {"heads": ["a"]}, "heads is"),
        ("fcn8s-vgg16", {"inputs": {"color": 2.5}}, "inputs is"),
        ("vgg16", {"heads": {"a": 3}}, "vgg16 has no option heads"),
        ("fcn8s-vgg16", {"inputs": {"data": 3, "depth": 1}}, "layer data is already"),
    ],
)
def test_contradictions_are_refused(name: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        spec(name, **options)


def test_coefficients_are_one_for_each_map() -> None:
    with pytest.raises(UsageError, match="fused: 1 coefficients for 2 maps"):
        Sum("fused", ("a", "b"), (0.5,))


def test_renaming_a_layer_renames_it_everywhere() -> None:
    net = Net()
    net.top = net.conv("conv1", net.data(2), 3, relu="relu1")
    net.heads["only"] = "relu1"
    net.rename("relu1", "relu")
    net.rename("conv1", "conv")
    assert list(net.layers) == ["data", "conv", "relu"] == list(net.channels) == list(net.sights)
    assert net.layers["relu"].inputs == ("conv",)
    assert (net.top, net.outputs) == ("relu", {"only": "relu"})
    with pytest.raises(UsageError, match="layer data is already"):
        net.rename("conv", "data")
