"""VGG16 as in the FCN release: 13 convolutions, five 2x2 pools rounded up, fc6 7x7, fc7 1x1."""

from __future__ import annotations

from pixelwise.nets.layers import Dropout
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# Caffe: pad 100 on conv1_1 and none on fc6 (voc-fcn32s/net.py). Tight: 4 is congruent to 100 modulo
# 32, so the grid is the same, and fc6's pad 3 puts the three dropped cells back.
PADS: dict[Geometry, tuple[int, int]] = {"caffe": (100, 0), "tight": (4, 3), "published": (1, 0)}


def vgg16(net: Net, width: float = 1.0, geometry: Geometry = "caffe") -> Trunk:
    """Up to ``drop7``; skips are the pools, as in the paper (fact sheet 1.2)."""
    first_pad, fc6_pad = PADS[geometry]
    x, pools = net.input, {}
    for i, block in enumerate(BLOCKS, 1):
        for j, channels in enumerate(block, 1):
            pad = first_pad if (i, j) == (1, 1) else 1
            c = scaled(channels, width)
            x = net.conv(f"conv{i}_{j}", x, c, kernel=3, pad=pad, relu=f"relu{i}_{j}")
        x = net.max_pool(f"pool{i}", x)
        pools[2**i] = Skip(f"pool{i}", x)
    x = net.conv("fc6", x, scaled(4096, width), kernel=7, pad=fc6_pad, relu="relu6")
    x = net.add(Dropout("drop6", (x,)))
    x = net.conv("fc7", x, scaled(4096, width), relu="relu7")
    x = net.add(Dropout("drop7", (x,)))
    return Trunk(x, pools, geometry == "tight")
