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
from pixelwise.nets.trunks.mobilenet import inverted_residuals
from pixelwise.nets.trunks.trunk import Geometry, Trunk, TrunkFunction

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
DIVISOR = 8  # channels are rounded to multiples of it


def efficientnet_lite(
    net: Net,
    width: float,
    geometry: Geometry,
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

    def pad_of(kernel: int, step: int, stride: int) -> Pad:
        return same(kernel, step, -(side // -stride), more)  # SAME halves and rounds up

    stages = []
    for index, (kernel, expansion, out, repeats, step) in enumerate(STAGES):
        inner = 0 < index < len(STAGES) - 1
        count = math.ceil(repeats * depth) if inner else repeats
        stages.append((kernel, expansion, rounded(out * channels), count, step))
    # Of batch norm as in TensorFlow's code.
    return inverted_residuals(net, width, geometry, stages, pad_of, top="conv_head", eps=1e-3)


# Lite0, 1 and 2: channels, depth and the picture's side (efficientnet_lite_params).
EFFICIENTNET_LITE: tuple[TrunkFunction, ...] = tuple(
    partial(efficientnet_lite, channels=channels, depth=depth, side=side)
    for channels, depth, side in ((1.0, 1.0, 224), (1.0, 1.1, 240), (1.1, 1.2, 260))
)


def same(kernel: int, stride: int, length: int, more: int) -> Pad:
    """TensorFlow's SAME before a window on an axis: the odd cell goes behind, with ``more``."""
    total = max((-(length // -stride) - 1) * stride + kernel - length, 0)
    before, after = total // 2, total - total // 2
    return before if before == after else (before, after + more)


def rounded(channels: float) -> int:
    """To the nearest multiple of 8, not more than a tenth below."""
    nearest = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest + DIVISOR if nearest < 0.9 * channels else nearest
