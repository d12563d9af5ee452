"""Bilinear upsampling as the paper has it: a deconvolution whose kernel is a tent.

The two-dimensional kernel is the product of two one-dimensional ramps, so the deconvolution is done
one axis after the other; and along an axis a kernel of length 2s or 2s - 1 mixes two neighbours
with shares that depend only on the output's phase and add up to 1. That is one interpolation per
output and axis, equal to the full deconvolution up to rounding, for any size and kernel parity.

Its gradient is written out: left to autograd, every product would be kept and summed at full size.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.nets.spec import Edge

Axis = Literal[-2, -1]


def bilinear_ramp(kernel: int) -> Tensor:
    """The tent 1 - |i - c| / f with f = (k + 1) // 2 (surgery.py; Caffe's BilinearFiller).

    Returns:
        (kernel,) float64; the 2-D kernel is its outer product with itself and sums to f * f.
    """
    factor = (kernel + 1) // 2
    centre = factor - 1 if kernel % 2 else factor - 0.5
    return 1 - (torch.arange(kernel, dtype=torch.float64) - centre).abs() / factor


def bilinear_kernel(kernel: int, channels: int) -> Tensor:
    """The dense weight (channels, channels, k, k) float32: a tent on the diagonal, else zero."""
    ramp = bilinear_ramp(kernel)
    weight = torch.zeros(channels, channels, kernel, kernel)
    index = torch.arange(channels)
    weight[index, index] = torch.outer(ramp, ramp).float()
    return weight


def phases(kernel: int, stride: int) -> Tensor:
    """The share of the cell at the output's own index // stride; the one before it has the rest.

    Returns:
        (stride,) float64, by phase.

    Raises:
        ValueError: the kernel is neither two strides long nor one less.
    """
    if kernel not in (2 * stride - 1, 2 * stride):
        raise ValueError(f"kernel {kernel} does not interpolate at a stride of {stride}")
    return bilinear_ramp(kernel)[:stride]


def upsample(x: Tensor, shares: Tensor, kernel: int, edge: Edge = "fade") -> Tensor:
    """The fixed bilinear deconvolution, without padding.

    Args:
        x: (N, K, h, w).
        shares: ``phases(kernel, stride)``, in the dtype and on the device to compute in.
        kernel: its length along an axis.
        edge: beyond the outermost cells there is nothing (``fade``), or their own value (``hold``).

    Returns:
        (N, K, s(h-1)+k, s(w-1)+k) in the wider dtype of the two.
    """
    x = x.to(torch.promote_types(x.dtype, shares.dtype))
    shares = shares.to(x.dtype)
    if torch.is_grad_enabled() and x.requires_grad:
        out: Tensor = _Upsampling.apply(x, shares, kernel, edge)  # type: ignore[no-untyped-call]
        return out
    return _forward(x, shares, kernel, edge)


class _Upsampling(torch.autograd.Function):
    """``_forward`` with the gradient that a linear map has: its own transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shares: Tensor, kernel: int, edge: Edge) -> Tensor:
        ctx.save_for_backward(shares)
        ctx.edge, ctx.size = edge, x.shape[-2:]
        # No view for torch, which would refuse to let it be written into.
        return _forward(x, shares, kernel, edge).data

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (shares,) = ctx.saved_tensors
        height, width = ctx.size
        rows = _gather(gradients[0], shares, ctx.edge, -2, height)
        return _gather(rows, shares, ctx.edge, -1, width), None, None, None


def _forward(x: Tensor, shares: Tensor, kernel: int, edge: Edge) -> Tensor:
    # Rows last, so that the scores lie row by row in memory: softmax then takes half the time.
    return _spread(_spread(x, shares, kernel, edge, -1), shares, kernel, edge, -2)


def _spread(x: Tensor, shares: Tensor, kernel: int, edge: Edge, axis: Axis) -> Tensor:
    """n cells along an axis to stride * (n - 1) + kernel outputs, each between two neighbours."""
    n, stride = x.shape[axis], len(shares)
    if edge == "hold":
        x = torch.cat([x.narrow(axis, 0, 1), x, x.narrow(axis, -1, 1)], dim=axis)
    else:
        x = F.pad(x, (1, 1) if axis == -1 else (0, 0, 1, 1))
    before, own = x.narrow(axis, 0, n + 1), x.narrow(axis, 1, n + 1)
    by_phase = shares if axis == -1 else shares[:, None]
    spread = torch.lerp(before.unsqueeze(axis), own.unsqueeze(axis), by_phase)
    return spread.flatten(axis - 1, axis).narrow(axis, 0, stride * (n - 1) + kernel)


def _gather(gradient: Tensor, shares: Tensor, edge: Edge, axis: Axis, n: int) -> Tensor:
    """The transpose of ``_spread``: each of n cells gets back its share of what it went into."""
    shape = list(gradient.shape)
    shape[axis] = n + 2
    padded = gradient.new_zeros(shape)
    for phase, share in enumerate(shares):
        part = gradient.movedim(axis, -1)[..., phase :: len(shares)].movedim(-1, axis)
        count = part.shape[axis]
        padded.narrow(axis, 1, count).addcmul_(part, share)
        padded.narrow(axis, 0, count).addcmul_(part, 1 - share)
    cells = padded.narrow(axis, 1, n)
    if edge == "hold":  # the rim repeats the outermost cells
        cells.narrow(axis, 0, 1).add_(padded.narrow(axis, 0, 1))
        cells.narrow(axis, -1, 1).add_(padded.narrow(axis, -1, 1))
    return cells
