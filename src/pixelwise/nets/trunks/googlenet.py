"""GoogLeNet with the layer names of BVLC's model (models/bvlc_googlenet), main branch only."""

from __future__ import annotations

from pixelwise.nets.joining import Concat
from pixelwise.nets.layers import Dropout, Lrn, Softmax
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
# (conv1, every 3x3/2 pool). Caffe: pad 100 on the first layer, as in the other nets. Tight: 6 on
# conv1 and 1 on the four pools shift the grid by 6 + 2 + 4 + 8 + 16 = 36 px, congruent to 100
# modulo 32.
PADS: dict[Geometry, tuple[int, int]] = {"caffe": (100, 0), "tight": (6, 1), "published": (3, 0)}


def inception(net: Net, name: str, src: str, width: float) -> str:
    """Four branches side by side, one after the other in the channels."""
    one, reduce3, three, reduce5, five, projection = (scaled(c, width) for c in MODULES[name])
    at = f"inception_{name}"

    def branch(layer: str, source: str, channels: int, kernel: int) -> str:
        relu = f"{at}/relu_{layer}"
        pad = kernel // 2
        return net.conv_relu(f"{at}/{layer}", source, channels, relu=relu, kernel=kernel, pad=pad)

    a = branch("1x1", src, one, 1)
    b = branch("3x3", branch("3x3_reduce", src, reduce3, 1), three, 3)
    c = branch("5x5", branch("5x5_reduce", src, reduce5, 1), five, 5)
    d = branch("pool_proj", net.max_pool(f"{at}/pool", src, 3, 1, 1), projection, 1)
    return net.add(Concat(f"{at}/output", (a, b, c, d)))


def features(net: Net, width: float, first_pad: int, pool_pad: int) -> str:
    """Stem and nine inception modules, up to ``inception_5b/output``."""
    x = net.conv_relu(
        "conv1/7x7_s2",
        net.input,
        scaled(64, width),
        relu="conv1/relu_7x7",
        kernel=7,
        stride=2,
        pad=first_pad,
    )
    x = net.max_pool("pool1/3x3_s2", x, 3, 2, pool_pad)
    x = net.add(Lrn("pool1/norm1", (x,)))
    x = net.conv_relu(
        "conv2/3x3_reduce", x, scaled(64, width), relu="conv2/relu_3x3_reduce", kernel=1, pad=0
    )
    x = net.conv_relu("conv2/3x3", x, scaled(192, width), relu="conv2/relu_3x3")
    x = net.add(Lrn("conv2/norm2", (x,)))
    x = net.max_pool("pool2/3x3_s2", x, 3, 2, pool_pad)
    for name in MODULES:
        x = inception(net, name, x, width)
        if name in ("3b", "4e"):
            x = net.max_pool(f"pool{name[0]}/3x3_s2", x, 3, 2, pool_pad)
    return x


def googlenet(net: Net, width: float = 1.0, geometry: Geometry = "caffe") -> Trunk:
    """Up to the dropout before the classifier; the average pool is discarded (paper, 4.1)."""
    x = features(net, width, *PADS[geometry])
    x = net.add(Dropout("pool5/drop_7x7_s1", (x,), 0.4))
    skips = {
        16: Skip("inception_4e", net.scoped("inception_4e/output")),
        8: Skip("inception_3b", net.scoped("inception_3b/output")),
        4: Skip("conv2", net.scoped("conv2/norm2")),
    }
    return Trunk(x, skips, geometry == "tight")


def googlenet_classifier(net: Net, classes: int, width: float = 1.0) -> str:
    """The published classifier made convolutional: 7x7 average pool at stride 1, 1x1 classifier."""
    x = features(net, width, *PADS["published"])
    x = net.add(AvgPool("pool5/7x7_s1", (x,), 7, 1))
    x = net.add(Dropout("pool5/drop_7x7_s1", (x,), 0.4))
    net.top = net.conv("loss3/classifier", x, classes)
    return net.add(Softmax("prob", (net.top,)))
