"""VGG16 as in the FCN release: 13 convolutions, five 2x2 pools rounded up, fc6 7x7, fc7 1x1."""

from __future__ import annotations

from collections.abc import Iterable

from pixelwise.nets.layers import Dropout
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# Caffe: pad 100 on conv1_1 and none on fc6 (voc-fcn32s/net.py). Tight: 4 is congruent to 100 modulo
# 32, so the grid is the same, and fc6's pad 3 puts the three dropped cells back.
PADS: dict[Geometry, tuple[int, int]] = {"caffe": (100, 0), "tight": (4, 3), "published": (1, 0)}


def vgg16(net: Net, width: float, geometry: Geometry) -> Trunk:
    """Up to ``drop7``; skips are the pools, as in the paper (fact sheet 1.2)."""
    first_pad, fc6_pad = PADS[geometry]
    pools = blocks(net, BLOCKS, width, first_pad=first_pad)
    x = net.conv("fc6", pools[32].layer, scaled(4096, width), 7, pad=fc6_pad, relu="relu6")
    x = net.add(Dropout("drop6", (x,)))
    x = net.conv("fc7", x, scaled(4096, width), relu="relu7")
    x = net.add(Dropout("drop7", (x,)))
    return Trunk(x, pools, geometry == "tight")


def vgg16_to_pool5(net: Net, width: float, geometry: Geometry) -> Trunk:
    """Without fc6 and fc7 (PAMI scores each pool by itself)."""
    pools = blocks(net, BLOCKS, width, first_pad=PADS[geometry][0])
    return Trunk(pools[32].layer, pools, geometry == "tight")


def blocks(
    net: Net,
    widths: Iterable[Iterable[int]],
    width: float,
    *,
    first_pad: int = 1,
    norm: bool = False,
    pool: tuple[int, int] = (2, 0),
    indices: bool = False,
) -> dict[int, Skip]:
    """3x3 convolutions, of each block the channels, and a pool of stride 2 behind it; the pools.

    With ``norm`` batch normalisations. ``pool`` is a pool's kernel and pad; padded it rounds down,
    so that rarefied it has no cells behind the picture.
    """
    x, pools = net.input, {}
    for i, block in enumerate(widths, 1):
        for j, channels in enumerate(block, 1):
            at, pad = f"{i}_{j}", first_pad if (i, j) == (1, 1) else 1
            bn, relu = f"bn{at}" if norm else "", f"relu{at}"
            x = net.conv(f"conv{at}", x, scaled(channels, width), 3, pad=pad, bn=bn, relu=relu)
        window = (pool[0], 2, pool[1])
        x = net.max_pool(f"pool{i}", x, *window, ceil=not pool[1], indices=indices)
        pools[2**i] = Skip(f"pool{i}", x)
    return pools
