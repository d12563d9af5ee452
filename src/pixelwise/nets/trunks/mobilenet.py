"""MobileNetV2 (Sandler et al. 2018, table 2), with our own names and torchvision's arithmetic."""

from __future__ import annotations

from pixelwise.geometry import Pad
from pixelwise.nets.layers import BatchNorm, Relu
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import GlobalAvgPool
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

# expansion, channels, repeats, stride of the first repeat
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenetv2(net: Net, width: float = 1.0, geometry: Geometry = "tight") -> Trunk:
    """Up to the 1280-channel features; skips are the last blocks of their strides."""
    x = conv_bn(net, "conv1", net.input, scaled(32, width), kernel=3, stride=2, pad=1)
    x = relu6(net, "conv1", x)
    number, stride, last = 0, 2, {}
    for expansion, channels, repeats, first_stride in STAGES:
        for i in range(repeats):
            number += 1
            name, step = f"block{number}", first_stride if i == 0 else 1
            stride *= step
            x = inverted_residual(net, name, x, scaled(channels, width), expansion, step)
            last[stride] = Skip(name, x)
    x = relu6(net, "conv18", conv_bn(net, "conv18", x, scaled(1280, width)))
    if geometry == "published":
        x = net.add(GlobalAvgPool("pool", (x,)))
    return Trunk(x, last, tight=True)


def inverted_residual(
    net: Net,
    name: str,
    src: str,
    width: int,
    expansion: int,
    stride: int,
    *,
    kernel: int = 3,
    pad: Pad = 1,
    eps: float = 1e-5,
) -> str:
    """Expand 1x1, filter per channel, project 1x1 linearly; added to its input if alike."""
    x, hidden = src, net.channels[src] * expansion
    if expansion != 1:
        expand = f"{name}_expand"
        x = relu6(net, expand, conv_bn(net, expand, x, hidden, eps=eps))
    dwise, project = f"{name}_dwise", f"{name}_project"
    x = conv_bn(
        net, dwise, x, hidden, kernel=kernel, stride=stride, pad=pad, groups=hidden, eps=eps
    )
    x = conv_bn(net, project, relu6(net, dwise, x), width, eps=eps)
    return net.sum(name, src, x) if stride == 1 and net.channels[src] == width else x


def conv_bn(
    net: Net,
    name: str,
    src: str,
    width: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    pad: Pad = 0,
    groups: int = 1,
    eps: float = 1e-5,
) -> str:
    """A convolution and its batch normalisation ``<name>/bn``."""
    x = net.conv(name, src, width, kernel=kernel, stride=stride, pad=pad, groups=groups, bias=False)
    return net.add(BatchNorm(f"{name}/bn", (x,), eps))


def relu6(net: Net, name: str, src: str) -> str:
    """min(max(x, 0), 6)."""
    return net.add(Relu(f"{name}/relu", (src,), 6.0))
