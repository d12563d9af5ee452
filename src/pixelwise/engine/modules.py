"""What each kind of record is carried out by: a torch module.

Parameters are named as the records name them, ``weight`` and ``bias``, so that a file's names are
``<layer>.<array>``.
"""

from __future__ import annotations

import math
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.engine.plan import CutUpsampling
from pixelwise.engine.response_norm import neighbours, normalise
from pixelwise.engine.upsampling import Window, bilinear_kernel, phases, upsample
from pixelwise.geometry import sides
from pixelwise.nets.joining import Concat, Crop, Sum
from pixelwise.nets.layers import (
    BatchNorm,
    Conv,
    Deconv,
    Dropout,
    Edge,
    Lrn,
    Relu,
    Scale,
    Softmax,
    Upsample,
)
from pixelwise.nets.pooling import AvgPool, GlobalAvgPool, MaxPool, Unpool
from pixelwise.nets.record import Layer


@singledispatch
def make(layer: Layer, given: tuple[int, ...]) -> nn.Module:
    """The module for a record whose inputs have ``given`` channels."""
    raise TypeError(f"no module for {layer} on {given} channels")


@make.register
def _(layer: Conv, given: tuple[int, ...]) -> nn.Module:
    before, after = sides(layer.pad)
    conv = nn.Conv2d(
        given[0],
        layer.width,
        layer.kernel,
        layer.stride,
        before if before == after else 0,
        layer.dilation,
        layer.groups,
        layer.bias,
    )
    match layer.init:
        case "zero":
            nn.init.zeros_(conv.weight)
        case "he":
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv if before == after else UnevenConvolution(conv, before, after)


@make.register
def _(layer: Deconv, given: tuple[int, ...]) -> nn.Module:
    return Deconvolution(layer, given[0])


@make.register
def _(layer: Upsample, given: tuple[int, ...]) -> nn.Module:
    if layer.learned:
        return LearnedUpsampling(given[0], layer.kernel, layer.stride, layer.edge)
    return FixedUpsampling(layer.kernel, layer.stride, layer.edge)


@make.register
def _(layer: CutUpsampling, given: tuple[int, ...]) -> nn.Module:
    del given
    whole = layer.upsampling
    return FixedUpsampling(whole.kernel, whole.stride, whole.edge, layer.crop.offset)


@make.register
def _(layer: MaxPool, given: tuple[int, ...]) -> nn.Module:
    del given
    before, after = sides(layer.pad)
    if before != after:
        return UnevenMaxPooling(layer)
    return nn.MaxPool2d(
        layer.kernel, layer.stride, before, ceil_mode=layer.ceil, return_indices=layer.indices
    )


@make.register
def _(layer: Unpool, given: tuple[int, ...]) -> nn.Module:
    del layer, given
    return Unpooling()


@make.register
def _(layer: AvgPool, given: tuple[int, ...]) -> nn.Module:
    del given
    return nn.AvgPool2d(layer.kernel, layer.stride, ceil_mode=True)


@make.register
def _(layer: GlobalAvgPool, given: tuple[int, ...]) -> nn.Module:
    del layer, given
    return nn.AdaptiveAvgPool2d(1)


@make.register
def _(layer: Relu, given: tuple[int, ...]) -> nn.Module:
    del given
    return nn.ReLU() if math.isinf(layer.ceiling) else nn.Hardtanh(0.0, layer.ceiling)


@make.register
def _(layer: Lrn, given: tuple[int, ...]) -> nn.Module:
    return AcrossChannelNorm(layer, given[0])


@make.register
def _(layer: BatchNorm, given: tuple[int, ...]) -> nn.Module:
    return nn.BatchNorm2d(given[0], eps=layer.eps)


@make.register
def _(layer: Dropout, given: tuple[int, ...]) -> nn.Module:
    del given
    return nn.Dropout(layer.p)


@make.register
def _(layer: Scale, given: tuple[int, ...]) -> nn.Module:
    return FixedScale(given[0], layer.value)


@make.register
def _(layer: Softmax, given: tuple[int, ...]) -> nn.Module:
    del layer, given
    return nn.Softmax(dim=1)


@make.register
def _(layer: Crop, given: tuple[int, ...]) -> nn.Module:
    del given
    return CropLike(layer.offset)


@make.register
def _(layer: Sum, given: tuple[int, ...]) -> nn.Module:
    del layer, given
    return SumMaps()


@make.register
def _(layer: Concat, given: tuple[int, ...]) -> nn.Module:
    del layer, given
    return ConcatChannels()


