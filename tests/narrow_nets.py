"""Narrow copies of the catalogue's nets with random weights, for what must hold of every one."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.nets.catalog import NETS
from pixelwise.nets.released import RELEASED
from random_weights import shaken

# Two heads, bands of two inputs, two streams. The other released nets are nets of the catalogue
# with other options (tests/unit/nets/test_released.py compares their layers).
OF_PARTS = ["siftflow-fcn8s", "nyud-fcn32s-color-d", "nyud-fcn16s-color-hha"]
# Of three trunks that differ by channels and repeats one stands for all; of the others the 4s.
TWINS = [f"fcn{s}s-efficientnetlite{i}" for s in (32, 16, 8) for i in (1, 2)]
# Of the relatives on trunks those on Lite0 and the narrow one, and the best known on ResNet-50.
TWINS += [
    f"{kind}-{trunk}"
    for kind in ("unet", "deeplabv3", "pspnet")
    for trunk in ("mobilenetv2", "resnet18", "resnet50", "efficientnetlite1", "efficientnetlite2")
    if trunk != "resnet50" or kind == "unet"
]
DISTINCT = [n for n in NETS if (n not in RELEASED or n in OF_PARTS) and n not in TWINS]
SEGMENTERS = [name for name in DISTINCT if NETS[name].task == "segmentation"]
CLASSIFIERS = [name for name, entry in NETS.items() if entry.task == "classification"]
# Valid convolutions: the shortest pictures of which anything is left.
LEAST = {"unet": 188, "deconvnet-vgg16": 193}


def width(name: str) -> float:
    """Narrow enough to be quick, wide enough that no net is dead under random weights."""
    return 1 / 4 if "tiny" in name or "mobilenet" in name else 1 / 16


def large(name: str, *sides: int) -> tuple[int, ...]:
    """Sides of a picture, longer by what a net without padding takes from them."""
    return tuple(side + LEAST.get(name, 1) - 1 for side in sides)


def few(name: str) -> dict[str, Any]:
    """Five classes, or as few of two heads together."""
    return {"heads": {"sem": 3, "geo": 2}} if "siftflow" in name else {"classes": 5}


@cache
def narrow(name: str) -> Network:
    """With random weights everywhere, in evaluation mode."""
    return shaken(build(name, width=width(name), **few(name)))


def picture(name: str, n: int, *size: int) -> Tensor:
    """(N, B, H, W), of all inputs."""
    bands = sum(narrow(name).net.inputs.values())
    return torch.randn(n, bands, *size, generator=torch.Generator().manual_seed(1))


def scores(network: Network, x: Tensor) -> Tensor:
    """Those of all heads, one behind the other."""
    made = network(x)
    return made if isinstance(made, Tensor) else torch.cat([*made.values()], dim=1)


def make_positive(network: Network) -> None:
    """Every convolution a mean, every normalisation the identity: nothing dies or is cut off."""
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(1 / p[0].numel() if p.dim() > 1 else 0)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.fill_(1)
