"""FCN heads on any trunk: 32s, 16s, 8s and 4s, staged or at once (paper, section 4.2, figure 3).

The top is scored at stride 32; then, as often as the net's stride asks for: upsample by two, score
the finer layer, crop the larger of the two maps to the frame of the smaller, add. The last
upsampling brings the picture's size back. Every offset is derived from the trunk's geometry.

Several heads stand on the same trunk, each with its name behind that of its layers
(``score_pool4_geo``; siftflow-fcn8s). Several streams are fused where they are scored: the top, and
every skip before it is added. Between scores and output all is linear (fixed upsampling, crops,
sums), so it would be the same to fuse the streams' finished maps; this way there is one upsampling
instead of one for each stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal, get_args

from pixelwise.errors import UsageError
from pixelwise.geometry import relative_offset
from pixelwise.nets.fusion import Fusion, coefficients, streams
from pixelwise.nets.layers import Edge, Scale
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry, Skip, Trunk, TrunkFunction

Learned = Literal["none", "inner", "all"]

# Factors on the skips of the at-once net (voc-fcn8s-atonce): they bring the streams to like norms.
AT_ONCE = {"pool4": 0.01, "pool3": 0.0001}
SKIPS = (16, 8, 4)
"""Strides of the skips, coarse to fine: each is added to the sum of those before."""

VOC = MappingProxyType({"": 21})
PICTURE = MappingProxyType({"data": 3})


def fcn(
    trunk_of: TrunkFunction,
    stride: int,
    *,
    heads: Mapping[str, int] = VOC,
    inputs: Mapping[str, int] = PICTURE,
    fusion: Fusion = "early",
    width: float = 1.0,
    geometry: Geometry = "caffe",
    learned: Learned = "none",
    at_once: bool = False,
) -> Net:
    """A fully convolutional net that predicts at ``stride`` 32, 16, 8 or 4.

    ``heads`` is name to classes (a name of no letters: the only head, whose layers carry no name),
    ``inputs`` name to bands. Of the upsampling layers none is trained (the releases), or the inner
    ones (the paper: all but the last), or all. ``at_once`` scales the skips by fixed factors, for
    training all streams together; skips that were never released with a factor are refused
    (UsageError).
    """
    if learned not in get_args(Learned):
        raise UsageError(
            "U002", f"learned is {learned!r}, expected one of {', '.join(get_args(Learned))}"
        )
    net = Net()
    trunks = streams(net, trunk_of, inputs, fusion, width, geometry)
    if at_once:
        trunks = {stream: _scaled(net, stream, t, stride) for stream, t in trunks.items()}
    for head, classes in heads.items():
        score = segment(net, trunks, stride, classes, head=head, learned=learned, fusion=fusion)
        if head:
            net.heads[head] = score
    return net


def segment(
    net: Net,
    trunks: Mapping[str, Trunk],
    stride: int,
    classes: int,
    *,
    head: str = "",
    learned: Learned = "none",
    fusion: Fusion = "sum",
) -> str:
    """Score trunks at ``stride`` and bring the scores to the picture's size; names the result.

    ``trunks`` are those of ``nets.fusion.streams``; ``{"": trunk}`` where there is one. ``head``
    stands behind the names of the layers, so that a second one is written beside the first.
    """
    end = f"_{head}" if head else ""
    first = next(iter(trunks.values()))
    edge: Edge = "hold" if first.tight else "fade"
    inner = learned in ("inner", "all")
    tops = {stream: trunk.top for stream, trunk in trunks.items()}
    x = _score(net, "fr", tops, classes, end, fusion)
    net.top = net.top or x  # of several heads the first: their strides and fields are alike
    source = "2"
    for step in SKIPS:
        if step < stride:
            break
        label, layer = first.skips[step]
        x = net.upsample(f"upscore{source}{end}", x, 2, like=layer, learned=inner, edge=edge)
        skips = {stream: trunk.skips[step].layer for stream, trunk in trunks.items()}
        fine = _score(net, label, skips, classes, end, fusion)
        x = fuse_skip(net, x, fine, f"fuse_{label}{end}")
        source = f"_{label}"
    last = "upscore" if stride == 32 else f"upscore{stride}"
    x = net.upsample(f"{last}{end}", x, stride, like=net.input, learned=learned == "all", edge=edge)
    return net.crop(f"score{end}", x, like=net.input)


def fuse_skip(net: Net, coarse: str, fine: str, name: str) -> str:
    """Crop what is larger of two scores, and add them (paper, figure 3)."""
    return net.sum(name, *aligned(net, coarse, fine))


def aligned(net: Net, coarse: str, fine: str) -> tuple[str, str]:
    """An upsampled map and one of its stride, the larger cropped to the other's frame."""
    # A coarse map that begins inside the fine one is the smaller: Caffe's case. Where it begins at
    # or outside the fine one's rim (3x3 pools, tight pads) it also ends there or beyond.
    if relative_offset(net.sights[fine].map, net.sights[coarse].map) > 0:
        fine = net.crop(f"{fine}c", fine, like=coarse)
    else:
        coarse = net.crop(f"{coarse}c", coarse, like=fine)
    return coarse, fine


def _score(
    net: Net, label: str, layers: Mapping[str, str], classes: int, end: str, fusion: Fusion
) -> str:
    """The scores of a layer of each stream, fused where there are several."""
    scores = [net.score(f"score_{label}{s}{end}", layer, classes) for s, layer in layers.items()]
    if len(scores) == 1:
        return scores[0]
    # The release has the top alone; the skips' fused scores carry the skip's name as well.
    name = "score_fused" if label == "fr" else f"score_{label}_fused"
    return net.sum(f"{name}{end}", *scores, coefficients=coefficients(fusion, len(scores)))


def _scaled(net: Net, stream: str, trunk: Trunk, stride: int) -> Trunk:
    """The trunk with a fixed factor on each skip of a net of ``stride``."""
    skips = dict(trunk.skips)
    for step in (s for s in SKIPS if s >= stride):
        label, layer = skips[step]
        if label not in AT_ONCE:
            raise UsageError(
                "U002",
                f"at_once has no factor for the skip from {label}; there are "
                f"{', '.join(f'{k} ({v:g})' for k, v in AT_ONCE.items())}",
                "leave at_once out, or take the vgg16 trunk down to stride 8",
            )
        layer = net.add(Scale(f"scale_{label}{stream}", (layer,), AT_ONCE[label]))
        skips[step] = Skip(label, layer)
    return replace(trunk, skips=skips)
