"""EfficientNet-Lite 0 to 2 (Tan and Le 2019; lite/efficientnet_lite_builder.py, 2020).

MobileNetV2's blocks without squeeze and excitation. Depth and channels grow from one to the next,
the stem and the head do not. The weights were trained with TensorFlow's SAME padding, which is
uneven before a stride of 2 on an even length; the pads here are those of the training's own picture
size, as in the published PyTorch conversion, and hold for every size. The tight geometry adds one
cell more behind where a pad is uneven: even lengths give the same map, odd ones a last cell that
would be lost, down to pictures of one pixel.
"""

from __future__ import annotations

import math
from functools import partial

from pixelwise.geometry import Pad
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import GlobalAvgPool
from pixelwise.nets.trunks.mobilenet import conv_bn, inverted_residual, relu6
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, scaled

# kernel, expansion, channels, repeats, stride of the first repeat
STAGES = (
    (3, 1, 16, 1, 1),
    (3, 6, 24, 2, 2),
    (5, 6, 40, 2, 2),
    (3, 6, 80, 3, 2),
    (5, 6, 112, 3, 1),
    (5, 6, 192, 4, 2),
    (3, 6, 320, 1, 1),
)
EPS = 1e-3  # of batch norm, as in TensorFlow's code
DIVISOR = 8  # channels are rounded to multiples of it


def efficientnet_lite(
    net: Net,
    width: float = 1.0,
    geometry: Geometry = "tight",
    *,
    channels: float,
    depth: float,
    side: int,
) -> Trunk:
    """Up to the 1280-channel features; skips are the last blocks of their strides.

    ``channels`` and ``depth`` are the factors on the stages between stem and head, ``side`` is the
    length of the pictures that the weights were trained on.
    """
    more = int(geometry == "tight")
    pad, side = same(3, 2, side, more), halved(side)
    x = conv_bn(net, "conv1", net.input, scaled(32, width), kernel=3, stride=2, pad=pad, eps=EPS)
    x = relu6(net, "conv1", x)
    number, stride, last = 0, 2, {}
    for index, (kernel, expansion, out, repeats, first_stride) in enumerate(STAGES):
        ends = index in (0, len(STAGES) - 1)
        for i in range(repeats if ends else math.ceil(repeats * depth)):
            number += 1
            name, step = f"block{number}", first_stride if i == 0 else 1
            pad, side = same(kernel, step, side, more), halved(side) if step == 2 else side
            stride *= step
            x = inverted_residual(
                net,
                name,
                x,
                scaled(rounded(out * channels), width),
                expansion,
                step,
                kernel=kernel,
                pad=pad,
                eps=EPS,
            )
            last[stride] = Skip(name, x)
    x = relu6(net, "conv_head", conv_bn(net, "conv_head", x, scaled(1280, width), eps=EPS))
    if geometry == "published":
        x = net.add(GlobalAvgPool("pool", (x,)))
    return Trunk(x, last, tight=True)


# Factors on channels and depth, and the picture's side (efficientnet_lite_params).
efficientnetlite0 = partial(efficientnet_lite, channels=1.0, depth=1.0, side=224)
efficientnetlite1 = partial(efficientnet_lite, channels=1.0, depth=1.1, side=240)
efficientnetlite2 = partial(efficientnet_lite, channels=1.1, depth=1.2, side=260)


def same(kernel: int, stride: int, length: int, more: int = 0) -> Pad:
    """TensorFlow's SAME before a window on an axis: the odd cell goes behind, with ``more``."""
    total = max((-(length // -stride) - 1) * stride + kernel - length, 0)
    before, after = total // 2, total - total // 2
    return before if before == after else (before, after + more)


def halved(length: int) -> int:
    """Output length of SAME with a stride of 2."""
    return -(length // -2)


def rounded(channels: float) -> int:
    """To the nearest multiple of 8, not more than a tenth below."""
    nearest = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest + DIVISOR if nearest < 0.9 * channels else nearest
