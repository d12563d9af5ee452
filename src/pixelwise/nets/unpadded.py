"""A net without padding: the form in which one pass is exactly its windows, or its patches."""

from __future__ import annotations

import dataclasses

from pixelwise.nets.joining import Concat, Sum
from pixelwise.nets.layers import Conv
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import MaxPool


def unpadded(padded: Net) -> Net:
    """The net up to its coarsest scores with every pad 0; weights fit both by name.

    Where nothing is padded a cell sees its receptive field and nothing else, so a picture's scores
    are those of the windows of that size, and its gradients the sum of theirs (paper, sections 3.1
    and 3.4). Branches that are joined are cropped to the one that loses the most at the rim.

    Raises:
        UsageError: U002 the cells of two branches then lie between each other, as those of a
            ResNet's shortcuts do.
    """
    net = Net()
    for layer in padded.layers.values():
        if isinstance(layer, Conv | MaxPool):
            net.add(dataclasses.replace(layer, pad=0))
        elif isinstance(layer, Concat | Sum):
            net.add(dataclasses.replace(layer, inputs=_cropped(net, layer.inputs)))
        else:
            net.add(layer)
        if layer.name == padded.top:
            break
    net.top = padded.top
    return net


def _cropped(net: Net, names: tuple[str, ...]) -> tuple[str, ...]:
    """Maps in the frame of the widest field's."""
    widest = max(names, key=lambda name: net.sights[name].field)
    frame = net.sights[widest].map
    return tuple(
        name if net.sights[name].map == frame else net.crop(f"{name}_cropped", name, like=widest)
        for name in names
    )
