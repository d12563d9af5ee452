"""Bilinear upsampling as the paper has it: a deconvolution whose kernel is a tent.

The two-dimensional kernel is the product of two one-dimensional ramps, so the deconvolution is done
one axis after the other; and along an axis a kernel of length 2s or 2s - 1 mixes two neighbours
with shares that depend only on the output's phase and add up to 1. That is one interpolation per
output and axis, equal to the full deconvolution up to rounding, for any size and kernel parity.

Its gradient is written out: left to autograd, every product would be kept and summed at full size.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.geometry import deconv_size
from pixelwise.nets.layers import Edge

Axis = Literal[-2, -1]


def bilinear_ramp(kernel: int) -> Tensor:
    """The tent 1 - |i - c| / f with f = (k + 1) // 2 (surgery.py; Caffe's BilinearFiller).

    Returns:
        (kernel,) float64; the 2-D kernel is its outer product with itself and sums to f * f.
    """
    factor = (kernel + 1) // 2
    centre = factor - 1 if kernel % 2 else factor - 0.5
    return 1 - (torch.arange(kernel, dtype=torch.float64, device="cpu") - centre).abs() / factor


def bilinear_kernel(kernel: int, channels: int) -> Tensor:
    """The dense weight (channels, channels, k, k) float32: a tent on the diagonal, else zero."""
    ramp = bilinear_ramp(kernel)
    weight = torch.zeros(channels, channels, kernel, kernel, device="cpu")
    index = list(range(channels))
    weight[index, index] = torch.outer(ramp, ramp).float()
    return weight


def phases(kernel: int, stride: int) -> Tensor:
    """The share of the cell at the output's own index // stride; the one before it has the rest.

    Returns:
        (stride,) float64, by phase. ValueError: the kernel is neither two strides nor one less.
    """
    if kernel not in (2 * stride - 1, 2 * stride):
        raise ValueError(f"kernel {kernel} does not interpolate at a stride of {stride}")
    return bilinear_ramp(kernel)[:stride]


class Window(NamedTuple):
    """The part of an upsampled map that is wanted: what a crop leaves of it."""

    top: int
    """The first row and column of the whole map that are wanted."""
    left: int
    height: int
    width: int


def upsample(
    x: Tensor, shares: Tensor, kernel: int, edge: Edge = "fade", window: Window | None = None
) -> Tensor:
    """The fixed bilinear deconvolution, without padding. What is not wanted is not computed.

    Args:
        x: (N, K, h, w).
        shares: ``phases(kernel, stride)``, on the device to compute on.
        kernel: its length along an axis.
        edge: beyond the outermost cells there is nothing (``fade``), or their own value (``hold``).
        window: the part that is wanted, which lies in the map (ValueError); None: all.

    Returns:
        (N, K, H, W) of the window, or (N, K, s(h-1)+k, s(w-1)+k), in the wider dtype of the two.
    """
    height, width = (deconv_size(n, kernel, len(shares)) for n in x.shape[-2:])
    window = window or Window(0, 0, height, width)
    top, left, tall, wide = window
    if not (0 <= top <= height - tall and 0 <= left <= width - wide):
        raise ValueError(f"{window} does not lie in a map of {height}x{width}")
    x = x.to(torch.promote_types(x.dtype, shares.dtype))
    shares = shares.to(x.dtype)
    if torch.is_grad_enabled() and x.requires_grad:
        out: Tensor = _Upsampling.apply(x, shares, edge, window)  # type: ignore[no-untyped-call]
        return out
    return _forward(x, shares, edge, window)


class _Upsampling(torch.autograd.Function):
    """``_forward`` with the gradient that a linear map has: its own transpose."""

    @staticmethod
    def forward(x: Tensor, shares: Tensor, edge: Edge, window: Window) -> Tensor:
        # No view for torch, which would refuse to let it be written into.
        return _forward(x, shares, edge, window).detach()

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Edge, Window], output: Tensor
    ) -> None:
        del output
        x, shares, ctx.edge, window = inputs
        ctx.save_for_backward(shares)
        ctx.window, ctx.size = window, x.shape[-2:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (shares,) = ctx.saved_tensors
        height, width = ctx.size
        rows = _gather(gradients[0], shares, ctx.edge, -2, ctx.window.top, height)
        return _gather(rows, shares, ctx.edge, -1, ctx.window.left, width), None, None, None


def _forward(x: Tensor, shares: Tensor, edge: Edge, window: Window) -> Tensor:
    # What the window does not read is cut off while the map is small: a strip of a few rows of a
    # large picture costs a few rows.
    x = cells(x, edge, -2, len(shares), window.top, window.height)
    # Rows last, so that the scores lie row by row in memory: softmax then takes half the time.
    x = along_columns(x, shares, edge, window)
    return _spread(x, shares, -2, window.top, window.height)


def along_columns(x: Tensor, shares: Tensor, edge: Edge, window: Window) -> Tensor:
    """Only the columns of the window; the last axis is theirs."""
    x = cells(x, edge, -1, len(shares), window.left, window.width)
    return _spread(x, shares, -1, window.left, window.width)


def cells(x: Tensor, edge: Edge, axis: Axis, stride: int, start: int, length: int) -> Tensor:
    """The cells between which outputs ``start`` to ``start + length`` lie, the rim's included.

    Output t lies between cells t // stride - 1 and t // stride.
    """
    if edge == "hold":
        x = torch.cat([x.narrow(axis, 0, 1), x, x.narrow(axis, -1, 1)], dim=axis)
    else:
        x = F.pad(x, (1, 1) if axis == -1 else (0, 0, 1, 1))
    return x.narrow(axis, start // stride, _strides(start, length, stride) + 1)


def _strides(start: int, length: int, stride: int) -> int:
    """How many strides of outputs hold so many from ``start`` on; first and last may be cut."""
    return -(-(start % stride + length) // stride)


def _spread(x: Tensor, shares: Tensor, axis: Axis, start: int, length: int) -> Tensor:
    """Outputs ``start`` to ``start + length`` along an axis, each between two of ``cells``."""
    strides = _strides(start, length, len(shares))
    before, own = (x.narrow(axis, i, strides).unsqueeze(axis) for i in (0, 1))
    spread = torch.lerp(before, own, shares if axis == -1 else shares[:, None])
    return spread.flatten(axis - 1, axis).narrow(axis, start % len(shares), length)


def _gather(gradient: Tensor, shares: Tensor, edge: Edge, axis: Axis, start: int, n: int) -> Tensor:
    """The transpose of ``_spread``: each of n cells gets back its share of what it went into."""
    stride = len(shares)
    shape = list(gradient.shape)
    shape[axis] = n + 2
    padded = gradient.new_zeros(shape)
    for first in range(stride):
        cell, phase = divmod(start + first, stride)
        part = gradient.movedim(axis, -1)[..., first::stride].movedim(-1, axis)
        count = part.shape[axis]
        padded.narrow(axis, cell + 1, count).addcmul_(part, shares[phase])
        padded.narrow(axis, cell, count).addcmul_(part, 1 - shares[phase])
    own = padded.narrow(axis, 1, n)
    if edge == "hold":  # the rim repeats the outermost cells
        own.narrow(axis, 0, 1).add_(padded.narrow(axis, 0, 1))
        own.narrow(axis, -1, 1).add_(padded.narrow(axis, -1, 1))
    return own
