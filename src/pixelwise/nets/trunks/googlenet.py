"""GoogLeNet with the layer names of BVLC's model (models/bvlc_googlenet), main branch only."""

from __future__ import annotations

from pixelwise.nets.joining import Concat
from pixelwise.nets.layers import Dropout, Lrn
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import AvgPool
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

# 1x1 | 3x3 reduce, 3x3 | 5x5 reduce, 5x5 | pool projection (fact sheet 1.7)
MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLED = {"3b": 8, "4e": 16}  # modules with a pool behind, and their strides
# (conv1, every 3x3/2 pool). Caffe: pad 100 on the first layer, as in the other nets. Tight: 6 on
# conv1 and 1 on the four pools shift the grid by 6 + 2 + 4 + 8 + 16 = 36 px, congruent to 100
# modulo 32.
PADS: dict[Geometry, tuple[int, int]] = {"caffe": (100, 0), "tight": (6, 1), "published": (3, 0)}


def googlenet(net: Net, width: float, geometry: Geometry) -> Trunk:
    """Up to the dropout before the classifier; the average pool is the classifier's alone.

    The text of the paper discards it (section 4.1), its table 1 counts it.
    """
    first_pad, pool_pad = PADS[geometry]
    skips = {}
    x, stem = net.input, scaled(64, width)
    x = net.conv("conv1/7x7_s2", x, stem, kernel=7, stride=2, pad=first_pad, relu="conv1/relu_7x7")
    x = net.max_pool("pool1/3x3_s2", x, 3, 2, pool_pad)
    x = net.add(Lrn("pool1/norm1", (x,)))
    x = conv(net, "conv2", "3x3_reduce", x, stem, 1)
    x = conv(net, "conv2", "3x3", x, scaled(192, width), 3)
    x = net.add(Lrn("conv2/norm2", (x,)))
    skips[4] = Skip("conv2", x)
    x = net.max_pool("pool2/3x3_s2", x, 3, 2, pool_pad)
    for name, channels in MODULES.items():
        x = inception(net, f"inception_{name}", x, [scaled(c, width) for c in channels])
        if stride := POOLED.get(name):
            skips[stride] = Skip(f"inception_{name}", x)
            x = net.max_pool(f"pool{name[0]}/3x3_s2", x, 3, 2, pool_pad)
    if geometry == "published":
        x = net.add(AvgPool("pool5/7x7_s1", (x,), 7, 1))
    x = net.add(Dropout("pool5/drop_7x7_s1", (x,), 0.4))
    return Trunk(x, skips, geometry == "tight")


def inception(net: Net, at: str, src: str, channels: list[int]) -> str:
    """Four branches side by side, one after the other in the channels."""
    one, reduce3, three, reduce5, five, projection = channels
    a = conv(net, at, "1x1", src, one, 1)
    b = conv(net, at, "3x3", conv(net, at, "3x3_reduce", src, reduce3, 1), three, 3)
    c = conv(net, at, "5x5", conv(net, at, "5x5_reduce", src, reduce5, 1), five, 5)
    d = conv(net, at, "pool_proj", net.max_pool(f"{at}/pool", src, 3, 1, 1), projection, 1)
    return net.add(Concat(f"{at}/output", (a, b, c, d)))


def conv(net: Net, at: str, layer: str, src: str, width: int, kernel: int) -> str:
    """``<at>/<layer>``, padded to keep the size, and ``<at>/relu_<layer>``."""
    relu = f"{at}/relu_{layer}"
    return net.conv(f"{at}/{layer}", src, width, kernel=kernel, pad=kernel // 2, relu=relu)
