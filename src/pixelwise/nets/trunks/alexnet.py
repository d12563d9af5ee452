"""AlexNet in Caffe's order (CaffeNet: pool before normalisation), fc6 6x6, fc7 1x1."""

from __future__ import annotations

from pixelwise.nets.layers import Dropout, Lrn, Softmax
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

# (conv1, pool1, pool2, pool5, fc6). Caffe: voc-fcn-alexnet/train.prototxt. Tight: these pads, too,
# shift the grid by 8 + 4*1 + 8*1 + 16*1 + 32*2 = 100 px, and a picture of 1 px fills every map.
PADS: dict[Geometry, tuple[int, int, int, int, int]] = {
    "caffe": (100, 0, 0, 0, 0),
    "tight": (8, 1, 1, 1, 2),
    "published": (0, 0, 0, 0, 0),
}


def alexnet(net: Net, width: float = 1.0, geometry: Geometry = "caffe") -> Trunk:
    """Up to ``drop7``; skips, which no paper has here, from conv5, conv2 and conv1."""
    pad1, pool1, pool2, pool5, pad6 = PADS[geometry]

    def c(channels: int) -> int:
        return scaled(channels, width)

    x = net.conv_relu("conv1", net.input, c(96), relu="relu1", kernel=11, stride=4, pad=pad1)
    x = net.max_pool("pool1", x, 3, 2, pool1)
    x = net.add(Lrn("norm1", (x,)))
    x = net.conv_relu("conv2", x, c(256), relu="relu2", kernel=5, pad=2, groups=2)
    x = net.max_pool("pool2", x, 3, 2, pool2)
    x = net.add(Lrn("norm2", (x,)))
    x = net.conv_relu("conv3", x, c(384), relu="relu3")
    x = net.conv_relu("conv4", x, c(384), relu="relu4", groups=2)
    x = net.conv_relu("conv5", x, c(256), relu="relu5", groups=2)
    x = net.max_pool("pool5", x, 3, 2, pool5)
    x = net.conv_relu("fc6", x, c(4096), relu="relu6", kernel=6, pad=pad6)
    x = net.add(Dropout("drop6", (x,)))
    x = net.conv_relu("fc7", x, c(4096), relu="relu7", kernel=1, pad=0)
    x = net.add(Dropout("drop7", (x,)))
    layers = {16: "5", 8: "2", 4: "1"}
    skips = {stride: Skip(f"conv{n}", net.scoped(f"relu{n}")) for stride, n in layers.items()}
    return Trunk(x, skips, geometry == "tight")


def alexnet_classifier(net: Net, classes: int, width: float = 1.0) -> str:
    """The published classifier, its fully connected layers as convolutions."""
    net.top = net.conv("fc8", alexnet(net, width, "published").top, classes)
    return net.add(Softmax("prob", (net.top,)))
