"""AlexNet in Caffe's order (CaffeNet: pool before normalisation), fc6 6x6, fc7 1x1."""

from __future__ import annotations

from pixelwise.nets.layers import Dropout, Lrn
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

# (conv1, pool1, pool2, pool5, fc6). Caffe: voc-fcn-alexnet/train.prototxt. Tight: these pads, too,
# shift the grid by 8 + 4*1 + 8*1 + 16*1 + 32*2 = 100 px, and a picture of 1 px fills every map.
PADS: dict[Geometry, tuple[int, int, int, int, int]] = {
    "caffe": (100, 0, 0, 0, 0),
    "tight": (8, 1, 1, 1, 2),
    "published": (0, 0, 0, 0, 0),
}


def alexnet(net: Net, width: float, geometry: Geometry) -> Trunk:
    """Up to ``drop7``; skips, which no paper has here, from conv5, conv2 and conv1."""
    pad1, pool1, pool2, pool5, pad6 = PADS[geometry]

    def c(channels: int) -> int:
        return scaled(channels, width)

    conv1 = net.conv("conv1", net.input, c(96), kernel=11, stride=4, pad=pad1, relu="relu1")
    x = net.max_pool("pool1", conv1, 3, 2, pool1)
    x = net.add(Lrn("norm1", (x,)))
    conv2 = net.conv("conv2", x, c(256), kernel=5, pad=2, groups=2, relu="relu2")
    x = net.max_pool("pool2", conv2, 3, 2, pool2)
    x = net.add(Lrn("norm2", (x,)))
    x = net.conv("conv3", x, c(384), kernel=3, pad=1, relu="relu3")
    x = net.conv("conv4", x, c(384), kernel=3, pad=1, groups=2, relu="relu4")
    conv5 = net.conv("conv5", x, c(256), kernel=3, pad=1, groups=2, relu="relu5")
    x = net.max_pool("pool5", conv5, 3, 2, pool5)
    x = net.conv("fc6", x, c(4096), kernel=6, pad=pad6, relu="relu6")
    x = net.add(Dropout("drop6", (x,)))
    x = net.conv("fc7", x, c(4096), relu="relu7")
    x = net.add(Dropout("drop7", (x,)))
    skips = {16: Skip("conv5", conv5), 8: Skip("conv2", conv2), 4: Skip("conv1", conv1)}
    return Trunk(x, skips, geometry == "tight")
