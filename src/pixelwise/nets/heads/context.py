"""DeepLab and PSPNet: an atrous trunk, and a head that sees far around each of its cells.

DeepLab looks through filters with holes, of one rate (v1, LargeFOV) or of several side by side
(v2, v3: atrous spatial pyramid pooling); v3 and PSPNet add means over the whole picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from pixelwise.nets.heads.scored import features, scorer
from pixelwise.nets.joining import Concat
from pixelwise.nets.layers import Conv, Dropout
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import GlobalAvgPool, Resize
from pixelwise.nets.trunks.trunk import Geometry, Trunk, TrunkFunction, scaled
from pixelwise.nets.trunks.vgg16 import BLOCKS, blocks

LARGE_FOV = (12,)  # DeepLab v1, table 2: fc6 of 3x3 at rate 12 sees as much as VGG16's 7x7 at 4
ASPP = (6, 12, 18, 24)  # v2, section 4.1: DeepLab-ASPP-L, for cells 8 px apart
RATES = {8: (12, 24, 36), 16: (6, 12, 18)}  # v3, section 3.3: doubled for cells half as far apart
BINS = (1, 2, 3, 6)  # PSPNet, section 3.2


def vgg16_conv(net: Net, width: float, geometry: Geometry) -> Trunk:
    """VGG16's convolutions with the pools of DeepLab's release, 3x3: 321 px give 41 cells."""
    del geometry
    pools = blocks(net, BLOCKS, width, pool=(3, 1))
    return Trunk(pools[32].layer, pools, tight=True)


def deeplab_vgg16(
    net: Net, width: float, geometry: Geometry, *, rates: Sequence[int] = LARGE_FOV
) -> list[Conv]:
    """DeepLab v1 and v2 on VGG16: fc6 and fc7 of 1024 filters, once for each rate."""
    del geometry
    x, scorers = features(net, vgg16_conv, width, 8).top, []
    for i, rate in enumerate(rates, 1):
        end, c = f"_{i}" if len(rates) > 1 else "", scaled(1024, width)
        y = net.conv(f"fc6{end}", x, c, 3, pad=rate, dilation=rate, relu=f"relu6{end}")
        y = net.add(Dropout(f"drop6{end}", (y,)))
        y = net.conv(f"fc7{end}", y, c, relu=f"relu7{end}")
        y = net.add(Dropout(f"drop7{end}", (y,)))
        scorers.append(scorer(net, f"score_fc8{end}", y))
    return scorers


def deeplabv2_on(trunk_of: TrunkFunction, net: Net, width: float, geometry: Geometry) -> list[Conv]:
    """DeepLab v2 on a residual net: four atrous scoring layers, summed."""
    del geometry
    top = features(net, trunk_of, width, 8).top
    return [scorer(net, f"score_c{i}", top, 3, rate) for i, rate in enumerate(ASPP)]


def deeplabv3_on(
    trunk_of: TrunkFunction,
    net: Net,
    width: float,
    geometry: Geometry,
    *,
    stride: int,
) -> list[Conv]:
    """DeepLab v3: filters of four rates and the picture's mean, joined (arXiv v3, figure 5)."""
    del geometry
    x, c = features(net, trunk_of, width, stride).top, scaled(256, width)
    conv = partial(_conv, net)
    parts = [conv("aspp0", x, c)]
    parts += [conv(f"aspp{i}", x, c, 3, rate) for i, rate in enumerate(RATES[stride], 1)]
    parts.append(_pooled(net, "image_pool", x, 1, c))
    y = conv("aspp_project", net.add(Concat("aspp", tuple(parts))), c)
    y = conv("aspp_last", net.add(Dropout("aspp_drop", (y,))), c, 3)
    return [scorer(net, "score_aspp", y)]


def pspnet_on(
    trunk_of: TrunkFunction,
    net: Net,
    width: float,
    geometry: Geometry,
    *,
    stride: int,
) -> list[Conv]:
    """PSPNet: the last map beside its means over 1, 4, 9 and 36 parts of the picture."""
    del geometry
    x = features(net, trunk_of, width, stride).top
    c = max(1, net.channels[x] // len(BINS))
    parts = [x, *(_pooled(net, f"psp{bins}", x, bins, c) for bins in BINS)]
    y = _conv(net, "psp_last", net.add(Concat("psp", tuple(parts))), scaled(512, width), 3)
    return [scorer(net, "score_psp", net.add(Dropout("psp_drop", (y,), 0.1)))]


def _conv(net: Net, at: str, src: str, width: int, kernel: int = 1, rate: int = 1) -> str:
    pad = rate * (kernel // 2)
    bn, relu = f"{at}/bn", f"{at}/relu"
    return net.conv(at, src, width, kernel, pad=pad, dilation=rate, bn=bn, relu=relu)


def _pooled(net: Net, at: str, src: str, bins: int, width: int) -> str:
    """Means over bins x bins parts of a map, 1x1 filtered, at the map's size again."""
    means = net.add(GlobalAvgPool(f"{at}/means", (src,), bins))
    return net.add(Resize(f"{at}/resized", (_conv(net, at, means, width), src)))
