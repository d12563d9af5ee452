"""VGG16 as in the FCN release: 13 convolutions, five 2x2 pools rounded up, fc6 7x7, fc7 1x1."""

from __future__ import annotations

from pixelwise.nets.layers import Dropout, Softmax
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# Caffe: pad 100 on conv1_1 and none on fc6 (voc-fcn32s/net.py). Tight: 4 is congruent to 100 modulo
# 32, so the grid is the same, and fc6's pad 3 puts the three dropped cells back.
PADS: dict[Geometry, tuple[int, int]] = {"caffe": (100, 0), "tight": (4, 3), "published": (1, 0)}


def vgg16(net: Net, width: float = 1.0, geometry: Geometry = "caffe") -> Trunk:
    """Up to ``drop7``; skips are the pools, as in the paper (fact sheet 1.2)."""
    first_pad, fc6_pad = PADS[geometry]
    x = net.input
    for i, block in enumerate(BLOCKS, 1):
        for j, channels in enumerate(block, 1):
            pad = first_pad if (i, j) == (1, 1) else 1
            name, relu = f"conv{i}_{j}", f"relu{i}_{j}"
            x = net.conv_relu(name, x, scaled(channels, width), relu=relu, pad=pad)
        x = net.max_pool(f"pool{i}", x)
    wide = scaled(4096, width)
    x = net.conv_relu("fc6", x, wide, relu="relu6", kernel=7, pad=fc6_pad)
    x = net.add(Dropout("drop6", (x,)))
    x = net.conv_relu("fc7", x, wide, relu="relu7", kernel=1, pad=0)
    x = net.add(Dropout("drop7", (x,)))
    pools = {2**i: Skip(f"pool{i}", net.scoped(f"pool{i}")) for i in (4, 3, 2)}
    return Trunk(x, pools, geometry == "tight")


def vgg16_classifier(net: Net, classes: int, width: float = 1.0) -> str:
    """The published classifier, its fully connected layers as convolutions."""
    net.top = net.conv("fc8", vgg16(net, width, "published").top, classes)
    return net.add(Softmax("prob", (net.top,)))
