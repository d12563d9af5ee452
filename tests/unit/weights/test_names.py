"""The tables against the keys and shapes that torchvision's models have.

The expected keys are written here a second time, from torchvision's source (models/resnet.py,
mobilenetv2.py, vgg.py) and not from our tables: counts are those of ``len(state_dict())``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from pixelwise.engine.build import build
from pixelwise.weights import names
from pixelwise.weights.load import Foreign
from pixelwise.weights.names import LAYERS, recognise, renamed
from pixelwise.weights.recognition import recognise_net
from pixelwise.weights.surgery import carry_out, plan
from random_weights import shaken
from smp import smp_module

Shapes = dict[str, tuple[int, ...]]


def norm(name: str, channels: int) -> Shapes:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{n}": (channels,) for n in names} | {f"{name}.num_batches_tracked": ()}


def resnet(blocks: list[int], expansion: int) -> Shapes:
    shapes = {"conv1.weight": (64, 3, 7, 7)} | norm("bn1", 64)
    channels = 64
    for stage, count in enumerate(blocks):
        width = 64 * 2**stage
        for i in range(count):
            at = f"layer{stage + 1}.{i}"
            out = width * expansion
            if expansion == 1:
                kernels = [(width, channels, 3, 3), (width, width, 3, 3)]
            else:
                kernels = [(width, channels, 1, 1), (width, width, 3, 3), (out, width, 1, 1)]
            for j, kernel in enumerate(kernels, 1):
                shapes |= {f"{at}.conv{j}.weight": kernel} | norm(f"{at}.bn{j}", kernel[0])
            if i == 0 and (stage > 0 or channels != out):
                shapes |= {f"{at}.downsample.0.weight": (out, channels, 1, 1)}
                shapes |= norm(f"{at}.downsample.1", out)
            channels = out
    return shapes | {"fc.weight": (1000, channels), "fc.bias": (1000,)}


def mobilenetv2() -> Shapes:
    shapes = {"features.0.0.weight": (32, 3, 3, 3)} | norm("features.0.1", 32)
    settings = [
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ]
    channels, i = 32, 0
    for expansion, out, repeats in settings:
        for _ in range(repeats):
            i += 1
            at, hidden, j = f"features.{i}.conv", channels * expansion, 0
            if expansion != 1:
                shapes |= {f"{at}.0.0.weight": (hidden, channels, 1, 1)} | norm(f"{at}.0.1", hidden)
                j = 1
            shapes |= {f"{at}.{j}.0.weight": (hidden, 1, 3, 3)} | norm(f"{at}.{j}.1", hidden)
            shapes |= {f"{at}.{j + 1}.weight": (out, hidden, 1, 1)} | norm(f"{at}.{j + 2}", out)
            channels = out
    shapes |= {"features.18.0.weight": (1280, 320, 1, 1)} | norm("features.18.1", 1280)
    return shapes | {"classifier.1.weight": (1000, 1280), "classifier.1.bias": (1000,)}


def vgg16() -> Shapes:
    shapes, channels, at = Shapes(), 3, 0
    for out in [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]:
        if out == 0:  # a pool takes one place, a convolution and its ReLU two
            at += 1
            continue
        shapes |= {f"features.{at}.weight": (out, channels, 3, 3), f"features.{at}.bias": (out,)}
        channels, at = out, at + 2
    for at, (out, into) in {0: (4096, 25088), 3: (4096, 4096), 6: (1000, 4096)}.items():
        shapes |= {f"classifier.{at}.weight": (out, into), f"classifier.{at}.bias": (out,)}
    return shapes


def efficientnet_lite(repeats: list[int], widths: list[int]) -> Shapes:
    """efficientnet_lite_pytorch (model.py): blocks counted through, norms by their step."""
    shapes = {"_conv_stem.weight": (32, 3, 3, 3)} | norm("_bn0", 32)
    kernels, channels, i = [3, 3, 5, 3, 5, 5, 3], 32, 0
    for stage, (count, out) in enumerate(zip(repeats, widths, strict=True)):
        for _ in range(count):
            at, hidden, kernel = f"_blocks.{i}", channels * (6 if stage else 1), kernels[stage]
            if stage:
                shapes |= {f"{at}._expand_conv.weight": (hidden, channels, 1, 1)}
                shapes |= norm(f"{at}._bn0", hidden)
            shapes |= {f"{at}._depthwise_conv.weight": (hidden, 1, kernel, kernel)}
            shapes |= norm(f"{at}._bn1", hidden)
            shapes |= {f"{at}._project_conv.weight": (out, hidden, 1, 1)} | norm(f"{at}._bn2", out)
            channels, i = out, i + 1
    shapes |= {"_conv_head.weight": (1280, 320, 1, 1)} | norm("_bn1", 1280)
    return shapes | {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}


MODELS = {
    "resnet18": (resnet([2, 2, 2, 2], 1), 122, 11_689_512),
    "resnet50": (resnet([3, 4, 6, 3], 4), 320, 25_557_032),
    "mobilenetv2": (mobilenetv2(), 314, 3_504_872),
    "vgg16": (vgg16(), 32, 138_357_544),
    "efficientnetlite0": (
        efficientnet_lite([1, 2, 2, 3, 3, 4, 1], [16, 24, 40, 80, 112, 192, 320]),
        296,
        4_652_008,
    ),
    "efficientnetlite1": (
        efficientnet_lite([1, 3, 3, 4, 4, 5, 1], [16, 24, 40, 80, 112, 192, 320]),
        386,
        5_416_680,
    ),
}
PARTS = pytest.mark.parametrize("trunk", MODELS)


def names_for(trunk: str, names: Iterable[str]) -> dict[str, str]:
    known = recognise(names)
    assert known is not None
    assert (known.trunk, known.prefix) == (trunk, "")
    return renamed(names, known.layers)


def states(shapes: Shapes) -> dict[str, torch.Tensor]:
    return {k: torch.empty(s, device="meta") for k, s in shapes.items()}


@PARTS
def test_the_expected_keys_have_the_published_counts(trunk: str) -> None:
    shapes, keys, parameters = MODELS[trunk]
    assert len(shapes) == keys
    learned = [s for k, s in shapes.items() if not k.endswith(("_mean", "_var", "_tracked"))]
    assert sum(torch.Size(s).numel() for s in learned) == parameters


@PARTS
def test_every_key_has_one_place_in_the_classifier_and_every_place_a_key(trunk: str) -> None:
    shapes = MODELS[trunk][0]
    names = names_for(trunk, shapes)
    with torch.device("meta"):
        net = build(trunk)
    assert set(names) == set(shapes)
    assert sorted(names.values()) == sorted(net.state_dict())
    transplant = plan(states(shapes), net, names=names)
    assert not transplant.of("dropped", "missing", "mismatched")
    assert all(len(r.source_shape) == 2 for r in transplant.of("reshaped"))


def test_a_table_has_the_modules_of_its_file_and_the_layers_of_its_net() -> None:
    """Each once, made anew; VGG16's fc6 and fc7 have a second place where dropout is counted."""
    tables = {
        "resnet18": names._resnet((2, 2, 2, 2), steps=2),
        "resnet50": names._resnet((3, 4, 6, 3), steps=3),
        "mobilenetv2": names._mobilenetv2(),
        "vgg16": names._vgg16(),
        "efficientnetlite0": names._efficientnet_lite(16),
        "efficientnetlite1": names._efficientnet_lite(21),
        "deeplabv3-resnet50": names._deeplabv3(),
    }
    for net, table in tables.items():
        shapes = MODELS[net][0] if net in MODELS else deeplabv3()
        modules = {names.layer_of(key) for key in shapes if not key.startswith("aux_classifier")}
        with torch.device("meta"):
            state = build(net).state_dict()
        twice = {"classifier.1": "fc6", "classifier.4": "fc7"} if net == "vgg16" else {}
        assert {*table} == modules | {*twice}
        assert {m: table[m] for m in twice} == twice
        ours = {own: m for m, own in table.items() if m not in twice}
        assert len(ours) == len(modules)
        assert {*ours} == {names.layer_of(key) for key in state}
        kept = {f"{own}.{key.rpartition('.')[2]}" for own, m in ours.items() for key in shapes
                if names.layer_of(key) == m}  # fmt: skip
        assert kept == {*state}


