"""Scores of layers on the way, which learn from a head's labels and are no part of a finished net.

An auxiliary head stands on a layer of the trunk, so that it learns what a shorter way can (PSPNet,
Zhao et al. 2017, section 3.3). Of layers that are a head's scores already, as FCN's at stride 32
and 16, the loss alone is added: deep supervision (Lee et al. 2015).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil

from pixelwise.errors import UsageError, unknown_name
from pixelwise.nets.joining import Crop, Sum
from pixelwise.nets.layers import Upsample
from pixelwise.nets.net import Net

SCORE = "score_aux_"
"""How the layers with weights of their own are called: what a finished net leaves out."""
LARGE = 572  # pixels, along which a map has to reach all that the head covers (U-Net's, no less)
AT = " at "
"""Between head and layer in an auxiliary's name; no head's name has a space."""


def supervise(net: Net, layers: Iterable[str]) -> None:
    """Give layers an output that is compared with the labels of each head that they lead to.

    Raises:
        UsageError: U001 no such layer, U002 one whose map, enlarged, is no map of the picture.
    """
    heads = {head: _scores(net, output) for head, output in net.outputs.items()}
    for layer in layers:
        if layer not in net.layers:
            raise unknown_name("layer for loss.auxiliary", layer, tuple(net.layers))
        for head in [head for head, own in heads.items() if layer in own] or heads:
            try:
                _auxiliary(net, layer, head, score=layer not in heads[head])
            except UsageError as error:
                hint = "another layer, or the scores of one: pixelwise nets NAME lists them"
                raise UsageError("U002", f"loss.auxiliary {layer}: {error}", hint) from error


def _auxiliary(net: Net, layer: str, head: str, *, score: bool) -> None:
    output, end = net.outputs[head], f"{layer}_{head}" if len(net.outputs) > 1 else layer
    x = net.score(f"{SCORE}{end}", layer, net.channels[output]) if score else layer
    last, scale = net.layers[output], net.sights[x].map.scale
    like = last.inputs[1] if isinstance(last, Crop) else output
    if scale > 1:
        edges = [r.edge for r in net.layers.values() if isinstance(r, Upsample)]
        edge = edges[-1] if edges else "hold"
        x = net.upsample(f"up{SCORE}{end}", x, ceil(scale), like=like, edge=edge)
    name = f"{head}{AT}{layer}"
    net.auxiliaries[name] = net.crop(f"aux_{end}", x, like=like)
    net.in_training.frame(LARGE, LARGE, name)
    if head in net.kinds:
        net.kinds[name] = net.kinds[head]


def _scores(net: Net, name: str) -> set[str]:
    """The layers of which a head's output is the sum, brought to its size: scores themselves."""
    layer = net.layers[name]
    below = layer.inputs[:1] if isinstance(layer, Crop) else ()
    below = layer.inputs if isinstance(layer, Upsample | Sum) else below
    return {name}.union(*(_scores(net, source) for source in below))
