"""Pyramid pooling: means over parts of a map, and such means back at a map's size.

Torch's kernels for both on a GPU add gradients in the order in which threads come, so that a run
ended with other bits each time (H200, torch 2.11). What trains there takes products with a small
matrix along each axis, which are alike each time.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pool(x: Tensor, *, bins: int) -> Tensor:
    """(N, C, h, w) to means over parts (N, C, bins, bins); parts share a row where h is odd."""
    if not trains_on_gpu(x):
        return F.adaptive_avg_pool2d(x, bins)
    return along_both(x, *(parts(length, bins) for length in x.shape[-2:]))


def resize(x: Tensor, like: Tensor) -> Tensor:
    """(N, C, h, w) to (N, C, H, W), the size of ``like``: bilinear, corner on corner."""
    if not trains_on_gpu(x):
        return F.interpolate(x, like.shape[-2:], mode="bilinear", align_corners=True)
    sizes = zip(x.shape[-2:], like.shape[-2:], strict=True)
    return along_both(x, *(tents(length, wanted) for length, wanted in sizes))


def trains_on_gpu(x: Tensor) -> bool:
    """Whether a gradient of the map (N, C, h, w) will be asked for, and torch's would vary."""
    return x.is_cuda and x.requires_grad


def along_both(x: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Each map of (N, C, h, w) times (H, h) from the left and the transpose of (W, w)."""
    rows, columns = rows.to(x), columns.to(x)
    return rows @ (x @ columns.T)


def parts(length: int, bins: int) -> Tensor:
    """(bins, length) float64: means, of floor(i length / bins) to ceil((i + 1) length / bins)."""
    shares = torch.zeros(bins, length, dtype=torch.float64, device="cpu")
    for i in range(bins):
        first, end = i * length // bins, -(-(i + 1) * length // bins)
        shares[i, first:end] = 1 / (end - first)
    return shares


def tents(length: int, wanted: int) -> Tensor:
    """(wanted, length) float64: linear interpolation, the first and last cells at the ends."""
    cells = torch.arange(length, dtype=torch.float64, device="cpu")
    at = torch.arange(wanted, dtype=torch.float64, device="cpu") * (length - 1) / max(1, wanted - 1)
    return (1 - (at[:, None] - cells).abs()).clamp(min=0)