# -- modules that torch does not have ----------------------------------------------------------
class UnevenConvolution(nn.Module):
    """A convolution with more padding after than before, or the other way round."""

    def __init__(self, conv: nn.Conv2d, before: int, after: int) -> None:
        super().__init__()
        self.weight, self.bias = conv.weight, conv.bias
        self.margin = (before, after, before, after)
        self.stride, self.dilation, self.groups = conv.stride, conv.dilation, conv.groups

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, width, ...), as ``geometry.conv_size`` says."""
        x = F.pad(x, self.margin)
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


class Deconvolution(nn.Module):
    """A deconvolution of any kernel, stride, pad and width."""

    def __init__(self, layer: Deconv, channels: int) -> None:
        super().__init__()
        self.layer = layer
        shapes = layer.parameters((channels,))
        self.weight = nn.Parameter(torch.empty(shapes["weight"]))
        self.bias = nn.Parameter(torch.zeros(shapes["bias"])) if layer.bias else None
        if layer.init == "bilinear":
            per = layer.width // layer.groups  # the dense kernel's blocks on the diagonal
            starts = range(0, layer.width, per)
            dense = bilinear_kernel(layer.kernel, layer.width)
            self.weight.data.copy_(torch.cat([dense[i : i + per, i : i + per] for i in starts]))
        else:
            # He et al. 2015, eq. 10: a cell of the output sums channels x (kernel / stride)^2
            # products on average; torch's own rule would count those of a cell of the input.
            taps = channels // layer.groups * (layer.kernel / layer.stride) ** 2
            nn.init.normal_(self.weight, std=math.sqrt(2 / taps))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) to (N, width, ...), as ``geometry.deconv_size`` says."""
        layer, (before, after) = self.layer, sides(self.layer.pad)
        even = min(before, after)
        out = F.conv_transpose2d(x, self.weight, self.bias, layer.stride, even, groups=layer.groups)
        h, w = (n - (before - even) - (after - even) for n in out.shape[-2:])
        return out.narrow(-2, before - even, h).narrow(-1, before - even, w)


class UnevenMaxPooling(nn.Module):
    """Max pooling with more padding on one side; torch's own has as much on both."""

    def __init__(self, layer: MaxPool) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(N, C, h, w) to the maxima, and with ``indices`` where in ``x`` they stood."""
        layer, (h, w) = self.layer, x.shape[-2:]
        before = sides(layer.pad)[0]
        # As far as the last window reaches, which may be less than the padding: then it is cut.
        after = [(layer.size((n,)) - 1) * layer.stride + layer.kernel - before - n for n in (w, h)]
        x = F.pad(x, (before, after[0], before, after[1]), value=-math.inf)
        if not layer.indices:
            return F.max_pool2d(x, layer.kernel, layer.stride)
        out, at = F.max_pool2d(x, layer.kernel, layer.stride, return_indices=True)
        rows, columns = at // x.shape[-1] - before, at % x.shape[-1] - before
        return out, rows * w + columns


class Unpooling(nn.Module):
    """Values set among zeros, each where its maximum stood."""

    def forward(self, x: Tensor, indices: Tensor, like: Tensor) -> Tensor:
        """(N, C, h, w), (N, C, h, w) int64 and (.., H, W) to (N, C, H, W)."""
        h, w = like.shape[-2:]
        zeros = x.new_zeros((*x.shape[:2], h * w))
        return zeros.scatter(2, indices.flatten(2), x.flatten(2)).view(*x.shape[:2], h, w)


class FixedUpsampling(nn.Module):
    """A bilinear deconvolution that is never trained and stands in no state dict.

    Given a second map, it computes the window of that map's size that begins at ``offset``.
    """

    shares: Tensor

    def __init__(self, kernel: int, stride: int, edge: Edge, offset: int = 0) -> None:
        super().__init__()
        self.kernel, self.edge, self.offset = kernel, edge, offset
        self.register_buffer("shares", phases(kernel, stride).float(), persistent=False)

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """(N, K, h, w) to (N, K, s(h-1)+k, s(w-1)+k) or the window.

        In the wider dtype of map and module: float32 unless the module itself was cast.
        """
        window = None if like is None else Window(self.offset, self.offset, *like.shape[-2:])
        return upsample(x, self.shares, self.kernel, self.edge, window)


class LearnedUpsampling(nn.Module):
    """A dense deconvolution that starts as the bilinear one, with the same treatment of the rim."""

    def __init__(self, channels: int, kernel: int, stride: int, edge: Edge) -> None:
        super().__init__()
        self.stride, self.edge = stride, edge
        self.weight = nn.Parameter(bilinear_kernel(kernel, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, K, h, w) to (N, K, s(h-1)+k, s(w-1)+k)."""
        s = self.stride
        if self.edge == "fade":
            return F.conv_transpose2d(x, self.weight, stride=s)
        held = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(held, self.weight, stride=s)[..., s:-s, s:-s]


class FixedScale(nn.Module):
    """A factor per channel that is stored but not trained (Caffe's Scale with lr_mult 0)."""

    weight: Tensor

    def __init__(self, channels: int, value: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((channels,), value))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), scaled."""
        return x * self.weight[:, None, None]


class AcrossChannelNorm(nn.Module):
    """Caffe's local response normalisation."""

    near: Tensor

    def __init__(self, layer: Lrn, channels: int) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("near", neighbours(layer.window, channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), normalised over neighbouring channels."""
        return normalise(x, self.near, self.layer)


class CropLike(nn.Module):
    """The window of the first map from ``offset`` on, of the second map's size."""

    def __init__(self, offset: int) -> None:
        super().__init__()
        self.offset = offset

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """(N, K, H, W) and (.., h, w) to (N, K, h, w); narrow, unlike a slice, never gives less."""
        h, w = like.shape[-2:]
        return x.narrow(-2, self.offset, h).narrow(-1, self.offset, w)


class SumMaps(nn.Module):
    """Elementwise sum."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps of one shape to their sum; a map of one cell is not spread over the others."""
        if any(x.shape != maps[0].shape for x in maps):
            raise RuntimeError(f"cannot add maps of shapes {[tuple(x.shape) for x in maps]}")
        total = maps[0]
        for x in maps[1:]:
            total = total + x
        return total


class ConcatChannels(nn.Module):
    """Concatenation along the channels."""

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps (N, C_i, h, w) to (N, sum C_i, h, w)."""
        return torch.cat(maps, dim=1)
