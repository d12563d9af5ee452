"""Convolutions by Winograd's algorithm with gradients, on a processor.

The input's gradient is a convolution of the output's by the turned filters; the filters' is a sum
over tiles with patches d and output gradients g, by the matrices B, G, A of ``points.py``:
G^T [(B^T d B) (A g A^T)] G. All three take a quarter of the multiplications. All is float32: of
bf16 maps oneDNN makes what it makes quicker, a step of FCN-8s-VGG16 in 3.9 s where this took 4.5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from pixelwise.engine import depthwise, kernels
from pixelwise.engine.points import Points, points
from pixelwise.engine.telling import Told, places
from pixelwise.engine.vectors import FLOAT, processor
from pixelwise.engine.winograd import BLOCK, OUTPUTS, Patches, Tiles, at_points, taps, tiled
from pixelwise.engine.workers import Scratch, Workers, alone

TURN = 128
"""Tiles that are added to the sums at a time, twice as many of wide layers: more of 64 filters
leave the cache (118 ms with 128, 160 with 512), fewer of 512 read sums too often (107 to 134)."""
CHANNELS = 32
"""Below, oneDNN's direct convolutions are quicker."""
TILES = 64
"""From how many tiles of a batch on, since weights are transformed in every step. oneDNN takes 1.0
times as long for fewer, 1.5 to 3 for more (EPYC, Zen 4)."""
_workers = Workers()
_filters, _seen = Scratch(), (Scratch(), Scratch())
"""Memory for what is at the points: taken anew for each layer, it would leave gaps between maps."""


def train_quickly(network: nn.Module) -> None:
    """Have convolutions carried out by ways of our own where that makes training quicker."""
    for conv in network.modules():
        if isinstance(conv, nn.Conv2d):
            plain = conv.groups == 1 and conv.stride == conv.dilation == (1, 1)
            few = min(conv.weight.shape[:2]) < CHANNELS
            if plain and conv.kernel_size == (3, 3) and not few:
                conv.forward = partial(_carried_out, conv)  # type: ignore[method-assign]
            elif depthwise.slow_in_half(conv):
                conv.forward = partial(depthwise.trained, conv)  # type: ignore[method-assign]


def _carried_out(conv: nn.Conv2d, x: Tensor) -> Tensor:
    pad, wanted = int(conv.padding[0]), conv.training and torch.is_grad_enabled()
    if not wanted or torch.is_autocast_enabled("cpu") or not served(x, conv.weight, pad):
        return F.conv2d(x, conv.weight, conv.bias, padding=pad)
    made: Tensor = _Convolution.apply(x, conv.weight, conv.bias, pad)  # type: ignore[no-untyped-call]
    return made


