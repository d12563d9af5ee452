"""In what steps a net is carried out: a step a layer, but for upsampling that is cropped.

A fixed upsampling that only a crop reads is left to that crop: what is cut off is not computed (of
FCN-8s-VGG16 in Caffe's geometry a fifth of a map, and more of a small one), and on the way back no
gradient is set among zeros.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from pixelwise.nets.joining import Crop
from pixelwise.nets.layers import Upsample
from pixelwise.nets.net import Net
from pixelwise.nets.record import Layer, Sight


@dataclass(frozen=True)
class CutUpsampling(Layer):
    """A fixed upsampling and its crop in one, named as the crop is.

    It reads what is upsampled, and the map whose size it cuts to.
    """

    upsampling: Upsample
    crop: Crop

    @property
    def reads(self) -> tuple[str, ...]:
        return self.inputs[:1]

    def size(self, given: tuple[int, ...]) -> int:
        return self.crop.size((self.upsampling.size(given[:1]), given[1]))

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        return self.crop.sight((self.upsampling.sight(given[:1]), given[1]))

    def macs(self, given: tuple[int, ...], cells: int) -> int:
        return self.upsampling.macs(given[:1], cells)

    def rows_held(self, rows: int) -> int:
        """Rows in memory for so many rows of the map, which is a view of whole strides."""
        stride = self.upsampling.stride
        return stride * -(-(self.crop.offset % stride + rows) // stride)


@dataclass(frozen=True)
class Step:
    """A layer to carry out, and the maps of which nothing is read after it."""

    layer: Layer
    drops: tuple[str, ...]
    """The maps that no later step needs, its own among them."""
    measured: tuple[str, ...]
    """Those of which a later step takes nothing but the size."""


def records(net: Net) -> dict[str, Layer]:
    """Every layer of ``net`` by its name, as it is carried out."""
    readers = Counter(source for layer in net.layers.values() for source in layer.inputs)
    carried_out = dict(net.layers)
    for name, layer in net.layers.items():
        match layer, net.layers.get(layer.inputs[0] if layer.inputs else ""):
            case Crop(), Upsample(learned=False) as source if readers[source.name] == 1:
                inputs = (source.inputs[0], layer.inputs[1])
                carried_out[name] = CutUpsampling(name, inputs, source, layer)
    return carried_out


def before_upsampling(net: Net) -> set[str]:
    """The layers of which a runner makes labels: heads, or what their last upsampling reads."""
    carried_out = records(net)
    heads = (carried_out[layer] for layer in net.outputs.values())
    return {
        name
        for layer in heads
        for name in (layer.inputs if isinstance(layer, CutUpsampling) else (layer.name,))
    }


def coarse_scores(net: Net) -> dict[str, str]:
    """Head to the layer of its scores before their last upsampling, if that is fixed and cut."""
    carried_out = records(net)
    heads = {head: carried_out[name] for head, name in net.outputs.items()}
    return {
        head: layer.inputs[0] if isinstance(layer, CutUpsampling) else layer.name
        for head, layer in heads.items()
    }


def steps(net: Net, wanted: Collection[str]) -> tuple[Step, ...]:
    """The steps that lead to the maps that are wanted, in order, and no others."""
    layers = records(net).values()
    needed = set(wanted)
    for layer in reversed(layers):
        if needed.intersection(layer.outputs):
            needed.update(layer.inputs)
    plan: list[Step] = []
    measured: set[str] = set()
    read = set(wanted)  # at the very end, by who wants them
    for layer in reversed(layers):  # who reads a map last meets it first
        if needed.intersection(layer.outputs):
            last = [n for n in dict.fromkeys((*layer.inputs, *layer.outputs)) if n not in read]
            drops = tuple(name for name in last if name not in measured)
            plan.append(Step(layer, drops, tuple(name for name in last if name in measured)))
            read.update(layer.reads)
            measured.update(layer.inputs)
    return tuple(reversed(plan))
