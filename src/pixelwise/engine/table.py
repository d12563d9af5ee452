"""The printed table as data: what each layer makes of a picture, and what that costs.

Everything is read off the spec; no torch, no weights, no picture. ``Table.as_dict`` is what
``pixelwise nets NAME --json`` prints.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from pixelwise.engine.plan import CutUpsampling, steps
from pixelwise.nets import spec
from pixelwise.nets.net import Net

FLOAT32 = 4
"""Bytes of a number: memory is estimated for float32."""


@dataclass(frozen=True)
class Row:
    """One layer at one input size; what a kind does not have (a kernel, an offset) is None."""

    name: str
    kind: str
    """Class of the record in ``spec``, such as Conv."""
    kernel: int | None
    stride: int | None
    """Of the layer itself; a deconvolution multiplies the size by it."""
    pad: int | None
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
class Memory:
    """Bytes that one picture in float32 takes, without the scratch space of single operations."""

    weights: int
    maps: int
    """Held at once at the worst moment; a map is dropped after its last use."""
    peak_layer: str
    """The layer that is being computed at that moment."""


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
    output_size: tuple[int, int]
    crops: Mapping[str, int]
    memory: Memory

    def as_dict(self) -> dict[str, Any]:
        """The keys of ``pixelwise nets NAME --json``."""
        return {
            "parameters": self.parameters,
            "parameters_with_upsampling": self.parameters_with_upsampling,
            "receptive_field": self.receptive_field,
            "stride": self.stride,
            "conv_layers": self.conv_layers,
            "macs": self.macs,
            "output_size": list(self.output_size),
            "crops": dict(self.crops),
            "layers": [asdict(row) for row in self.rows],
        }


def table(net: Net, height: int, width: int) -> Table:
    """Explain ``net`` for one picture of ``height`` x ``width`` pixels.

    Raises:
        UsageError: the picture is too small for the net; names the layer.
    """
    rows = layer_rows(net, height, width)
    return Table(
        rows=rows,
        parameters=net.parameters(),
        parameters_with_upsampling=net.parameters(upsampling=True),
        receptive_field=net.receptive_field,
        stride=_number(net.stride),
        conv_layers=net.depth,
        macs=sum(row.macs for row in rows),
        output_size=(rows[-1].height, rows[-1].width),
        crops=net.crops(),
        memory=memory(net, height, width),
    )


def layer_rows(net: Net, height: int, width: int) -> tuple[Row, ...]:
    """One row for each layer, in order of execution."""
    rows, columns = net.sizes(height), net.sizes(width)
    macs = net.macs(height, width)

    def row(layer: spec.Layer) -> Row:
        name, sight = layer.name, net.sights[layer.name]
        shapes = layer.parameters(net.given_channels(layer)).values()
        return Row(
            name=name,
            kind=type(layer).__name__,
            kernel=getattr(layer, "kernel", None),
            stride=getattr(layer, "stride", None),
            pad=getattr(layer, "pad", None),
            dilation=getattr(layer, "dilation", None),
            groups=getattr(layer, "groups", None),
            offset=getattr(layer, "offset", None),
            channels=net.channels[name],
            height=rows[name],
            width=columns[name],
            receptive_field=sight.field,
            total_stride=_number(sight.map.scale),
            parameters=sum(math.prod(shape) for shape in shapes),
            macs=macs[name],
        )

    return tuple(row(layer) for layer in net.layers.values())


def memory(net: Net, height: int, width: int) -> Memory:
    """Estimate the memory of a forward pass without gradients."""
    maps, layer = peak_of_maps(net, height, width)
    return Memory(FLOAT32 * stored_numbers(net), FLOAT32 * maps, layer)


def stored_numbers(net: Net) -> int:
    """Numbers in a weights file: what is trained, running statistics and fixed scales."""
    total = sum(math.prod(shape) for shape in net.parameter_shapes().values())
    for name, layer in net.layers.items():
        if isinstance(layer, spec.BatchNorm):
            total += 2 * net.channels[name]
        elif isinstance(layer, spec.Scale):
            total += net.channels[name]
    return total


def peak_of_maps(net: Net, height: int, width: int) -> tuple[int, str]:
    """The most numbers that are held at once, and the layer at whose computation they are.

    A crop of a map that is there is a window into it, and dropout passes its input on: neither
    takes memory of its own, both keep their source alive. The picture is the caller's and stays.
    """
    rows, columns = net.sizes(height), net.sizes(width)
    layers = [step.layer for step in steps(net, [net.output])]
    owner: dict[str, str] = {}
    last_use: dict[str, str] = {}
    for layer in layers:
        shared = isinstance(layer, spec.Crop | spec.Dropout)
        owner[layer.name] = owner[layer.inputs[0]] if shared else layer.name
        last_use.update(dict.fromkeys((owner[source] for source in layer.inputs), layer.name))
    kept = {net.input, owner[net.output]}

    alive: dict[str, int] = {}
    peak, at = 0, net.input
    for layer in layers:
        name = layer.name
        if owner[name] == name:
            held = layer.rows_held(rows[name]) if isinstance(layer, CutUpsampling) else rows[name]
            alive[name] = net.channels[name] * held * columns[name]
        if sum(alive.values()) > peak:
            peak, at = sum(alive.values()), name
        alive = {n: size for n, size in alive.items() if n in kept or last_use.get(n) != name}
    return peak, at


def kept_for_gradients(net: Net, trained: Collection[str], height: int, width: int) -> int:
    """Numbers that a training step keeps of one picture's maps until its backward pass; a minimum.

    A convolution that is trained keeps what it is given, and so do pooling and normalisation on
    the way back to one; a rectifier keeps what it gives.
    """
    reached: dict[str, bool] = {}
    kept = {net.output}
    for name, layer in net.layers.items():
        back = any(reached[source] for source in layer.inputs)
        reached[name] = back or name in trained
        match layer:
            case spec.Conv() if name in trained:
                kept.update(layer.inputs)
            case spec.MaxPool() | spec.BatchNorm() | spec.Lrn() if back:
                kept.update(layer.inputs)
            case spec.Relu() if back:
                kept.add(name)
    rows, columns = net.sizes(height), net.sizes(width)
    return sum(net.channels[name] * rows[name] * columns[name] for name in kept)


def _number(value: Fraction) -> float:
    return int(value) if value.denominator == 1 else float(value)
