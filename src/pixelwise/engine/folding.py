"""Weights as a plan's convolutions use them: what is linear around them is multiplied in."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.engine.fusing import Op
from pixelwise.engine.network import Network
from pixelwise.engine.spans import Span
from pixelwise.nets.layers import BatchNorm


@dataclass(frozen=True)
class Weights:
    """Of one convolution."""

    kernel: Tensor
    """(K, C / groups, k, k) float32."""
    bias: Tensor
    """(K,) float32, zero where the layer has none."""


def folded(op: Op, network: Network, filters: Span | None = None) -> Weights:
    """A convolution's weights with its factor and its batch normalisation in them.

    Of some ``filters`` alone where they are given, if it has one group.
    """
    own = slice(*filters) if filters else slice(None)
    kernel = network.get_parameter(f"{op.layer.name}.weight").detach()[own]
    bias = network.get_submodule(op.layer.name).bias
    shift = bias.detach()[own] if isinstance(bias, Tensor) else kernel.new_zeros(len(kernel))
    if not (op.factor or op.norm):
        return Weights(kernel, shift)
    # In float64: rounding once more than the separate layers would be an error of its own.
    kernel, shift = kernel.double(), shift.double()
    if op.factor:
        factor = network.get_buffer(f"{op.factor}.weight").double()
        by_group = factor.view(-1, kernel.shape[1])  # a row for each group of filters
        by_filter = by_group.repeat_interleave(len(kernel) // len(by_group), dim=0)
        kernel = kernel * by_filter[:, :, None, None]
    if op.norm:
        norm = network.net.layers[op.norm]
        assert isinstance(norm, BatchNorm)
        mean, variance = (network.get_buffer(f"{op.norm}.running_{s}") for s in ("mean", "var"))
        scale, offset = (network.get_parameter(f"{op.norm}.{s}") for s in ("weight", "bias"))
        factor = (scale.detach().double() / torch.sqrt(variance.double() + norm.eps))[own]
        kernel = kernel * factor[:, None, None, None]
        shift = (shift - mean.double()[own]) * factor + offset.detach().double()[own]
    return Weights(kernel.float(), shift.float())