def served(x: Tensor, weight: Tensor, pad: int) -> bool:
    """Whether maps and weights are such as the kernels take, and large enough."""
    at, known = _points(weight), x.dtype == weight.dtype == torch.float32 and x.is_cpu
    size = [n + 2 * pad + 1 - at.r for n in x.shape[2:]]
    tiles = len(x) * math.prod(-(n // -at.m) for n in size)
    large = known and min(size) >= at.m and tiles >= TILES
    return large and not kernels.unavailable()


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, pad: int) -> Tensor:
        ctx.pad = pad
        ctx.save_for_backward(x, weight)
        return convolved(x, weight, bias, pad)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, towards: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, _ = ctx.needs_input_grad
        turned = weight.shape[2] - 1 - ctx.pad
        return (
            convolved(towards, weight, None, turned, turned=True) if of_x else None,
            filters_gradient(x, towards, weight, ctx.pad) if of_weight else None,
            towards.sum((0, 2, 3)) if of_bias else None,
            None,
        )


def convolved(
    x: Tensor, weight: Tensor, bias: Tensor | None, pad: int, *, turned: bool = False
) -> Tensor:
    """``F.conv2d`` with ``pad`` cells of zeros around x.

    With ``turned`` filters from their outputs, whose gradient x is, to their inputs.
    """
    filters, channels = weight.shape[:2][:: -1 if turned else 1]
    at, panel = _points(weight), processor().panel
    panels = -(filters // -panel)
    packed = _filters.numbers(at.n**2, panels, channels, panel)
    at_points(weight.detach(), at, packed, turned=turned)
    height, width = (n + 2 * pad + 1 - at.r for n in x.shape[2:])
    made = x.new_empty(len(x), height, width, filters).permute(0, 3, 1, 2)
    start = torch.zeros(panels * panel, dtype=torch.float32)
    limits = torch.tensor([-torch.inf, torch.inf], dtype=torch.float32)
    if bias is not None:
        start[:filters] = bias.detach()
    facts = {"filters": filters, "panels": panels, **tiled(height, width, channels, at)}
    for name, array in (("weights", packed), ("bias", start), ("limits", limits)):
        facts[name] = array.data_ptr()
    finish = kernels.finish(at, added=False, pool=False)
    Tiles(_patches((x, made), facts, at, pad), filters, at, finish).convolve(_workers)
    return made


def filters_gradient(x: Tensor, towards: Tensor, weight: Tensor, pad: int) -> Tensor:
    """Gradient (K, C, r, r) float32 of the filters, from the inputs and the outputs' gradient."""
    (filters, channels), at = weight.shape[:2], _points(weight)
    # Tiles reach out of the map here: what two made of a cell would be counted twice.
    height, width = (-(n // -at.m) * at.m for n in towards.shape[2:])
    sides = (
        _patches((towards,), tiled(height, width, filters, at), at, 0, back=True),
        _patches((x,), tiled(height, width, channels, at), at, pad),
    )
    tiles, worth = sides[0].tiles, 2 * filters * channels // (filters + channels)
    block = min(tiles, max(TURN, min(worth, 2 * TURN)))
    sums = _filters.numbers(at.n, at.n, filters, channels).zero_()

    def add(first: int, count: int) -> None:
        parts = range(0, count, BLOCK)
        left, right = (
            memory.numbers(at.n, at.n, count, side.row // FLOAT)
            for memory, side in zip(_seen, sides, strict=True)
        )

        def transform(i: int, _: Scratch) -> None:
            for side, made in zip(sides, (left, right), strict=True):
                place, some = made.data_ptr() + parts[i] * side.row, min(BLOCK, count - parts[i])
                side.transform(first + parts[i], some, place, count)

        def multiply(i: int, _: Scratch) -> None:
            mine = left[i, ..., :filters].transpose(1, 2)
            sums[i].baddbmm_(mine, right[i, ..., :channels])

        _workers.each(len(parts), transform)
        _workers.each(at.n, multiply)

    with alone():  # MKL adds in another order on two threads
        for first in range(0, tiles, block):
            add(first, min(block, tiles - first))
        made = (taps(at).T @ sums.view(at.n**2, -1)).view(at.r, at.r, filters, channels)
    return made.permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)


def _points(weight: Tensor) -> Points:
    return points(OUTPUTS[weight.shape[2]], weight.shape[2])


def _patches(
    maps: tuple[Tensor, ...], facts: Mapping[str, int], at: Points, pad: int, *, back: bool = False
) -> Patches:
    """Of inputs, or the outputs' gradient going ``back``; a second map is what is made of them."""
    order, (height, width) = torch.channels_last, maps[0].shape[2:]
    cells = [own.contiguous(memory_format=order).permute(0, 2, 3, 1) for own in maps]
    last = {"last_row": height - 1, "last_cell": width - 1}
    rim = {**facts, **last, "lead_down": pad, "lead_right": pad}
    pictures = [Told({**rim, **places(own)}, own) for own in zip(*cells, strict=True)]
    transform = kernels.transform(at, rim=True, back=back)
    return Patches(pictures, facts, transform)
