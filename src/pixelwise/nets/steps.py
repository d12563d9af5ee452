"""In what steps a net is carried out: a step a layer, but for upsampling that is cropped.

Much of what upsampling gives is cut off right after it, in Caffe's geometry the larger part. A
fixed upsampling that only a crop reads is therefore left to that crop, and computes what remains.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from pixelwise.nets.net import Net
from pixelwise.nets.spec import Crop, Deconv, Layer


@dataclass(frozen=True)
class CutDeconv(Deconv):
    """A fixed upsampling of the first input and its crop in one; named as the crop is."""

    offset: int = 0
    """Where the crop begins; it has the size of the second input."""


@dataclass(frozen=True)
class Step:
    """What gives one map.

    Attributes:
        layer: what to carry out; it has the map's name, and reads ``layer.inputs``.
        left: no other step reads the map, so that it is given only to who asks for it.
        drops: names of the maps that no later step reads.
    """

    layer: Layer
    left: bool
    drops: tuple[str, ...]


def steps(net: Net) -> tuple[Step, ...]:
    """The steps of ``net``, in order; every layer has one of its name."""
    readers = Counter(source for layer in net.layers.values() for source in layer.inputs)

    def carried_out(layer: Layer) -> Layer:
        if not isinstance(layer, Crop):
            return layer
        source, like = net.layers[layer.inputs[0]], layer.inputs[1]
        if not isinstance(source, Deconv) or source.learned or readers[source.name] > 1:
            return layer
        return CutDeconv(
            name=layer.name,
            inputs=(*source.inputs, like),
            kernel=source.kernel,
            stride=source.stride,
            edge=source.edge,
            offset=layer.offset,
        )

    layers = [carried_out(layer) for layer in net.layers.values()]
    last_reader = {source: layer.name for layer in layers for source in layer.inputs}
    return tuple(
        Step(
            layer,
            left=layer.name not in last_reader and layer.name != net.output,
            drops=tuple(source for source, name in last_reader.items() if name == layer.name),
        )
        for layer in layers
    )
