"""Bilinear upsampling as the paper has it: a deconvolution whose kernel is a tent.

The two-dimensional kernel is the product of two one-dimensional ramps, so the deconvolution is done
one axis after the other; and along an axis a kernel of length at most 2s mixes two neighbours with
weights that depend only on the output's phase. That is a handful of multiply-adds per output, equal
to the full deconvolution up to rounding, for any size and either kernel parity.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.nets.spec import Edge


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
    """Weights of the two neighbours by phase.

    Returns:
        (2, stride) float64: row 0 for the cell at the output's own index // stride, row 1 for the
        one before it.

    Raises:
        ValueError: the kernel is longer than two strides.
    """
    if not stride <= kernel <= 2 * stride:
        raise ValueError(f"kernel {kernel} does not span between one and two strides of {stride}")
    ramp = torch.zeros(2 * stride, dtype=torch.float64)
    ramp[:kernel] = bilinear_ramp(kernel)
    return ramp.reshape(2, stride)


def upsample(x: Tensor, weights: Tensor, kernel: int, edge: Edge = "fade") -> Tensor:
    """The fixed bilinear deconvolution, without padding.

    Args:
        x: (N, K, h, w).
        weights: ``phases(kernel, stride)``, in the dtype and on the device to compute in.
        kernel: its length along an axis.
        edge: beyond the outermost cells there is nothing (``fade``), or their own value (``hold``).

    Returns:
        (N, K, s(h-1)+k, s(w-1)+k).
    """
    stride = weights.shape[1]
    shape = [stride * (n - 1) + kernel for n in x.shape[-2:]]
    # Rows last, so that the scores lie row by row in memory: softmax then takes half the time.
    x = _along_columns(x, weights, edge)[..., : shape[1]]
    return _along_rows(x, weights, edge)[..., : shape[0], :]


def _along_rows(x: Tensor, weights: Tensor, edge: Edge) -> Tensor:
    """(..., h, w) to (..., (h + 1) * stride, w): every row spread over its neighbours' phases."""
    if edge == "hold":
        x = torch.cat([x[..., :1, :], x, x[..., -1:, :]], dim=-2)
    else:
        x = F.pad(x, (0, 0, 1, 1))
    own, before = x[..., 1:, :].unsqueeze(-2), x[..., :-1, :].unsqueeze(-2)
    spread = own * weights[0, :, None] + before * weights[1, :, None]
    return spread.flatten(-3, -2)


def _along_columns(x: Tensor, weights: Tensor, edge: Edge) -> Tensor:
    """(..., h, w) to (..., h, (w + 1) * stride): the same for columns."""
    x = torch.cat([x[..., :1], x, x[..., -1:]], dim=-1) if edge == "hold" else F.pad(x, (1, 1))
    own, before = x[..., 1:].unsqueeze(-1), x[..., :-1].unsqueeze(-1)
    return (own * weights[0] + before * weights[1]).flatten(-2)
