"""SegNet and DeconvNet: VGG's blocks, and their mirror image on the way back.

Values go back where their maxima stood (Badrinarayanan et al. 2017, section 3; Noh et al. 2015,
section 3.2). SegNet leaves VGG's fully connected layers away, DeconvNet mirrors them too.
"""

from __future__ import annotations

from collections.abc import Sequence

from pixelwise.nets.heads.scored import scorer
from pixelwise.nets.layers import BatchNorm, Conv, Deconv, Dropout, Relu
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, scaled
from pixelwise.nets.trunks.vgg16 import BLOCKS, blocks

Blocks = Sequence[Sequence[int]]


def segnet(net: Net, width: float, geometry: Geometry, *, widths: Blocks = BLOCKS) -> list[Conv]:
    """SegNet, with the layer names of its release but for the last, which gives the scores."""
    del geometry
    pools = blocks(net, widths, width, norm=True, indices=True)
    x = pools[2 ** len(widths)].layer
    for i in range(len(widths), 0, -1):
        x = net.unpool(f"upsample{i}", x, pools[2**i].layer)
        for j in range(len(widths[i - 1]), 0, -1):
            if (i, j) == (1, 1):
                break
            at, c = f"{i}_{j}_D", scaled(_below(widths, i, j), width)
            x = net.conv(f"conv{at}", x, c, 3, pad=1, bn=f"bn{at}", relu=f"relu{at}")
    return [scorer(net, "score", x, kernel=3)]


def deconvnet(net: Net, width: float, geometry: Geometry) -> list[Conv]:
    """DeconvNet as released: fc6 without padding, which asks for pictures of 193 px or more."""
    del geometry

    def deconv(name: str, bn: str, src: str, channels: int, kernel: int = 3, pad: int = 1) -> str:
        x = net.add(Deconv(name, (src,), scaled(channels, width), kernel, 1, pad, bias=False))
        return net.add(Relu(f"relu_{name}", (net.add(BatchNorm(bn, (x,))),)))

    pools = blocks(net, BLOCKS, width, norm=True, indices=True)
    x = pools[32].layer
    for at, kernel in (("6", 7), ("7", 1)):
        x = net.conv(f"fc{at}", x, scaled(4096, width), kernel, bn=f"bnfc{at}", relu=f"relu{at}")
        x = net.add(Dropout(f"drop{at}", (x,)))
    x = deconv("fc6-deconv", "fc6-deconv-bn", x, 512, 7, 0)
    for i in range(5, 0, -1):
        x = net.unpool(f"unpool{i}", x, pools[2**i].layer)
        for part, j in enumerate(range(len(BLOCKS[i - 1]), 0, -1), 1):
            at, last = f"{i}_{part}", (i, j) == (1, 1)
            x = deconv(f"deconv{at}", f"debn{at}", x, 64 if last else _below(BLOCKS, i, j))
    return [scorer(net, "score", x)]


def _below(widths: Blocks, block: int, place: int) -> int:
    """Channels that the layer of a place reads on the way down, and its mirror image gives."""
    return widths[block - 1][place - 2] if place > 1 else widths[block - 2][-1]
