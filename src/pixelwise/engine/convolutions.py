"""Which kernel carries out each convolution of a plan, and its weights as that one reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch

from pixelwise.engine import channelwise, direct, quantised, winograd
from pixelwise.engine.folding import folded
from pixelwise.engine.fusing import Op
from pixelwise.engine.kernels import unavailable
from pixelwise.engine.layout import Layout, Maps
from pixelwise.engine.network import Network
from pixelwise.engine.numbers import FLOAT32
from pixelwise.engine.operations import (
    Packed,
    Work,
    convolution,
    operation,
    shape_read,
)
from pixelwise.engine.points import points
from pixelwise.engine.rounding import in_float32, mixed
from pixelwise.engine.spans import Span
from pixelwise.engine.vectors import FLOAT, processor
from pixelwise.engine.workers import Workers
from pixelwise.machine.memory import give_back, give_back_pages
from pixelwise.nets.layers import Conv, Lrn
from pixelwise.nets.pooling import MaxPool
from pixelwise.nets.record import Layer

Kernel = Literal["winograd", "direct", "depthwise", "onednn", "bfloat16", "int8"]
"""Kernels of our own, and oneDNN's through torch: in float32, and in fewer bytes."""
LOWER: Mapping[str, Kernel] = {"bfloat16": "bfloat16", "uint8": "int8"}  # by numbers of maps
MEMORY = ("fast", "low")
"""``fast``: all weights are kept packed; ``low``: those of large convolutions never are."""
PIECE = 2**24
"""Bytes (16 MiB) of weights that are packed at a time in low memory, and of a convolution's up to
which they are kept: of FCN-8s-VGG16 those up to conv3_3, and the score layers."""
Weights = winograd.Transformed | direct.Direct | channelwise.Depthwise | Packed | quantised.Packed


def in_use() -> str:
    """What carries out convolutions in float32 on this processor, and why, in words."""
    if why := unavailable():
        return f"torch's (oneDNN), since our own do not run here: {why}"
    own = processor()
    return f"our own for {own.name}, tiles of {own.rows}x{own.panel}"


def kernel_of(op: Op, channels: int, height: int, width: int) -> Kernel:
    """The kernel of a convolution that reads ``channels`` and makes maps of a size."""
    return chosen(op, channels, height, width)[0]


