"""The printed table as data: what each layer makes of a picture, and what that costs.

Everything is read off the net; no torch, no weights, no picture. ``Table.as_dict`` is what
``pixelwise nets NAME --json`` prints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pixelwise.geometry import Pad
from pixelwise.nets.net import Net
from pixelwise.nets.record import Layer, number

OF_SOME_KINDS = ("kernel", "stride", "pad", "dilation", "groups", "offset")


@dataclass(frozen=True)
class Row:
    """One layer at one input size; what a kind does not have (a kernel, an offset) is None."""

    name: str
    kind: str
    """Of the record, such as Conv."""
    kernel: int | None
    stride: int | None
    """Of the layer itself; a deconvolution multiplies the size by it."""
    pad: Pad | None
    dilation: int | None
    groups: int | None
    offset: int | None
    """Where a crop begins, in cells of the map that it cuts."""
    channels: int
    height: int
    width: int
    receptive_field: float
    """Input pixels that one cell sees along an axis."""
    total_stride: float
    """Input pixels from one cell to the next."""
    parameters: int
    """That can be trained; fixed upsampling has none."""
    macs: int


@dataclass(frozen=True)
class Table:
    """A net explained at one input size."""

    rows: tuple[Row, ...]
    parameters: int
    """As the paper counts: without the upsampling layers."""
    parameters_with_upsampling: int
    """Their dense kernels counted as Caffe stores them."""
    receptive_field: float
    """Of a cell of the top layer, before any upsampling."""
    stride: float
    """Input pixels between two cells of the top layer: the paper's max stride."""
    conv_layers: int
    """Convolutions on the longest path to the top layer."""
    macs: int
    outputs: Mapping[str, tuple[int, int, int]]
    """Channels, height and width of every head's output."""
    crops: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The keys of ``pixelwise nets NAME --json``.

        ``output_size`` is [height, width]; of a net with several heads, that by head.
        """
        sizes = [[height, width] for _, height, width in self.outputs.values()]
        return {
            "parameters": self.parameters,
            "parameters_with_upsampling": self.parameters_with_upsampling,
            "receptive_field": self.receptive_field,
            "stride": self.stride,
            "conv_layers": self.conv_layers,
            "macs": self.macs,
            "output_size": sizes[0]
            if len(sizes) == 1
            else dict(zip(self.outputs, sizes, strict=True)),
            "crops": dict(self.crops),
            "layers": [asdict(row) for row in self.rows],
        }


def table(net: Net, height: int, width: int) -> Table:
    """Explain ``net`` for one picture of ``height`` x ``width`` pixels.

    Raises:
        UsageError: the picture is too small for the net; names the layer.
    """
    rows, columns = net.sizes(height), net.sizes(width)
    sizes = {name: (rows[name], columns[name]) for name in rows}
    macs = net.macs(height, width)
    return Table(
        rows=tuple(_row(net, layer, sizes[name], macs[name]) for name, layer in net.layers.items()),
        parameters=net.parameters(),
        parameters_with_upsampling=net.parameters(upsampling=True),
        receptive_field=net.receptive_field,
        stride=number(net.stride),
        conv_layers=net.depth,
        macs=sum(macs.values()),
        outputs={head: (net.channels[name], *sizes[name]) for head, name in net.outputs.items()},
        crops=net.crops(),
    )


def _row(net: Net, layer: Layer, size: tuple[int, int], macs: int) -> Row:
    shapes = layer.parameters(net.given_channels(layer)).values()
    sight = net.sights[layer.name]
    return Row(
        name=layer.name,
        kind=layer.kind,
        **{fact: getattr(layer, fact, None) for fact in OF_SOME_KINDS},
        channels=net.channels[layer.name],
        height=size[0],
        width=size[1],
        receptive_field=sight.field,
        total_stride=number(sight.map.scale),
        parameters=sum(math.prod(shape) for shape in shapes),
        macs=macs,
    )
