"""What a trunk hands to the heads, and how widths are scaled for narrow copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pixelwise.nets.net import Net

# caffe: as released (pad 100, bit-faithful); tight: the same grid without the wasted border;
# published: the classifier's own pads, and its average pool where it has one.
Geometry = Literal["caffe", "tight", "published"]


class Skip(NamedTuple):
    """A finer layer that can be scored: the name its score carries, and the layer's full name."""

    label: str
    layer: str


@dataclass(frozen=True)
class Trunk:
    """The last feature layer (stride 32), the skips by stride, and the rim of the upsampling."""

    top: str
    skips: Mapping[int, Skip]
    tight: bool


# A trunk writes itself into a net that has a "data" layer: (net, width, geometry) -> Trunk.
TrunkFunction = Callable[[Net, float, Geometry], Trunk]


def scaled(channels: int, width: float) -> int:
    """``channels * width``, even (AlexNet's two groups) and at least 2."""
    return channels if width == 1 else 2 * max(1, round(channels * width / 2))
