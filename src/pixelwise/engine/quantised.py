"""Convolutions in eight bits, by oneDNN: weights of int8, maps of uint8, sums of int32.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (CVPR 2018): a filter's weights have one scale and no zero point, a map has both. A
product is scaled, biased, cut by its ReLU and rounded to the next map's numbers in registers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op, Plan
from pixelwise.engine.layout import Maps
from pixelwise.engine.lowering import convolutions, in_eight_bits
from pixelwise.engine.numbers import FLOAT32, Numbers
from pixelwise.engine.operations import Work, cut_off, given, largest, scores_first
from pixelwise.engine.rounding import floats, write
from pixelwise.nets.layers import Conv

STEPS = 127
"""Steps of int8 on each side of zero; -128 is left out, so that a filter and its negative agree."""


# -- weights --------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Filters:
    """A convolution's weights in eight bits, with what is folded into them."""

    weight: Tensor
    """(K, C / groups, k, k) int8."""
    scale: Tensor
    """(K,) float32: what a step of each filter means."""
    bias: Tensor
    """(K,) float32."""

    @staticmethod
    def of(weights: Weights) -> Filters:
        """The nearest to weights in float32."""
        scale = weights.kernel.abs().flatten(1).amax(1).div_(STEPS)
        scale = torch.where(scale > 0, scale, 1.0)
        steps = weights.kernel / scale[:, None, None, None]
        return Filters(steps.round_().to(torch.int8), scale, weights.bias)


@dataclass(frozen=True)
class Quantised:
    """A net in eight bits: what its maps hold, and its convolutions but for those left exact."""

    numbers: Mapping[str, Numbers]
    """By map with memory."""
    filters: Mapping[str, Filters]
    """By computation."""

    def plan(self, plan: Plan) -> Plan:
        """The plan with eight bits in its maps."""
        exact = [op.name for op in convolutions(plan) if op.name not in self.filters]
        return in_eight_bits(plan, self.numbers, exact)


class Packed:
    """Filters in the order in which oneDNN reads them for maps of a shape and of given numbers."""

    def __init__(self, op: Op, filters: Filters, shape: list[int], source: Numbers) -> None:
        layer = op.layer
        assert isinstance(layer, Conv)
        self.layer, self.source, self.scale, self.bias = layer, source, filters.scale, filters.bias
        self._zeros = torch.zeros(len(filters.scale), dtype=torch.int64)
        self._where = ([layer.stride] * 2, [0, 0], [layer.dilation] * 2)
        told = (source.scale, source.zero, *self._where, layer.groups, shape)
        self._weight = torch.ops.onednn.qconv_prepack(filters.weight, filters.scale, *told)

    def convolved(
        self, x: Tensor, made: Numbers, ceiling: float | None, added: Tensor | None = None
    ) -> Tensor:
        """(N, C, H, W) uint8, padding included, to (N, K, h, w) in the numbers of ``made``.

        A ReLU cuts at ``ceiling``. What is ``added`` before has its numbers in that of ``made``,
        and is written over.
        """
        source, kind = self.source, getattr(torch, made.kind)
        given = (x, source.scale, source.zero, self._weight, self.scale, self._zeros)
        told = (self.bias, *self._where, self.layer.groups, made.scale, made.zero, kind)
        relu, limits = "none", list[float]()
        if ceiling is not None:
            relu, limits = ("relu", []) if math.isinf(ceiling) else ("hardtanh", [0.0, ceiling])
        convolve = torch.ops.onednn.qconv2d_pointwise
        if added is None:
            out: Tensor = convolve(*given, *told, relu, limits, "")
            return out
        sum_of = (made.scale, made.zero, "sum", 1.0, relu, limits, "")
        summed: Tensor = convolve.binary(*given, added, *told, *sum_of)
        return summed


# -- work -----------------------------------------------------------------------------------------
def convolution(op: Op, maps: Maps, packed: Packed) -> Work:
    """A convolution of eight bits with all that is folded into it."""
    (source,), target = given(op, maps), scores_first(maps.computed(op))
    x, plan = scores_first(source), maps.layout.plan
    made = plan.held(op.name)
    added = scores_first(maps.cut(op.added, *maps.layout.made(op))) if op.added else None
    same = bool(op.added) and plan.held(op.added) == made != FLOAT32

    def work() -> None:
        if added is None:
            out = packed.convolved(x, made, op.ceiling)
        elif same:
            out = packed.convolved(x, made, op.ceiling, added.clone())
        else:
            out = packed.convolved(x, FLOAT32, None)
            out = cut_off(out.add_(floats(added, plan.held(op.added))), op.ceiling)
        out = largest(out, op.pool, target) if op.pool else out
        target.copy_(out) if out.dtype == target.dtype else write(out, target, made)

    return work