@PARTS
def test_an_fcn_takes_all_but_the_classifier(trunk: str) -> None:
    shapes = MODELS[trunk][0]
    with torch.device("meta"):
        net = build(f"fcn8s-{trunk}")
    transplant = plan(states(shapes), net, names=names_for(trunk, shapes))
    assert len(transplant.of("dropped")) == 2  # weight and bias of the classifier
    assert all(r.reason == "score layer, starts anew" for r in transplant.of("missing"))
    assert len(transplant.of("missing")) == 6
    assert not transplant.of("mismatched")


def test_strangers_are_not_recognised() -> None:
    shapes = MODELS["resnet50"][0]
    headless = {k: v for k, v in shapes.items() if not k.startswith("fc.")}
    assert names_for("resnet50", headless)
    assert recognise(resnet([3, 4, 23, 3], 4)) is None  # ResNet-101
    assert recognise(resnet([3, 4, 6, 3], 1)) is None  # ResNet-34
    assert recognise({"conv1.weight": ()}) is None
    assert recognise({}) is None


def test_a_narrow_resnet_computes_what_the_same_weights_compute_by_hand() -> None:
    """Names alone could be permuted without notice; one block worked out by hand is not."""
    torch.manual_seed(0)
    net = build("resnet18", width=1 / 16, classes=3).eval()
    theirs = {ours: name for name, ours in names_for("resnet18", MODELS["resnet18"][0]).items()}
    state = {theirs[k]: torch.rand_like(v.float()) for k, v in net.state_dict().items()}
    carry_out(plan(state, net, names=names_for("resnet18", state)), state, net)
    x = torch.rand(1, 4, 6, 6)
    f = torch.nn.functional

    def bn(x: torch.Tensor, at: str) -> torch.Tensor:
        named = (state[f"layer2.0.{at}.{n}"] for n in ("running_mean", "running_var"))
        weight, bias = state[f"layer2.0.{at}.weight"], state[f"layer2.0.{at}.bias"]
        return f.batch_norm(x, *named, weight, bias)

    y = bn(f.conv2d(x, state["layer2.0.conv1.weight"], stride=2, padding=1), "bn1").relu()
    y = bn(f.conv2d(y, state["layer2.0.conv2.weight"], padding=1), "bn2")
    y = y + bn(f.conv2d(x, state["layer2.0.downsample.0.weight"], stride=2), "downsample.1")
    with torch.inference_mode():
        maps = {"res2b_relu": x}
        for name in list(net.net.layers)[list(net.net.layers).index("res2b_relu") + 1 :]:
            record = net.net.layers[name]
            maps[name] = net.get_submodule(name)(*(maps[s] for s in record.inputs))
            if name == "res3a_relu":
                break
    assert torch.allclose(maps["res3a_relu"], y.relu(), atol=1e-5)


