"""A net for spectra: every pixel with its nearest neighbours, nothing smaller than a pixel lost."""

from __future__ import annotations

from collections.abc import Sequence

from pixelwise.nets.heads.scored import scorer
from pixelwise.nets.layers import Conv
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, scaled

WIDTH, DEPTH = 64, 4  # a field of 9 pixels: windows of patch-wise nets are usually 9x9 to 13x13


def spectral(net: Net, width: float, geometry: Geometry) -> Sequence[Conv]:
    """Bands are mixed pixel by pixel (Lee and Kwon 2017), then come 3x3; nothing is pooled."""
    del geometry  # it has one
    x, c = net.input, scaled(WIDTH, width)
    for i in range(1, DEPTH + 2):
        kernel = 3 if i > 1 else 1
        x = net.conv(f"conv{i}", x, c, kernel, pad=kernel // 2, bn=f"bn{i}", relu=f"relu{i}")
    return [scorer(net, "score_fr", x)]
