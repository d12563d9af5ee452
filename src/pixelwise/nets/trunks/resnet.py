"""ResNet-18 and ResNet-50 with the layer names of MSRA's Caffe release, torchvision's arithmetic.

torchvision's variant puts the stride of a bottleneck on its 3x3 convolution ("v1.5"); its weights
are what people have, so that is what is built. Pools round down, the grid has no shift.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from pixelwise.nets.layers import BatchNorm, Relu, Softmax
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import GlobalAvgPool
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, TrunkFunction, scaled


@dataclass(frozen=True)
class Plan:
    """Blocks per stage, and whether a block is a bottleneck (1x1, 3x3, 1x1 at four-fold width)."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool


RESNET18 = Plan((2, 2, 2, 2), bottleneck=False)
RESNET50 = Plan((3, 4, 6, 3), bottleneck=True)


def conv_bn(
    net: Net, suffix: str, src: str, width: int, *, kernel: int = 1, stride: int = 1
) -> str:
    """``res<suffix>`` and its ``bn<suffix>``; the convolution has no bias of its own."""
    conv, bn = (f"res{suffix}", f"bn{suffix}") if suffix != "conv1" else ("conv1", "bn_conv1")
    x = net.conv(conv, src, width, kernel=kernel, stride=stride, pad=kernel // 2, bias=False)
    return net.add(BatchNorm(bn, (x,)))


def block(net: Net, name: str, src: str, width: int, stride: int, *, bottleneck: bool) -> str:
    """One residual block ``res<name>``; a projection is used where the shape changes."""
    out = width * (4 if bottleneck else 1)
    shortcut = src
    if stride != 1 or net.channels[src] != out:
        shortcut = conv_bn(net, f"{name}_branch1", src, out, stride=stride)
    steps: tuple[tuple[int, int, int], ...]
    if bottleneck:
        steps = ((width, 1, 1), (width, 3, stride), (out, 1, 1))
    else:
        steps = ((width, 3, stride), (out, 3, 1))
    x = src
    for letter, (channels, kernel, step) in zip("abc", steps, strict=False):
        branch = f"{name}_branch2{letter}"
        x = conv_bn(net, branch, x, channels, kernel=kernel, stride=step)
        if letter != "abc"[len(steps) - 1]:
            x = net.add(Relu(f"res{branch}_relu", (x,)))
    x = net.sum(f"res{name}", shortcut, x)
    return net.add(Relu(f"res{name}_relu", (x,)))


def features(net: Net, plan: Plan, width: float) -> tuple[str, dict[int, Skip]]:
    """Stem and four stages; returns the last layer and the stage ends by stride."""
    x = conv_bn(net, "conv1", net.input, scaled(64, width), kernel=7, stride=2)
    x = net.add(Relu("conv1_relu", (x,)))
    x = net.max_pool("pool1", x, 3, 2, 1, ceil=False)
    ends: dict[int, Skip] = {}
    for stage, count in enumerate(plan.blocks):
        channels = scaled(64 * 2**stage, width)
        for i in range(count):
            name = f"{stage + 2}{'abcdef'[i]}"
            stride = 2 if stage > 0 and i == 0 else 1
            x = block(net, name, x, channels, stride, bottleneck=plan.bottleneck)
        ends[4 * 2**stage] = Skip(f"res{name}", x)
    return x, ends


def resnet(net: Net, width: float = 1.0, geometry: Geometry = "tight", *, plan: Plan) -> Trunk:
    """Up to the last block; skips are the ends of the stages."""
    del geometry  # it has only the tight one
    x, ends = features(net, plan, width)
    return Trunk(x, {stride: ends[stride] for stride in (16, 8, 4)}, tight=True)


def resnet_classifier(net: Net, classes: int, width: float = 1.0, *, plan: Plan) -> str:
    """The ImageNet classifier, for reading its weights."""
    x, _ = features(net, plan, width)
    x = net.add(GlobalAvgPool("pool5", (x,)))
    net.top = net.conv("fc1000", x, classes)
    return net.add(Softmax("prob", (net.top,)))


resnet18: TrunkFunction = partial(resnet, plan=RESNET18)
resnet50: TrunkFunction = partial(resnet, plan=RESNET50)