def test_the_tables_cover_the_catalogues_trunks() -> None:
    assert set(LAYERS) == set(MODELS)


# -- whole nets -----------------------------------------------------------------------------------
def deeplabv3() -> Shapes:
    """torchvision/models/segmentation/deeplabv3.py."""
    body = {k: v for k, v in resnet([3, 4, 6, 3], 4).items() if not k.startswith("fc.")}
    shapes, at = {f"backbone.{k}": v for k, v in body.items()}, "classifier.0"
    for i in range(4):
        kernel = 3 if i else 1
        shapes |= {f"{at}.convs.{i}.0.weight": (256, 2048, kernel, kernel)}
        shapes |= norm(f"{at}.convs.{i}.1", 256)
    shapes |= {f"{at}.convs.4.1.weight": (256, 2048, 1, 1)} | norm(f"{at}.convs.4.2", 256)
    shapes |= {f"{at}.project.0.weight": (256, 1280, 1, 1)} | norm(f"{at}.project.1", 256)
    shapes |= {"classifier.1.weight": (256, 256, 3, 3)} | norm("classifier.2", 256)
    shapes |= {"classifier.4.weight": (21, 256, 1, 1), "classifier.4.bias": (21,)}
    shapes |= {"aux_classifier.0.weight": (256, 1024, 3, 3)} | norm("aux_classifier.1", 256)
    return shapes | {"aux_classifier.4.weight": (21, 256, 1, 1), "aux_classifier.4.bias": (21,)}


def test_deeplabs_file_fills_the_whole_net() -> None:
    shapes = deeplabv3()
    learned = [s for k, s in shapes.items() if not k.endswith(("_mean", "_var", "_tracked"))]
    assert sum(torch.Size(s).numel() for s in learned) == 42_004_074  # DeepLabV3_ResNet50_Weights
    names = names_for("deeplabv3-resnet50", shapes)
    with torch.device("meta"):
        net, fcn = build("deeplabv3-resnet50"), build("fcn8s-resnet50")
    assert sorted(names.values()) == sorted(net.state_dict())
    assert not plan(states(shapes), net, names=names).of("missing", "mismatched")
    assert not plan(states(shapes), fcn, names=names).of("mismatched")
    foreign = Foreign("torch", states(shapes), names=names)
    assert recognise_net(foreign, Path("file")) == "deeplabv3-resnet50"


def test_an_fcn_of_torchvision_is_its_trunk() -> None:
    body = {f"backbone.{k}": s for k, s in resnet([3, 4, 6, 3], 4).items() if "fc." not in k}
    head = {"classifier.0.weight": (512, 2048, 3, 3)} | norm("classifier.1", 512)
    known = recognise({**body, **head, "classifier.4.weight": (21, 512, 1, 1)})
    assert known is not None
    assert (known.trunk, known.prefix) == ("resnet50", "backbone.")


def test_smps_decoder_gives_the_same_features_with_the_same_weights() -> None:
    """Its ASPP is made after torchvision's; its trunks are dilated in another way."""
    theirs = smp_module("decoders.deeplabv3.decoder").DeepLabV3Decoder(
        2048, 256, (12, 24, 36), aspp_separable=False, aspp_dropout=0.5
    )
    net, theirs = build("deeplabv3-resnet50", classes=5).eval(), shaken(theirs)
    places = {"aspp": "classifier.0", "conv": "classifier.1", "bn": "classifier.2"}
    state = {
        f"{places[first]}.{rest}": value
        for key, value in theirs.state_dict().items()
        for first, _, rest in [key.partition(".")]
    }
    names = names_for("deeplabv3-resnet50", deeplabv3())
    carry_out(plan(state, net, names={k: names[k] for k in state}), state, net)
    x = torch.rand(1, 3, 40, 57)
    with torch.inference_mode():
        maps = net.activations(x, ["res5c_relu", "aspp_last/relu"])
        expected = theirs([maps["res5c_relu"]])
    scale = float(expected.abs().max())
    torch.testing.assert_close(maps["aspp_last/relu"], expected, rtol=0, atol=1e-5 * scale)
