"""In what steps a net is carried out: a step a layer, but for upsampling that is cropped.

A fixed upsampling that only a crop reads is left to that crop: what is cut off is not computed (of
FCN-8s-VGG16 in Caffe's geometry a fifth of a map, and more of a small one), and on the way back no
gradient is set among zeros.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from pixelwise.nets.net import Net
from pixelwise.nets.spec import Crop, Deconv, Layer, Sight


@dataclass(frozen=True)
class CutUpsampling(Layer):
    """A fixed upsampling and its crop in one, named as the crop is.

    It reads what is upsampled, and the map whose size it cuts to.
    """

    upsampling: Deconv
    crop: Crop

    def size(self, given: tuple[int, ...]) -> int:  # noqa: D102
        return self.crop.size((self.upsampling.size(given[:1]), given[1]))

    def sight(self, given: tuple[Sight, ...]) -> Sight:  # noqa: D102
        return self.crop.sight((self.upsampling.sight(given[:1]), given[1]))

    def macs(self, given: tuple[int, ...], cells: int) -> int:  # noqa: D102
        return self.upsampling.macs(given[:1], cells)

    def rows_held(self, rows: int) -> int:
        """Rows in memory for so many rows of the map, which is a view of whole strides."""
        stride = self.upsampling.stride
        return stride * -(-(self.crop.offset % stride + rows) // stride)


@dataclass(frozen=True)
class Step:
    """What gives one map.

    Attributes:
        layer: what to carry out; it has the map's name, and reads ``layer.inputs``.
        drops: names of the maps that no later step reads.
    """

    layer: Layer
    drops: tuple[str, ...]


def records(net: Net) -> dict[str, Layer]:
    """Every layer of ``net`` by its name, as it is carried out."""
    readers = Counter(source for layer in net.layers.values() for source in layer.inputs)

    def carried_out(layer: Layer) -> Layer:
        source = net.layers[layer.inputs[0]] if isinstance(layer, Crop) else None
        if not isinstance(layer, Crop) or not isinstance(source, Deconv):
            return layer
        if source.learned or readers[source.name] > 1:
            return layer
        return CutUpsampling(layer.name, (source.inputs[0], layer.inputs[1]), source, layer)

    return {name: carried_out(layer) for name, layer in net.layers.items()}


def steps(net: Net, wanted: Collection[str]) -> tuple[Step, ...]:
    """The steps that lead to the maps that are wanted, in order, and no others."""
    found = records(net)
    needed = set(wanted)
    for name in reversed(found):
        if name in needed:
            needed.update(found[name].inputs)
    layers = [layer for name, layer in found.items() if name in needed]
    plan: list[Step] = []
    read: set[str] = set()
    for layer in reversed(layers):  # who reads a map last meets it first
        plan.append(Step(layer, tuple(s for s in dict.fromkeys(layer.inputs) if s not in read)))
        read.update(layer.inputs)
    return tuple(reversed(plan))
