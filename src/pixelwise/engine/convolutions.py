"""Which kernel carries out each convolution of a plan, and its weights as that one reads them."""

from __future__ import annotations

from typing import Literal

from pixelwise.engine import channelwise, direct, winograd
from pixelwise.engine.folding import folded
from pixelwise.engine.fusing import Op
from pixelwise.engine.kernels import unavailable
from pixelwise.engine.layout import Maps
from pixelwise.engine.network import Network
from pixelwise.engine.operations import Packed, Work, convolution, operation, spans_of
from pixelwise.engine.vectors import processor
from pixelwise.engine.workers import Workers
from pixelwise.nets.layers import Conv, Lrn
from pixelwise.nets.pooling import MaxPool

Kernel = Literal["winograd", "direct", "depthwise", "onednn"]
"""Kernels of our own, and torch's."""
Weights = winograd.Transformed | direct.Direct | channelwise.Depthwise | Packed


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

    def __init__(self, network: Network) -> None:
        self._network, self._workers = network, Workers()
        self._packed: dict[tuple[str, Kernel], Weights] = {}

    def work(self, op: Op, maps: Maps, kernel: Kernel | None = None) -> Work:
        """What carries a computation out on maps of one size; a convolution by ``kernel``.

        By default by the one for maps of this size.
        """
        match op.layer:
            case Conv():
                return self._convolution(op, maps, kernel)
            case MaxPool() if not unavailable():
                return channelwise.pooling(op, maps, self._workers)
            case Lrn(beta=0.75) if not unavailable():
                return channelwise.normalising(op, maps, self._workers)
        return operation(op, maps, self._network)

    def _convolution(self, op: Op, maps: Maps, kernel: Kernel | None) -> Work:
        rows, columns = spans_of(op, maps)
        channels = self._network.net.channels[op.inputs[0]]
        kernel = kernel or kernel_of(op, channels, rows.length, columns.length)
        match self._weights(op, kernel):
            case winograd.Transformed() as weights:
                return winograd.convolution(op, maps, weights, self._workers)
            case direct.Direct() as weights:
                return direct.convolution(op, maps, weights, self._workers)
            case channelwise.Depthwise() as weights:
                return channelwise.per_channel(op, maps, weights, self._workers)
            case weights:
                return convolution(op, maps, weights)

    def _weights(self, op: Op, kernel: Kernel) -> Weights:
        if (op.name, kernel) not in self._packed:
            own = folded(op, self._network)
            assert isinstance(op.layer, Conv)
            match kernel:
                case "winograd":
                    made: Weights = winograd.Transformed(own, op)
                case "direct":
                    made = direct.Direct(own, op)
                case "depthwise":
                    made = channelwise.Depthwise(own, op)
                case "onednn":
                    made = Packed(op.layer, own)
            self._packed[op.name, kernel] = made
        return self._packed[op.name, kernel]
