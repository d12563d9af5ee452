"""What each kind of record is carried out by: a torch module.

Parameters are named as the records name them, ``weight`` and ``bias``, so that a file's names are
``<layer>.<array>``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.engine import pyramid
from pixelwise.engine.plan import CutUpsampling
from pixelwise.engine.response_norm import AcrossChannelNorm
from pixelwise.engine.upsampling import Window, bilinear_kernel, phases, upsample
from pixelwise.geometry import Pad, sides
from pixelwise.nets import joining, layers, pooling
from pixelwise.nets.record import Layer


def make(layer: Layer, given: tuple[int, ...]) -> nn.Module:
    """The module for a record whose inputs have ``given`` channels."""
    return MODULES[type(layer)](layer, given[0])


# -- with weights --------------------------------------------------------------------------------
def convolution(layer: layers.Conv, channels: int) -> nn.Module:
    """A convolution, its weights at the record's start."""
    k, s, d, pad = layer.kernel, layer.stride, layer.dilation, even(layer.pad)
    # With more padding oneDNN has no quick gradient of a first layer's weights: 395 ms of VGG16's
    # in Caffe's geometry, and 24 on a map that was padded before (torch 2.13, bf16).
    pad = pad if pad <= k // 2 else 0
    conv = nn.Conv2d(channels, layer.width, k, s, pad, d, layer.groups, layer.bias)
    if layer.init == "zero":
        nn.init.zeros_(conv.weight)
    elif not conv.weight.is_meta:  # torch would import 800 modules, 70 MB, to draw nothing
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return padded(conv, layer.pad, own=pad)


