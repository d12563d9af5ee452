"""A narrow batch-normalised trunk that learns from scratch in minutes: the demo's."""

from __future__ import annotations

from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

# channels of the two 3x3 convolutions before each pool (our own choice: about 0.5 M parameters)
BLOCKS = ((16, 16), (24, 24), (32, 32), (64, 64), (96, 96))


def tiny(net: Net, width: float = 1.0, geometry: Geometry = "tight") -> Trunk:
    """VGG's pattern, five blocks and a 3x3 ``fc6``; every size from 1x1 works."""
    del geometry  # it has only the tight one

    def conv(name: str, suffix: str, src: str, channels: int) -> str:
        c, bn, relu = scaled(channels, width), f"bn{suffix}", f"relu{suffix}"
        return net.conv(name, src, c, kernel=3, pad=1, bn=bn, relu=relu)

    x, pools = net.input, {}
    for i, block in enumerate(BLOCKS, 1):
        for j, channels in enumerate(block, 1):
            x = conv(f"conv{i}_{j}", f"{i}_{j}", x, channels)
        x = net.max_pool(f"pool{i}", x)
        pools[2**i] = Skip(f"pool{i}", x)
    return Trunk(conv("fc6", "6", x, 128), pools, tight=True)
