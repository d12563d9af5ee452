"""What the tensors of known trunks are called in foreign files, and what stands before the names.

The tables are torchvision's names to ours, module by module (torchvision.models.resnet,
.mobilenetv2 and .vgg, 0.2x; stable since 2018). The arithmetic is the same: our ResNet has its
stride on the 3x3 convolution as torchvision has, VGG16's pools round up where torchvision's round
down (equal for multiples of 32). AlexNet is not here: torchvision's has 64 filters in conv1 and no
groups ("one weird trick"), the paper's CaffeNet has 96 and two groups, so its weights fit no net of
ours; GoogLeNet's differ in batch norm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from pixelwise.nets import catalog
from pixelwise.nets.net import Net

HEADS = ("fc", "_fc", "classifier", "score")
"""How the layers after a trunk begin; a file without them, or with others, still has the trunk."""
_WRAPPERS = re.compile(r"(?:module\.|_orig_mod\.)*")  # DataParallel, torch.compile


def _resnet(blocks: tuple[int, ...], steps: int) -> dict[str, str]:
    table = {"conv1": "conv1", "bn1": "bn_conv1", "fc": "fc1000"}
    for stage, count in enumerate(blocks, 1):
        for i in range(count):
            theirs, ours = f"layer{stage}.{i}", f"{stage + 1}{'abcdef'[i]}"
            for step in range(1, steps + 1):
                branch = f"{ours}_branch2{'abc'[step - 1]}"
                table[f"{theirs}.conv{step}"] = f"res{branch}"
                table[f"{theirs}.bn{step}"] = f"bn{branch}"
            # Only where the shape changes; a basic block keeps it in the first stage.
            if i == 0 and (stage > 1 or steps == 3):
                table[f"{theirs}.downsample.0"] = f"res{ours}_branch1"
                table[f"{theirs}.downsample.1"] = f"bn{ours}_branch1"
    return table


def _mobilenetv2() -> dict[str, str]:
    table = {"features.0.0": "conv1", "features.0.1": "conv1/bn"}
    for i in range(1, 18):
        # A pair of convolution and norm is nested, the linear projection after it is not; the
        # first block has no expansion.
        nested = ["dwise"] if i == 1 else ["expand", "dwise"]
        for j, part in enumerate(nested):
            table[f"features.{i}.conv.{j}.0"] = f"block{i}_{part}"
            table[f"features.{i}.conv.{j}.1"] = f"block{i}_{part}/bn"
        table[f"features.{i}.conv.{len(nested)}"] = f"block{i}_project"
        table[f"features.{i}.conv.{len(nested) + 1}"] = f"block{i}_project/bn"
    last = {"features.18.0": "conv18", "features.18.1": "conv18/bn", "classifier.1": "fc1000"}
    return table | last


def _vgg16() -> dict[str, str]:
    # A convolution and its ReLU take two places, a pool one; dropout and ReLU stand between the fc.
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    ours = [f"conv{i}_{j}" for i, n in enumerate((2, 2, 3, 3, 3), 1) for j in range(1, n + 1)]
    table = {f"features.{at}": layer for at, layer in zip(places, ours, strict=True)}
    table |= {"classifier.0": "fc6", "classifier.3": "fc7", "classifier.6": "fc8"}
    # So in the conversion of Caffe's weights vgg16-00b39a1b.pth, which counts dropout first.
    return table | {"classifier.1": "fc6", "classifier.4": "fc7"}


def _efficientnet_lite(blocks: int) -> dict[str, str]:
    """The modules of efficientnet_lite_pytorch (after lukemelas' EfficientNet-PyTorch)."""
    table = {"_conv_stem": "conv1", "_bn0": "conv1/bn"}
    for i in range(blocks):
        # The first block has no expansion; the norms keep their numbers all the same.
        for norm, part in enumerate(("expand", "dwise", "project")):
            if (i, part) != (0, "expand"):
                theirs = "depthwise" if part == "dwise" else part
                table[f"_blocks.{i}._{theirs}_conv"] = f"block{i + 1}_{part}"
                table[f"_blocks.{i}._bn{norm}"] = f"block{i + 1}_{part}/bn"
    return table | {"_conv_head": "conv_head", "_bn1": "conv_head/bn", "_fc": "fc1000"}


def _deeplabv3() -> dict[str, str]:
    """torchvision.models.segmentation.deeplabv3_resnet50, but for its auxiliary head."""
    trunk = LAYERS["resnet50"].items()
    table = {f"backbone.{theirs}": ours for theirs, ours in trunk if theirs != "fc"}
    parts = {f"convs.{i}": (f"aspp{i}", 0) for i in range(4)}
    parts |= {"convs.4": ("image_pool", 1), "project": ("aspp_project", 0)}
    for part, (ours, first) in parts.items():
        at = f"classifier.0.{part}"
        table |= {f"{at}.{first}": ours, f"{at}.{first + 1}": f"{ours}/bn"}
    last = {"1": "aspp_last", "2": "aspp_last/bn", "4": "score_aspp"}
    return table | {f"classifier.{place}": ours for place, ours in last.items()}


LAYERS: Mapping[str, Mapping[str, str]] = {
    "resnet18": _resnet((2, 2, 2, 2), steps=2),
    "resnet50": _resnet((3, 4, 6, 3), steps=3),
    "mobilenetv2": _mobilenetv2(),
    "vgg16": _vgg16(),
    "efficientnetlite0": _efficientnet_lite(16),
    "efficientnetlite1": _efficientnet_lite(21),  # and lite2's, whose channels alone are others
}
"""Trunk to (module of the file to our layer)."""
WHOLE = {"deeplabv3-resnet50": _deeplabv3()}
"""The same of whole nets."""

# Longjon's branch of 2014 to the released names (fact sheet 10.4), layers and the maps they give;
# PASCAL-Context's score is called after its 59 classes.
LIGHT_NAMES = {
    "score": "score_fr",
    "score-fr": "score_fr",
    "score59": "score_fr",
    "score2": "upscore2",
    "score-pool4": "score_pool4",
    "score4": "upscore_pool4",
    "upsample-fused-16": "upscore_pool4",
    "score-pool3": "score_pool3",
    "bigscore": "upscore8",
    "upsample": "upscore8",
}
_LIGHT_ALONE = {"score-fr", "score59", "score-pool4", "score-pool3", "bigscore"}


@dataclass(frozen=True)
class Known:
    """A trunk that was found in a file by its names."""

    trunk: str
    prefix: str
    """What stands before its names; empty for most files."""
    also: tuple[str, ...]
    """Other prefixes that leave the same names: averages, teachers."""
    layers: Mapping[str, str]
    """torchvision's modules to our layers; empty where the names are ours."""


def layer_of(name: str) -> str:
    """The layer or module that a tensor belongs to."""
    return name.rpartition(".")[0]


def renamed(names: Iterable[str], layers: Mapping[str, str]) -> dict[str, str]:
    """Tensor names to those under a table's layers; what is in no table is left out."""
    return {
        name: f"{layers[layer]}.{parameter}"
        for name in names
        for layer, _, parameter in [name.rpartition(".")]
        if layer in layers
    }


def light_names(names: Iterable[str], net: Net) -> dict[str, str]:
    """The table for weights of the light FCNs of 2014; empty for any others."""
    names = list(names)
    # The others do not tell: ``score`` is a layer of today's nets, ``upsample`` of anyone's.
    if not {layer_of(name) for name in names} & _LIGHT_ALONE:
        return {}
    ups = [n for n, r in net.layers.items() if r.upsamples]
    last = dict.fromkeys(("bigscore", "upsample"), ups[-1]) if ups else {}
    return renamed(names, LIGHT_NAMES | last)


def recognise(names: Iterable[str]) -> Known | None:
    """The trunk whose tensors have these names, perhaps behind a prefix; None if no known one.

    All layers of the trunk must be there. torchvision's must have no layer more in the same
    places: ResNet-101 has every name of ResNet-50. What lies elsewhere is a head or another net.
    """
    modules = list(dict.fromkeys(layer_of(name) for name in names))
    given = set(modules)
    for trunk, body, layers in _bodies():
        first = body[0]
        before = [m.removesuffix(first) for m in modules if m == first or m.endswith(f".{first}")]
        fit = [p for p in before if all(p + m in given for m in body)]
        fit = [p for p in fit if not (layers and _has_more(modules, p, layers))]
        fit.sort(key=bool)  # bare names win; else the file's order
        if fit:
            return Known(trunk, fit[0], tuple(fit[1:]), layers)
    return None


def common_wrappers(names: Iterable[str]) -> str:
    """What tools have put before every name of a net that is not known; empty for nothing."""
    names = list(names)
    wrapped = (match[0] for name in names if (match := _WRAPPERS.match(name)))
    shortest = min(wrapped, key=len, default="")
    return shortest if all(name.startswith(shortest) for name in names) else ""


@cache
def _bodies() -> tuple[tuple[str, tuple[str, ...], Mapping[str, str]], ...]:
    """Trunk, the modules that it cannot be without, and its table."""
    bodies: list[tuple[str, tuple[str, ...], Mapping[str, str]]]
    bodies = [(net, tuple(table), table) for net, table in WHOLE.items()]
    bodies += [(trunk, _body(table), table) for trunk, table in LAYERS.items()]
    for trunk in catalog.FAMILIES:
        net = catalog.spec(f"fcn32s-{trunk}")
        learned = [n for n, r in net.layers.items() if r.parameters(net.given_channels(r))]
        bodies.append((trunk, _body(learned), {}))
    return tuple(bodies)


def _body(modules: Iterable[str]) -> tuple[str, ...]:
    return tuple(m for m in modules if not m.startswith(HEADS))


def _has_more(modules: Iterable[str], prefix: str, layers: Mapping[str, str]) -> bool:
    """Whether the trunk's own places, such as ``layer3``, hold what its table does not name."""
    places = {m.partition(".")[0] for m in _body(layers)}
    inside = (m.removeprefix(prefix) for m in modules if m.startswith(prefix))
    return any(m.partition(".")[0] in places and m not in layers for m in inside)
