"""FCN heads on any trunk: 32s, 16s, 8s and 4s, staged or at once (paper, section 4.2, figure 3).

The top is scored at stride 32; then, as often as the net's stride asks for: upsample by two, score
the finer layer, crop the larger of the two maps to the frame of the smaller, add. The last
upsampling brings the picture's size back. Every offset is derived from the trunk's geometry.
"""

from __future__ import annotations

from typing import Literal, get_args

from pixelwise.errors import UsageError
from pixelwise.geometry import relative_offset
from pixelwise.nets.layers import Edge, Scale
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, TrunkFunction

Learned = Literal["none", "inner", "all"]

# Factors on the skips of the at-once net (voc-fcn8s-atonce): they bring the streams to like norms.
AT_ONCE = {"pool4": 0.01, "pool3": 0.0001}


def fcn(
    trunk_of: TrunkFunction,
    stride: int,
    *,
    classes: int = 21,
    channels: int = 3,
    width: float = 1.0,
    geometry: Geometry = "caffe",
    learned: Learned = "none",
    at_once: bool = False,
) -> Net:
    """A fully convolutional net that predicts at ``stride`` 32, 16, 8 or 4.

    Of the upsampling layers none is trained (the releases), or the inner ones (the paper: all but
    the last), or all. ``at_once`` scales the skips by fixed factors, for training all streams
    together; skips that were never released with a factor are refused (UsageError).
    """
    if learned not in get_args(Learned):
        raise UsageError(
            "U002", f"learned is {learned!r}, expected one of {', '.join(get_args(Learned))}"
        )
    net = Net()
    net.data(channels)
    trunk = trunk_of(net, width, geometry)
    segment(net, trunk, stride, classes, learned=learned, at_once=at_once)
    return net


def segment(
    net: Net,
    trunk: Trunk,
    stride: int,
    classes: int,
    *,
    learned: Learned = "none",
    at_once: bool = False,
) -> str:
    """Score a trunk at ``stride`` and bring the scores to the picture's size; names the result.

    Within a scope a second head, or a second stream, is written beside the first.
    """
    edge: Edge = "hold" if trunk.tight else "fade"
    inner = learned in ("inner", "all")
    x = net.top = net.score("score_fr", trunk.top, classes)
    source = "2"
    for step in (16, 8, 4):  # coarse to fine: each is added to the sum of those before
        if step < stride:
            break
        skip = trunk.skips[step]
        x = net.upsample(f"upscore{source}", x, 2, like=skip.layer, learned=inner, edge=edge)
        x = fuse_skip(net, x, skip, classes, at_once=at_once)
        source = f"_{skip.label}"
    last = "upscore" if stride == 32 else f"upscore{stride}"
    x = net.upsample(last, x, stride, like=net.input, learned=learned == "all", edge=edge)
    return net.crop("score", x, like=net.input)


def fuse_skip(net: Net, coarse: str, skip: Skip, classes: int, *, at_once: bool = False) -> str:
    """Score a finer layer, crop what is larger, and add (paper, figure 3)."""
    label, layer = skip
    if at_once and label not in AT_ONCE:
        raise UsageError(
            "U002",
            f"at_once has no factor for the skip from {label}; there are "
            f"{', '.join(f'{k} ({v:g})' for k, v in AT_ONCE.items())}",
            "leave at_once out, or take the vgg16 trunk down to stride 8",
        )
    if at_once:
        layer = net.add(Scale(f"scale_{label}", (layer,), AT_ONCE[label]))
    fine = net.score(f"score_{label}", layer, classes)
    # A coarse map that begins inside the fine one is the smaller: Caffe's case. Where it begins at
    # or outside the fine one's rim (3x3 pools, tight pads) it also ends there or beyond.
    if relative_offset(net.sights[fine].map, net.sights[coarse].map) > 0:
        fine = net.crop(f"score_{label}c", fine, like=coarse)
    else:
        coarse = net.crop(f"{coarse.removesuffix(net.stream)}c", coarse, like=fine)
    return net.sum(f"fuse_{label}", coarse, fine)
