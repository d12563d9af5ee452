"""A narrow batch-normalised trunk that learns from scratch in minutes: the demo's."""

from __future__ import annotations

from pixelwise.nets.layers import BatchNorm, Relu
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

# channels of the two 3x3 convolutions before each pool (our own choice: about 0.5 M parameters)
BLOCKS = ((16, 16), (24, 24), (32, 32), (64, 64), (96, 96))


def tiny(net: Net, width: float = 1.0, geometry: Geometry = "tight") -> Trunk:
    """VGG's pattern, five blocks and a 3x3 ``fc6``; every size from 1x1 works."""
    del geometry  # it has only the tight one
    x = net.input
    for i, block in enumerate(BLOCKS, 1):
        for j, channels in enumerate(block, 1):
            x = _conv_bn_relu(net, f"{i}_{j}", x, scaled(channels, width))
        x = net.max_pool(f"pool{i}", x)
    x = _conv_bn_relu(net, "6", x, scaled(128, width))
    pools = {2**i: Skip(f"pool{i}", net.scoped(f"pool{i}")) for i in (4, 3, 2)}
    return Trunk(x, pools, tight=True)


def _conv_bn_relu(net: Net, suffix: str, src: str, width: int) -> str:
    name = f"conv{suffix}" if "_" in suffix else f"fc{suffix}"
    x = net.conv(name, src, width, kernel=3, pad=1, bias=False)
    x = net.add(BatchNorm(f"bn{suffix}", (x,)))
    return net.add(Relu(f"relu{suffix}", (x,)))