def chosen(op: Op, channels: int, height: int, width: int) -> tuple[Kernel, str]:
    """The kernel of a convolution, and why it is this one, in a few words."""
    layer = op.layer
    assert isinstance(layer, Conv)
    if why := unavailable():
        return "onednn", why
    length, pool = min(height, width), op.pool is not None
    hindrance = winograd.unserved(layer, channels // layer.groups, length, pool=pool)
    if not hindrance:
        return "winograd", winograd.saving(layer.kernel)
    if pool:  # nets of the catalogue have none that is left
        return "onednn", f"pool, {hindrance}"
    alone = layer.groups == channels == layer.width
    return ("depthwise", f"{channels} groups") if alone else ("direct", hindrance)


def by_channels(layer: Layer) -> bool:
    """Whether a kernel of our own carries out a layer that is no convolution."""
    known = isinstance(layer, MaxPool) or (isinstance(layer, Lrn) and layer.beta == 0.75)
    return known and not unavailable()


class Convolutions:
    """The convolutions of a network; each is packed when first needed, or in low memory anew."""

    def __init__(
        self,
        network: Network,
        filters: Mapping[str, quantised.Filters] | None = None,
        memory: str = "fast",
    ) -> None:
        self._network, self._workers, self._filters = network, Workers(), filters or {}
        self._memory = memory
        self.fitted: Layout | None = None
        """The size for whose maps oneDNN's weights are packed; None: the first that comes."""
        self.packed: dict[tuple[str, Kernel], Weights] = {}

    def work(self, op: Op, maps: Maps, kernel: Kernel | None = None) -> Work:
        """What carries a computation out on maps of one size; a convolution by ``kernel``.

        By default by the one for maps of this size.
        """
        plan = maps.layout.plan
        if isinstance(op.layer, Conv) and (lower := LOWER.get(plan.computes_in(op))):
            return self._convolution(op, maps, lower)
        if mixed(op, plan):
            return in_float32(op, maps, lambda op, maps: self._in_float32(op, maps, kernel))
        return self._in_float32(op, maps, kernel)

    def _in_float32(self, op: Op, maps: Maps, kernel: Kernel | None) -> Work:
        own = by_channels(op.layer)
        match op.layer:
            case Conv():
                return self._convolution(op, maps, kernel)
            case MaxPool() if own and maps.layout.plan.held(op.name) == FLOAT32:
                return channelwise.pooling(op, maps, self._workers)
            case Lrn() if own:
                return channelwise.normalising(op, maps, self._workers)
        return operation(op, maps, self._network)

    def _convolution(self, op: Op, maps: Maps, kernel: Kernel | None) -> Work:
        rows, columns = maps.layout.made(op)
        channels = self._network.net.channels[op.inputs[0]]
        kernel = kernel or kernel_of(op, channels, rows.length, columns.length)
        layer, parts = op.layer, pieces(op, channels, kernel) if self._memory == "low" else ()
        assert isinstance(layer, Conv)
        if not parts:
            if (op.name, kernel) not in self.packed:
                self.packed[op.name, kernel] = self._pack(op, kernel, maps)
            return self._by(self.packed[op.name, kernel], op, maps)

        def work() -> None:
            for filters in parts:
                part = replace(op, layer=replace(layer, width=filters.length))
                narrow = maps.narrowed({op.name: filters, op.added: filters})
                self._by(self._pack(part, kernel, maps, filters), part, narrow)()
                give_back()  # else the heap grows by holes

        return work

    def _by(self, weights: Weights, op: Op, maps: Maps) -> Work:
        match weights:
            case winograd.Transformed() as weights:
                return winograd.convolution(op, maps, weights, self._workers)
            case direct.Direct() as weights:
                return direct.convolution(op, maps, weights, self._workers)
            case channelwise.Depthwise() as weights:
                return channelwise.per_channel(op, maps, weights, self._workers)
            case quantised.Packed() as weights:
                return quantised.convolution(op, maps, weights)
            case weights:
                return convolution(op, maps, weights)

    def _pack(self, op: Op, kernel: Kernel, maps: Maps, filters: Span | None = None) -> Weights:
        """Weights as a kernel reads them; what was read of a mapped file is given back."""
        shape = shape_read(op, self.fitted or maps.layout)
        if kernel == "int8":
            source, wanted = maps.layout.plan.held(op.inputs[0]), self._filters[op.name]
            packed = quantised.Packed(op, wanted, shape, source)
            give_back_pages(wanted.weight)
            return packed
        own = folded(op, self._network, filters)
        match kernel:
            case "winograd":
                made: Weights = winograd.Transformed(own, op)
            case "direct":
                made = direct.Direct(own, op)
            case "depthwise":
                made = channelwise.Depthwise(own, op)
            case _:
                kind = torch.bfloat16 if kernel == "bfloat16" else torch.float32
                made = Packed(op, own, shape, kind)
        give_back_pages(own.kernel)
        return made


def bytes_packed(op: Op, channels: int, kernel: Kernel) -> int:
    """What a convolution's weights take as a kernel reads them."""
    layer = op.layer
    assert isinstance(layer, Conv)
    taps, filters = layer.kernel**2, layer.width
    if kernel == "winograd":
        taps = points(winograd.OUTPUTS[layer.kernel], layer.kernel).n ** 2
    if kernel in ("winograd", "direct"):  # whole panels for each group
        panel = processor().panel
        filters = layer.groups * panel * -(layer.width // layer.groups // -panel)
    size = {"bfloat16": 2, "int8": 1}.get(kernel, FLOAT)
    return size * taps * filters * (channels // layer.groups)


def pieces(op: Op, channels: int, kernel: Kernel) -> list[Span]:
    """The filters that are packed at a time in low memory; none: all are, and kept."""
    layer = op.layer
    assert isinstance(layer, Conv)
    count = -(bytes_packed(op, channels, kernel) // -PIECE)
    # Of a map that is added to what is made of it all channels are read.
    if count == 1 or layer.groups > 1 or op.added in op.inputs or kernel == "int8":
        return []
    panel = processor().panel if kernel in ("winograd", "direct") else 1
    each = panel * -(layer.width // -(count * panel))
    return [Span(n, min(n + each, layer.width)) for n in range(0, layer.width, each)]
