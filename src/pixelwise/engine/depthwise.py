"""Depthwise convolutions with gradients that a processor computes quickly in bf16 too.

oneDNN 3.12 has bf16 kernels for a depthwise convolution, for its input's gradient at stride 1, and
for its weights' up to windows of 3x3. What is left it computes by its reference code, which took
three fifths of a training step of FCN-4s-EfficientNet-Lite0. Here that is put in terms of those
kernels: the input's gradient is a convolution of the output's, set among zeros, with the turned
filter, and the gradient of a larger filter is made of those of 3x3 parts of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

PART = 3
"""Largest side of a filter for whose gradient oneDNN has a bf16 kernel."""
HALF = torch.bfloat16


def trained(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, C, h, w), the values of ``F.conv2d``; a gradient under autocast."""
    stride, pad, half = conv.stride[0], int(conv.padding[0]), torch.is_autocast_enabled("cpu")
    if half and torch.get_autocast_dtype("cpu") == HALF and x.is_cpu and torch.is_grad_enabled():
        made: Tensor = _Depthwise.apply(x.to(HALF), conv.weight.to(HALF), stride, pad)  # type: ignore[no-untyped-call]
        return made
    return _convolved(x, conv.weight, stride, pad)


def slow_in_half(conv: nn.Conv2d) -> bool:
    """Whether oneDNN computes a gradient of this convolution in bf16 by its reference code."""
    depthwise = conv.groups == conv.in_channels == conv.out_channels > 1
    plain = conv.bias is None and conv.dilation == (1, 1)
    return depthwise and plain and (conv.stride[0] > 1 or conv.kernel_size[0] > PART)


class _Depthwise(torch.autograd.Function):
    """``F.conv2d`` of square filters (C, 1, k, k), with the gradients of the module's docstring."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: int, pad: int) -> Tensor:
        return _convolved(x, weight, stride, pad)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int, int], output: Tensor) -> None:
        del output
        x, weight, ctx.stride, ctx.pad = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, towards: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight = ctx.needs_input_grad[:2]
        return (
            input_gradient(towards, weight, x.shape, ctx.stride, ctx.pad) if of_x else None,
            weight_gradient(towards, weight, x, ctx.stride, ctx.pad) if of_weight else None,
            None,
            None,
        )


def input_gradient(
    towards: Tensor, weight: Tensor, size: torch.Size, stride: int, pad: int
) -> Tensor:
    """Gradient of the input, which has shape ``size`` (N, C, H, W), from the output's."""
    side = weight.shape[-1]
    spread = towards
    if stride > 1:
        rows, columns = (n + 2 * pad - side + 1 for n in size[-2:])
        spread = towards.new_zeros((*size[:2], rows, columns))
        spread = spread.contiguous(memory_format=torch.channels_last)
        height, width = towards.shape[-2:]
        spread[..., : stride * height : stride, : stride * width : stride] = towards
    return _convolved(spread, weight.flip(2, 3), 1, side - 1 - pad)


def weight_gradient(towards: Tensor, weight: Tensor, x: Tensor, stride: int, pad: int) -> Tensor:
    """Gradient of the filters, in parts of 3x3 that may overlap."""
    side = weight.shape[-1]
    if side <= PART:
        return _weights_of(towards, weight, x, stride, pad)
    padded = F.pad(x, (pad, pad, pad, pad))
    made, part = torch.empty_like(weight), weight[..., :PART, :PART].contiguous()
    rows, columns = (stride * (n - 1) + PART for n in towards.shape[-2:])
    firsts = sorted({min(first, side - PART) for first in range(0, side, PART)})
    for i in firsts:
        for j in firsts:
            seen = padded[..., i : i + rows, j : j + columns]
            seen = seen.contiguous(memory_format=torch.channels_last)
            gradient = _weights_of(towards, part, seen, stride, 0)
            made[..., i : i + PART, j : j + PART] = gradient
    return made


def _convolved(x: Tensor, weight: Tensor, stride: int, pad: int) -> Tensor:
    return F.conv2d(x, weight, None, stride, pad, groups=len(weight))


def _weights_of(towards: Tensor, weight: Tensor, x: Tensor, stride: int, pad: int) -> Tensor:
    mask, channels = [False, True, False], len(weight)
    args = ([stride, stride], [pad, pad], [1, 1], False, [0, 0], channels, mask)
    made: Tensor = torch.ops.aten.convolution_backward(towards, x, weight, None, *args)[1]
    return made
