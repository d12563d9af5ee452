"""U-Net (Ronneberger, Fischer and Brox 2015): what is lost on the way down is joined on the way up.

FCN adds scores of finer layers; U-Net joins their features, and learns what to make of both. As
published no convolution is padded, so that every output is seen whole, and a margin has none: 572
pixels give 388. ``unet_on`` is the same idea on a trunk with weights of its own.
"""

from __future__ import annotations

from pixelwise.nets.heads.fcn import aligned
from pixelwise.nets.heads.scored import features, scorer
from pixelwise.nets.joining import Concat
from pixelwise.nets.layers import Conv, Deconv, Dropout, Relu
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, TrunkFunction, scaled

WIDTHS = (64, 128, 256, 512, 1024)
RISING = {16: 256, 8: 128, 4: 64, 2: 32}
"""Channels by stride on the way up from a trunk, as in segmentation_models' U-Net."""


def unet(net: Net, width: float, geometry: Geometry, *, padded: bool = False) -> list[Conv]:
    """The net of the paper's figure 1, with the layer names of its release (phseg_v5.prototxt).

    ``padded`` is as it is mostly built since: every map keeps its size, with batch normalisation,
    and without the release's dropout and its ReLU behind deconvolutions.
    """
    del geometry

    def conv(name: str, after: str, src: str, channels: int) -> str:
        bn, pad = (f"bn_{after}", 1) if padded else ("", 0)
        return net.conv(f"conv_{name}", src, channels, 3, pad=pad, bn=bn, relu=f"relu_{after}")

    widths = [scaled(w, width) for w in WIDTHS]
    x, skips = net.input, []
    for i, channels in enumerate(widths):
        if i:
            # Rounded down, the map upwards is never longer than the one it is joined with.
            x = net.max_pool(f"pool_d{i - 1}c-{i}a", x, ceil=padded)
        x = conv(f"d{i}a-b", f"d{i}b", x, channels)
        x = conv(f"d{i}b-c", f"d{i}c", x, channels)
        if i >= 3 and not padded:
            x = net.add(Dropout(f"dropout_d{i}c", (x,)))
        skips.append(x)
    below = "d4c"
    for i in (3, 2, 1, 0):
        x = net.add(Deconv(f"upconv_{below}_u{i}a", (x,), widths[i]))
        if not padded:
            x = net.add(Relu(f"relu_u{i}a", (x,)))
        joined = _joined(net, x, skips[i], i, padded=padded)
        x = conv(f"u{i}b-c", f"u{i}c", joined, widths[i])
        x = conv(f"u{i}c-d", f"u{i}d", x, widths[i])
        below = f"u{i}d"
    return [scorer(net, "score", x)]


def _joined(net: Net, x: str, skip: str, level: int, *, padded: bool) -> str:
    """A map on the way up beside the one that it meets, of which the larger is cropped."""
    larger, other = (x, skip) if padded else (skip, x)
    cropped = net.crop(f"crop_d{level}c-d{level}cc", larger, like=other)
    pair = (cropped, skip) if padded else (x, cropped)
    return net.add(Concat(f"concat_d{level}cc_u{level}a-b", pair))


def unet_on(trunk_of: TrunkFunction, net: Net, width: float, geometry: Geometry) -> list[Conv]:
    """A trunk, and the way up from its last block through all of its skips."""
    del geometry
    trunk = features(net, trunk_of, width)
    x = trunk.top
    for stride, channels in RISING.items():
        if stride not in trunk.skips:
            break
        label, skip = trunk.skips[stride]
        x = net.upsample(f"up_{label}", x, 2, like=skip, edge="hold")
        x = net.add(Concat(f"join_{label}", aligned(net, x, skip)))
        for part in "ab":
            at, c = f"rise_{label}_{part}", scaled(channels, width)
            x = net.conv(at, x, c, 3, pad=1, bn=f"{at}/bn", relu=f"{at}/relu")
    return [scorer(net, "score_rise", x)]
