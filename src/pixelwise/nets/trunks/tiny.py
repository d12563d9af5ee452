"""A narrow batch-normalised trunk that learns from scratch in minutes: the demo's."""

from __future__ import annotations

from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Trunk, scaled
from pixelwise.nets.trunks.vgg16 import blocks

# channels of the two 3x3 convolutions before each pool (our own choice: about 0.5 M parameters)
BLOCKS = ((16, 16), (24, 24), (32, 32), (64, 64), (96, 96))


def tiny(net: Net, width: float, geometry: Geometry) -> Trunk:
    """VGG's pattern, five blocks and a 3x3 ``fc6``; every size from 1x1 works."""
    del geometry  # it has only the tight one
    pools = blocks(net, BLOCKS, width, norm=True)
    top = net.conv("fc6", pools[32].layer, scaled(128, width), 3, pad=1, bn="bn6", relu="relu6")
    return Trunk(top, pools, tight=True)
