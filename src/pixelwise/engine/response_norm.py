"""Caffe's local response normalisation across channels, y = x (k + alpha/n sum x^2)^-beta.

The sum over neighbouring channels is a 1x1 convolution with a band of ones: a small matrix product
that keeps the memory layout. With b for the base and g for the gradient of y, the gradient of x is
g b^-beta - 2 alpha beta / n * x * sum(g y / b) over the channels whose sum holds x. Written out
like this a training step passes over the maps a few times; autograd would pass over each product.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.nets.layers import Lrn


class AcrossChannelNorm(nn.Module):
    """The normalisation as a module; it has no weights."""

    near: Tensor

    def __init__(self, layer: Lrn, channels: int) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("near", neighbours(layer.window, channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), normalised over neighbouring channels."""
        return normalise(x, self.near, self.layer)


def neighbours(window: int, channels: int) -> Tensor:
    """Which channels are summed for which, as Caffe has it: half the window before, the rest after.

    Returns:
        (channels, channels, 1, 1) float32, 1 where the second is in the window of the first.
    """
    # On meta, where nets are made before they are filled, torch would import 800 modules for it.
    index = torch.arange(channels, device="cpu")
    ahead = index - index[:, None]
    near = (-(window // 2) <= ahead) & (ahead <= (window - 1) // 2)
    return near.float()[:, :, None, None]


def normalise(x: Tensor, near: Tensor, layer: Lrn) -> Tensor:
    """``x`` (N, C, h, w), in whose float type it is computed; near: ``neighbours(window, C)``."""
    if torch.is_grad_enabled() and x.requires_grad:
        out: tuple[Tensor, ...] = _Normalisation.apply(x, near, layer)  # type: ignore[no-untyped-call]
        return out[0]
    return x * _power(_base(x, near, layer), layer)


class _Normalisation(torch.autograd.Function):
    """``x`` times its factor, with the gradient of the module's docstring."""

    @staticmethod
    def forward(x: Tensor, near: Tensor, layer: Lrn) -> tuple[Tensor, Tensor, Tensor]:
        base = _base(x, near, layer)
        factor = _power(base, layer)
        return x * factor, base, factor  # the last two are for ``setup_context``

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Tensor, Lrn], output: tuple[Tensor, Tensor, Tensor]
    ) -> None:
        x, near, ctx.layer = inputs
        _, base, factor = output
        ctx.mark_non_differentiable(base, factor)
        ctx.set_materialize_grads(False)  # theirs would be zeros of full size
        ctx.save_for_backward(x, base, factor, near)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        if gradients[0] is None:
            return None, None, None
        x, base, factor, near = ctx.saved_tensors
        layer: Lrn = ctx.layer
        if torch.is_grad_enabled():  # for gradients of gradients, what depends on x is made of it
            base = _base(x, near, layer)
            factor = _power(base, layer)
        straight = gradients[0] * factor
        share = -2 * layer.alpha * layer.beta / layer.window
        around = _sum(straight * x / base, share * near.transpose(0, 1))
        return torch.addcmul(straight, around, x), None, None


def _base(x: Tensor, near: Tensor, layer: Lrn) -> Tensor:
    k = torch.full(near.shape[:1], layer.k, device=x.device)
    return _sum(x.square(), layer.alpha / layer.window * near, k)


def _sum(x: Tensor, weights: Tensor, start: Tensor | None = None) -> Tensor:
    """Over channels, in the type of ``x``: autocast would round a float32 one to bfloat16."""
    with torch.autocast(x.device.type, enabled=False):
        return F.conv2d(x, weights.to(x.dtype), None if start is None else start.to(x.dtype))


def _power(base: Tensor, layer: Lrn) -> Tensor:
    if layer.beta == 0.75:  # two roots take less time than a power
        root = base.rsqrt()
        return root * root.sqrt()
    return base**-layer.beta
