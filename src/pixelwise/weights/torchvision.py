"""torchvision's names to ours, module by module, for the trunks that read its weights.

Source: torchvision.models.resnet, .mobilenetv2 and .vgg (0.2x); the names have been stable since
2018. The arithmetic is the same: our ResNet has its stride on the 3x3 convolution as torchvision
has, VGG16's pools round up where torchvision's round down (equal for multiples of 32). AlexNet is
not here: torchvision's has 64 filters in conv1 and no groups ("one weird trick"), the paper's
CaffeNet has 96 and two groups, so its weights fit no net of ours; GoogLeNet's differ in batch norm.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType


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
    return table | {
        "features.18.0": "conv18",
        "features.18.1": "conv18/bn",
        "classifier.1": "fc1000",
    }


_VGG16 = {
    "features.0": "conv1_1",
    "features.2": "conv1_2",
    "features.5": "conv2_1",
    "features.7": "conv2_2",
    "features.10": "conv3_1",
    "features.12": "conv3_2",
    "features.14": "conv3_3",
    "features.17": "conv4_1",
    "features.19": "conv4_2",
    "features.21": "conv4_3",
    "features.24": "conv5_1",
    "features.26": "conv5_2",
    "features.28": "conv5_3",
    "classifier.0": "fc6",
    "classifier.3": "fc7",
    "classifier.6": "fc8",
}

LAYERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "resnet18": MappingProxyType(_resnet((2, 2, 2, 2), steps=2)),
        "resnet50": MappingProxyType(_resnet((3, 4, 6, 3), steps=3)),
        "mobilenetv2": MappingProxyType(_mobilenetv2()),
        "vgg16": MappingProxyType(_VGG16),
    }
)
"""Trunk to (torchvision's module to our layer)."""


def recognise(names: Iterable[str]) -> str:
    """The trunk whose torchvision state dict has these tensor names; empty if none has.

    A state dict without its classifier is recognised too; one with a module more is not (ResNet-101
    is no ResNet-50).
    """
    modules = {name.rpartition(".")[0] for name in names}
    for trunk, table in LAYERS.items():
        heads = {"fc", "classifier.0", "classifier.1", "classifier.3", "classifier.6"}
        if modules <= set(table) and modules >= set(table) - heads:
            return trunk
    return ""


def names_for(trunk: str, names: Iterable[str]) -> dict[str, str]:
    """Tensor names of torchvision to ours; parameters are called alike in both."""
    table = LAYERS[trunk]
    return {
        name: f"{table[module]}.{parameter}"
        for name in names
        for module, _, parameter in [name.rpartition(".")]
        if module in table
    }
