"""The printed table as data: what each layer makes of a picture, and what that costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pixelwise.geometry import Pad
from pixelwise.nets.net import Net
from pixelwise.nets.record import number


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
    coefficients: tuple[float, ...] | None
    """Of a sum: what its maps are multiplied by; empty where they are added as they are."""
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


_OF_SOME_KINDS = ("kernel", "stride", "pad", "dilation", "groups", "offset", "coefficients")


def table(net: Net, height: int, width: int) -> tuple[Row, ...]:
    """Explain every layer of ``net`` for one picture; ``net.sizes`` refuses one too small."""
    rows, columns, macs = net.sizes(height), net.sizes(width), net.macs(height, width)
    return tuple(
        Row(
            name=name,
            kind=layer.kind,
            **{fact: getattr(layer, fact, None) for fact in _OF_SOME_KINDS},
            channels=net.channels[name],
            height=rows[name],
            width=columns[name],
            receptive_field=net.sights[name].field,
            total_stride=number(net.sights[name].map.scale),
            parameters=sum(map(math.prod, layer.parameters(net.given_channels(layer)).values())),
            macs=macs[name],
        )
        for name, layer in net.layers.items()
    )


def as_dict(net: Net, rows: Sequence[Row]) -> dict[str, Any]:
    """What ``pixelwise nets NAME --json`` prints.

    ``output_size`` is [height, width]; of a net with several heads, that by head. ``inputs`` is
    name to bands, ``heads`` name to classes; an only head without a name has its layer's.
    """
    sizes = {row.name: [row.height, row.width] for row in rows}
    by_head = {head: sizes[layer] for head, layer in net.outputs.items()}
    return {
        "inputs": net.inputs,
        "heads": {head: net.channels[layer] for head, layer in net.outputs.items()},
        "parameters": net.parameters(),
        "parameters_with_upsampling": net.parameters(upsampling=True),
        "receptive_field": net.receptive_field,
        "stride": number(net.stride),
        "conv_layers": net.depth,
        "macs": sum(row.macs for row in rows),
        "output_size": by_head if len(by_head) > 1 else sizes[net.output],
        "crops": net.crops(),
        "layers": [asdict(row) for row in rows],
    }
