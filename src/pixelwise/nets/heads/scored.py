"""What the relatives of FCN have in common: features of a picture, scored once for each head.

A ``Body`` writes the features and gives the convolutions that score them, without their classes.
They are added for each head and summed where there are several, of DeepLab's branches or of late
fusion's streams; scores that are coarser than the picture are enlarged as FCN's are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pixelwise.errors import UsageError
from pixelwise.nets.fusion import Fusion, coefficients, streams
from pixelwise.nets.heads.fcn import PICTURE, VOC, Learned
from pixelwise.nets.layers import Conv
from pixelwise.nets.net import Net
from pixelwise.nets.rarefaction import rarefy
from pixelwise.nets.trunks.trunk import Geometry, Trunk, TrunkFunction

Body = Callable[[Net, float, Geometry], Sequence[Conv]]
"""(net with its inputs, width, geometry) -> what scores the features."""


def scored(
    body: Body,
    *,
    heads: Mapping[str, int] = VOC,
    inputs: Mapping[str, int] = PICTURE,
    fusion: Fusion = "early",
    width: float = 1.0,
    learned: Learned = "none",
) -> Net:
    """The net of a body; options as those of ``fcn``.

    Raises:
        UsageError: U002 ``learned`` of a net without an upsampling that could be.
    """
    net = Net()
    bodies = streams(net, body, inputs, fusion, width, "tight")
    scorers = [conv for convs in bodies.values() for conv in convs]
    branches = len(scorers) // len(bodies)
    for head, classes in heads.items():
        end = f"_{head}" if head else ""
        scores = [net.add(replace(c, name=c.name + end, width=classes)) for c in scorers]
        x = scores[0]
        if len(scores) > 1:
            shares = coefficients(fusion, len(bodies)) * branches
            x = net.sum(f"score_fused{end}", *scores, coefficients=shares)
        net.top = net.top or x
        x = _enlarged(net, x, end, learned)
        if head:
            net.heads[head] = x
    return net


def scorer(net: Net, name: str, src: str, kernel: int = 1, dilation: int = 1) -> Conv:
    """A convolution that scores ``src``, zero at the start; its width is a head's classes."""
    layer = Conv(name + net.stream, (src,), kernel=kernel, dilation=dilation, init="zero")
    return replace(layer, pad=dilation * (kernel // 2))


def _enlarged(net: Net, scores: str, end: str, learned: Learned) -> str:
    """Scores at the picture's size, unless they are; a margin stays."""
    stride = int(net.sights[scores].map.scale)
    if learned == "inner" or (learned == "all" and stride == 1):
        upsamplings = "one upsampling, the last" if stride > 1 else "no bilinear upsampling"
        problem = f"learned is {learned}, and the net has {upsamplings}"
        raise UsageError("U002", problem, "learned: all" if stride > 1 else "leave learned out")
    if stride == 1:
        return scores
    whole, last = learned == "all", f"upscore{stride}{end}"
    x = net.upsample(last, scores, stride, like=net.input, learned=whole, edge="hold")
    return net.crop(f"score{end}", x, like=net.input)


def features(net: Net, trunk_of: TrunkFunction, width: float, stride: int = 32) -> Trunk:
    """Write a trunk up to its last block, which is the top then, with its cells ``stride`` apart.

    Coarser layers are rarefied: strides beyond are 1, and what follows is dilated ("atrous", Chen
    et al. 2015, section 3.1), so that a trunk's weights give what they gave, more often. Where its
    cells, enlarged, would not reach the picture's rim, the first padding is larger.
    """
    draft = Net({**net.layers}, {**net.channels}, {**net.sights}, stream=net.stream)
    trunk = trunk_of(draft, width, "tight")
    top = trunk.skips[32].layer if 32 in trunk.skips else trunk.top
    needed = {top}
    for layer in reversed(draft.layers.values()):
        if needed.intersection(layer.outputs):
            needed.update(layer.inputs)
    strided = [
        name
        for name, layer in draft.layers.items()
        if getattr(layer, "stride", 1) > 1 and draft.sights[name].map.scale > stride
    ]
    enlarged = draft.upsample("enlarged", top, int(draft.sights[top].map.scale), like=draft.input)
    draft.crop("covering", enlarged, like=draft.input)  # what rarefaction has to keep possible
    with net.scope(""):  # their names end in the stream already
        for name, layer in rarefy(draft, *strided).layers.items():
            if name in needed and name not in net.layers:
                net.add(layer)
    return replace(trunk, top=top)
