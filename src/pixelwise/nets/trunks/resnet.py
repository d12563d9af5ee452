"""ResNet-18 and ResNet-50 with the layer names of MSRA's Caffe release, torchvision's arithmetic.

torchvision's variant puts the stride of a bottleneck on its 3x3 convolution ("v1.5"); its weights
are what people have, so that is what is built. Pools round down, the grid has no shift.
"""

from __future__ import annotations

from functools import partial

from pixelwise.nets.layers import Relu
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import GlobalAvgPool
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, TrunkFunction, scaled


def resnet(
    net: Net,
    width: float,
    geometry: Geometry,
    *,
    blocks: tuple[int, int, int, int],
    bottleneck: bool,
) -> Trunk:
    """Up to the last block; skips are the ends of the four stages of ``blocks``."""
    x, stem = net.input, scaled(64, width)
    x = net.conv("conv1", x, stem, kernel=7, stride=2, pad=3, bn="bn_conv1", relu="conv1_relu")
    x = net.max_pool("pool1", x, 3, 2, 1, ceil=False)  # MSRA's rounded up
    ends: dict[int, Skip] = {}
    for stage, count in enumerate(blocks):
        channels = scaled(64 * 2**stage, width)
        for i in range(count):
            name = f"{stage + 2}{'abcdef'[i]}"
            stride = 2 if stage > 0 and i == 0 else 1
            x = block(net, name, x, channels, stride, bottleneck=bottleneck)
        ends[4 * 2**stage] = Skip(f"res{name}", x)
    if geometry == "published":
        x = net.add(GlobalAvgPool("pool5", (x,)))
    return Trunk(x, ends, tight=True)


def block(net: Net, name: str, src: str, width: int, stride: int, *, bottleneck: bool) -> str:
    """One residual block ``res<name>``; a projection is used where the shape changes."""

    def conv(branch: str, src: str, width: int, kernel: int, stride: int, relu: str = "") -> str:
        name, bn, pad = f"res{branch}", f"bn{branch}", kernel // 2
        return net.conv(name, src, width, kernel=kernel, stride=stride, pad=pad, bn=bn, relu=relu)

    out = 4 * width if bottleneck else width
    shortcut = src
    if stride != 1 or net.channels[src] != out:
        shortcut = conv(f"{name}_branch1", src, out, 1, stride)
    at = f"{name}_branch2"
    if bottleneck:
        x = conv(f"{at}a", src, width, 1, 1, f"res{at}a_relu")
        x = conv(f"{at}b", x, width, 3, stride, f"res{at}b_relu")
        x = conv(f"{at}c", x, out, 1, 1)
    else:
        x = conv(f"{at}a", src, width, 3, stride, f"res{at}a_relu")
        x = conv(f"{at}b", x, out, 3, 1)
    x = net.sum(f"res{name}", shortcut, x)
    return net.add(Relu(f"res{name}_relu", (x,)))


resnet18: TrunkFunction = partial(resnet, blocks=(2, 2, 2, 2), bottleneck=False)
resnet50: TrunkFunction = partial(resnet, blocks=(3, 4, 6, 3), bottleneck=True)