def deconvolution(layer: layers.Deconv, channels: int) -> nn.Module:
    """A deconvolution of any kernel, stride, pad and width, its weights at the record's start."""
    before, after = sides(layer.pad)
    pad = min(before, after)
    out, k, s, groups = layer.width, layer.kernel, layer.stride, layer.groups
    deconv = nn.ConvTranspose2d(channels, out, k, s, pad, groups=groups, bias=layer.bias)
    if layer.init == "bilinear":
        per = out // groups  # the dense kernel's blocks on the diagonal
        dense = bilinear_kernel(k, out)
        blocks = [dense[i : i + per, i : i + per] for i in range(0, out, per)]
        deconv.weight.data.copy_(torch.cat(blocks))
    else:
        # He et al. 2015, eq. 10: a cell of the output sums channels x (kernel / stride)^2 products
        # on average; torch's own rule would count those of a cell of the input.
        nn.init.normal_(deconv.weight, std=math.sqrt(2 / (channels // groups * (k / s) ** 2)))
    if deconv.bias is not None:
        nn.init.zeros_(deconv.bias)
    if before != after:
        deconv.register_forward_hook(partial(_cut, 2 * (pad - before, pad - after)))
    return deconv


def max_pooling(layer: pooling.MaxPool, channels: int) -> nn.Module:
    """Max pooling, with the maxima's places where they are asked for."""
    del channels
    k, s, pad = layer.kernel, layer.stride, even(layer.pad)
    pad = pad if pad <= k // 2 else 0  # torch's limit, dilated or not
    pool = nn.MaxPool2d(k, s, pad, layer.dilation, layer.indices, layer.ceil)
    return padded(pool, layer.pad, -math.inf, own=pad)


def average_pooling(layer: pooling.AvgPool, channels: int) -> nn.Module:
    """Average pooling; torch has none with a dilation, which is a convolution of equal shares."""
    if layer.dilation == 1:
        return nn.AvgPool2d(layer.kernel, layer.stride, ceil_mode=True)
    k, d = layer.kernel, layer.dilation

    def average(x: Tensor) -> Tensor:
        shares = x.new_full((1, 1, k, k), 1 / k**2).expand(channels, 1, k, k)
        return F.conv2d(x, shares, dilation=d, groups=channels)

    return Function(average)


def even(pad: Pad) -> int:
    """What torch pads by itself, alike before and after; of uneven padding nothing."""
    before, after = sides(pad)
    return before if before == after else 0


def padded(module: nn.Module, pad: Pad, value: float = 0.0, *, own: int) -> nn.Module:
    """``module``, its input padded first where the module's own padding is another."""
    if sides(pad) != (own, own):
        module.register_forward_pre_hook(partial(_pad, 2 * sides(pad), value))
    return module


def _pad(margin: tuple[int, ...], value: float, _: nn.Module, given: tuple[Tensor]) -> Tensor:
    return F.pad(given[0], margin, value=value)


def _cut(margin: tuple[int, ...], _: nn.Module, given: tuple[Tensor], out: Tensor) -> Tensor:
    del given
    return F.pad(out, margin)  # of negative widths: cells are taken away


class FixedUpsampling(nn.Module):
    """A bilinear deconvolution that is never trained and stands in no state dict.

    Given a second map, it computes the window of that map's size that begins at ``offset``.
    """

    shares: Tensor

    def __init__(self, layer: layers.Upsample, offset: int = 0) -> None:
        super().__init__()
        self.kernel, self.edge, self.offset = layer.kernel, layer.edge, offset
        shares = phases(layer.kernel, layer.stride).float()
        self.register_buffer("shares", shares, persistent=False)

    def forward(self, x: Tensor, like: Tensor | None = None) -> Tensor:
        """(N, K, h, w) to (N, K, s(h-1)+k, s(w-1)+k) or the window.

        In the wider dtype of map and module: float32 unless the module itself was cast.
        """
        window = None if like is None else Window(self.offset, self.offset, *like.shape[-2:])
        return upsample(x, self.shares.to(x.device), self.kernel, self.edge, window)


class LearnedUpsampling(nn.Module):
    """A dense deconvolution that starts as the bilinear one, with the same treatment of the rim."""

    def __init__(self, layer: layers.Upsample, channels: int) -> None:
        super().__init__()
        self.stride, self.edge = layer.stride, layer.edge
        self.weight = nn.Parameter(bilinear_kernel(layer.kernel, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, K, h, w) to (N, K, s(h-1)+k, s(w-1)+k)."""
        s = self.stride
        if self.edge == "fade":
            return F.conv_transpose2d(x, self.weight, stride=s)
        # One cell more all round, whose own outputs are cut off again.
        held = F.pad(x, (1, 1, 1, 1), mode="replicate")
        return F.conv_transpose2d(held, self.weight, stride=s)[..., s:-s, s:-s]


class FixedScale(nn.Module):
    """A factor per channel that is stored but not trained (Caffe's Scale with lr_mult 0)."""

    weight: Tensor

    def __init__(self, layer: layers.Scale, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.full((channels,), layer.value))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w), scaled."""
        return x * self.weight[:, None, None]


# -- without --------------------------------------------------------------------------------------
class Function(nn.Module):
    """A function of maps where a module is wanted."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *maps: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(*maps)


def crop(x: Tensor, like: Tensor, *, offset: int) -> Tensor:
    """(N, K, H, W) and (.., h, w) to (N, K, h, w); narrow, unlike a slice, never gives less."""
    h, w = like.shape[-2:]
    return x.narrow(-2, offset, h).narrow(-1, offset, w)


def add(*maps: Tensor, coefficients: tuple[float, ...] = ()) -> Tensor:
    """Maps of one shape to their sum; a map of one cell is not spread over the others."""
    if any(x.shape != maps[0].shape for x in maps):
        raise RuntimeError(f"cannot add maps of shapes {[tuple(x.shape) for x in maps]}")
    if coefficients:
        maps = tuple(c * x for c, x in zip(coefficients, maps, strict=True))
    return reduce(torch.add, maps)


def concatenate(*maps: Tensor) -> Tensor:
    """Maps (N, C_i, h, w) to (N, sum C_i, h, w)."""
    return torch.cat(maps, dim=1)


def unpool(x: Tensor, indices: Tensor, like: Tensor) -> Tensor:
    """Values (N, C, h, w) among zeros (N, C, H, W), each where its index says."""
    shape = (*x.shape[:2], *like.shape[-2:])
    zeros = x.new_zeros(shape).flatten(2)
    return zeros.scatter(2, indices.flatten(2), x.flatten(2)).view(shape)


MODULES: dict[type[Layer], Callable[[Any, int], nn.Module]] = {
    layers.Conv: convolution,
    layers.Deconv: deconvolution,
    layers.Upsample: lambda layer, channels: (
        LearnedUpsampling(layer, channels) if layer.learned else FixedUpsampling(layer)
    ),
    CutUpsampling: lambda layer, _: FixedUpsampling(layer.upsampling, layer.crop.offset),
    layers.Relu: lambda layer, _: (
        nn.ReLU() if math.isinf(layer.ceiling) else nn.Hardtanh(0.0, layer.ceiling)
    ),
    layers.Lrn: AcrossChannelNorm,
    layers.BatchNorm: lambda layer, channels: nn.BatchNorm2d(channels, eps=layer.eps),
    layers.Dropout: lambda layer, _: nn.Dropout(layer.p),
    layers.Scale: FixedScale,
    layers.Softmax: lambda *_: nn.Softmax(dim=1),
    pooling.MaxPool: max_pooling,
    pooling.Unpool: lambda *_: Function(unpool),
    pooling.AvgPool: average_pooling,
    pooling.GlobalAvgPool: lambda layer, _: Function(partial(pyramid.pool, bins=layer.bins)),
    pooling.Resize: lambda *_: Function(pyramid.resize),
    joining.Crop: lambda layer, _: Function(partial(crop, offset=layer.offset)),
    joining.Sum: lambda layer, _: Function(partial(add, coefficients=layer.coefficients)),
    joining.Concat: lambda *_: Function(concatenate),
}
"""Kind of record to (record, channels of its first input) -> module."""
