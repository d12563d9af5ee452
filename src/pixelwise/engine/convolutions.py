"""Which kernel carries out each convolution of a plan, and its weights as that one reads them."""

from __future__ import annotations

from collections.abc import Mapping
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
    spans_of,
)
from pixelwise.engine.rounding import in_float32, mixed
from pixelwise.engine.vectors import processor
from pixelwise.engine.workers import Workers
from pixelwise.nets.layers import Conv, Lrn
from pixelwise.nets.pooling import MaxPool

Kernel = Literal["winograd", "direct", "depthwise", "onednn", "bfloat16", "int8"]
"""Kernels of our own, and oneDNN's through torch: in float32, and in fewer bytes."""
Weights = winograd.Transformed | direct.Direct | channelwise.Depthwise | Packed | quantised.Packed


def in_use() -> str:
    """What carries out convolutions in float32 on this processor, and why, in words."""
    if why := unavailable():
        return f"torch's (oneDNN), since our own do not run here: {why}"
    own = processor()
    return f"our own for {own.name}, tiles of {own.rows}x{own.panel}"


def kernel_of(op: Op, channels: int, height: int, width: int) -> Kernel:
    """The kernel of a convolution that reads ``channels`` and makes maps of a size."""
    layer = op.layer
    assert isinstance(layer, Conv)
    if unavailable():
        return "onednn"
    if winograd.serves(op, channels // layer.groups, min(height, width)):
        return "winograd"
    if op.pool:  # nets of the catalogue have none that is left
        return "onednn"
    return "depthwise" if layer.groups == channels == layer.width else "direct"


class Convolutions:
    """The convolutions of a network; each is packed when it is first needed."""

    def __init__(
        self, network: Network, filters: Mapping[str, quantised.Filters] | None = None
    ) -> None:
        self._network, self._workers, self._filters = network, Workers(), filters or {}
        self.fitted: Layout | None = None
        """The size for whose maps oneDNN's weights are packed; None: the first that comes."""
        self._packed: dict[tuple[str, Kernel], Weights] = {}

    def work(self, op: Op, maps: Maps, kernel: Kernel | None = None) -> Work:
        """What carries a computation out on maps of one size; a convolution by ``kernel``.

        By default by the one for maps of this size.
        """
        plan = maps.layout.plan
        match plan.computes_in(op) if isinstance(op.layer, Conv) else "":
            case "uint8":
                return self._convolution(op, maps, "int8")
            case "bfloat16":
                return self._convolution(op, maps, "bfloat16")
        if mixed(op, plan):
            return in_float32(op, maps, lambda op, maps: self._in_float32(op, maps, kernel))
        return self._in_float32(op, maps, kernel)

    def _in_float32(self, op: Op, maps: Maps, kernel: Kernel | None) -> Work:
        match op.layer:
            case Conv():
                return self._convolution(op, maps, kernel)
            case MaxPool() if not unavailable() and maps.layout.plan.held(op.name) == FLOAT32:
                return channelwise.pooling(op, maps, self._workers)
            case Lrn(beta=0.75) if not unavailable():
                return channelwise.normalising(op, maps, self._workers)
        return operation(op, maps, self._network)

    def _convolution(self, op: Op, maps: Maps, kernel: Kernel | None) -> Work:
        rows, columns = spans_of(op, maps)
        channels = self._network.net.channels[op.inputs[0]]
        kernel = kernel or kernel_of(op, channels, rows.length, columns.length)
        match self._weights(op, kernel, maps):
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

    def _weights(self, op: Op, kernel: Kernel, maps: Maps) -> Weights:
        if (op.name, kernel) not in self._packed:
            shape = shape_read(op, self.fitted or maps.layout)
            if kernel == "int8":
                source, filters = maps.layout.plan.held(op.inputs[0]), self._filters[op.name]
                made: Weights = quantised.Packed(op, filters, shape, source)
                self._packed[op.name, kernel] = made
                return made
            own = folded(op, self._network)
            match kernel:
                case "winograd":
                    made = winograd.Transformed(own, op)
                case "direct":
                    made = direct.Direct(own, op)
                case "depthwise":
                    made = channelwise.Depthwise(own, op)
                case _:
                    kind = torch.bfloat16 if kernel == "bfloat16" else torch.float32
                    made = Packed(op, own, shape, kind)
            self._packed[op.name, kernel] = made
        return self._packed[op.name, kernel]
