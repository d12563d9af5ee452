"""What each computation of a plan is carried out by: torch, on views of the plan's maps.

Each function gets a computation and the maps of one size, and returns what is called for every
picture of it. Kernels of our own stand before these, where they serve (``convolutions.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op, UnpoolByMaxima
from pixelwise.engine.layout import Layout, Maps
from pixelwise.engine.modules import FixedUpsampling
from pixelwise.engine.network import Network
from pixelwise.engine.spans import POINTWISE, Span, read_by
from pixelwise.engine.upsampling import Window, upsample
from pixelwise.geometry import sides
from pixelwise.machine.memory import give_back_pages
from pixelwise.nets.joining import Concat, Sum
from pixelwise.nets.layers import Conv
from pixelwise.nets.pooling import MaxPool

Work = Callable[[], object]


def scores_first(cells: Tensor) -> Tensor:
    """(N, H, W, C) as torch's modules take it, (N, C, H, W); a view."""
    return cells.permute(0, 3, 1, 2)


def given(op: Op, maps: Maps) -> list[Tensor]:
    """(N, H, W, C): what a window or pointwise layer reads of its inputs; views.

    A pool's windows are cut at the map's rim.
    """
    spans = [read_by(op.layer, span) for span in maps.layout.made(op)]
    if not isinstance(op.layer, Conv):
        axes = (maps.layout.rows, maps.layout.columns)
        sizes = [axis.sizes[op.inputs[0]] for axis in axes]
        spans = [span.within(Span(0, n)) for span, n in zip(spans, sizes, strict=True)]
    return [maps.cut(name, *spans) for name in op.inputs]


def convolution(op: Op, maps: Maps, packed: Packed) -> Work:
    """A convolution with all that is folded into it."""
    (source,), target = given(op, maps), scores_first(maps.computed(op))
    x = scores_first(source)
    added = scores_first(maps.cut(op.added, *maps.layout.made(op))) if op.added else None

    def work() -> None:
        made = packed.convolved(x, None if added is not None else op.ceiling)
        if added is not None:
            made = cut_off(made.add_(added), op.ceiling)
        target.copy_(largest(made, op.pool, target) if op.pool else made)

    return work


def shape_read(op: Op, layout: Layout) -> list[int]:
    """(N, C, H, W) of what a convolution reads."""
    cells = [read_by(op.layer, made).length for made in layout.made(op)]
    return [layout.batch, layout.plan.net.channels[op.inputs[0]], *cells]


PIECE = 2**22
"""Weights that are rounded at a time: 16 MiB of a mapped file are in memory, and not 400."""


def _ordered(kernel: Tensor, kind: torch.dtype) -> Tensor:
    """A kernel of another kind, channels last; what was read of a mapped file is given back."""
    filters = max(1, PIECE // kernel[0].numel())
    made = torch.empty_like(kernel, dtype=kind, memory_format=torch.channels_last)
    for part, piece in zip(*(torch.split(t, filters) for t in (made, kernel)), strict=True):
        part.copy_(piece)
        give_back_pages(piece)
    return made


class Packed:
    """A convolution's weights in the order in which oneDNN reads them.

    The order is that for maps of ``shape`` (N, C, H, W). Of others some take another one, and each
    of their convolutions begins with reordering: fc7 of VGG16 on 16x16 cells takes 1.2 s instead
    of 40 ms in the order for a single cell.
    """

    def __init__(
        self, op: Op, weights: Weights, shape: list[int], kind: torch.dtype = torch.float32
    ) -> None:
        assert isinstance(op.layer, Conv)
        self.layer, self.kind, self.bias = op.layer, kind, weights.bias.to(kind)
        self.kernel = _ordered(weights.kernel, kind)
        self._packs = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if self._packs:
            self.kernel = torch.ops.mkldnn._reorder_convolution_weight(
                *(self.kernel, [0, 0], *self._where, self.layer.groups, shape)
            )

    @property
    def _where(self) -> tuple[list[int], list[int]]:
        return [self.layer.stride] * 2, [self.layer.dilation] * 2

    def convolved(self, x: Tensor, ceiling: float | None) -> Tensor:
        """(N, C, H, W), padding included, to (N, K, h, w), after a ReLU cut at ``ceiling``."""
        layer, bias = self.layer, self.bias
        step, dilation = self._where
        if not self._packs:
            plain = F.conv2d(x, self.kernel, bias, step, 0, dilation, layer.groups)
            return cut_off(plain, ceiling)
        relu = "none" if ceiling is None else "relu" if math.isinf(ceiling) else "hardtanh"
        limits = [0.0, ceiling] if relu == "hardtanh" else []
        made: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.kernel, bias, [0, 0], step, dilation, layer.groups, relu, limits, ""
        )
        return made


def cut_off(made: Tensor, ceiling: float | None) -> Tensor:
    """What a ReLU cut at ``ceiling`` leaves, in place; None: there is none."""
    if ceiling is None:
        return made
    return made.relu_() if math.isinf(ceiling) else made.clamp_(0, ceiling)


def margins(op: Op, maps: Maps) -> list[int]:
    """Cells by which windows reach over the map: left, right, above, below."""
    margin: list[int] = []
    for span, axis in zip(
        maps.layout.made(op), (maps.layout.rows, maps.layout.columns), strict=True
    ):
        read = read_by(op.layer, span)
        margin[:0] = [max(0, -read.first), max(0, read.end - axis.sizes[op.inputs[0]])]
    return margin


def pooling(op: Op, maps: Maps) -> Work:
    """Max pooling of any window; its padding is the map's rim, which no maximum reads."""
    layer = op.layer
    assert isinstance(layer, MaxPool)
    (source,), target = given(op, maps), scores_first(maps.computed(op))
    x, margin = scores_first(source), margins(op, maps)

    def work() -> None:
        least = 0 if x.dtype == torch.uint8 else -math.inf
        padded = F.pad(x, margin, value=least) if any(margin) else x
        target.copy_(largest(padded, layer, target))

    return work


def largest(x: Tensor, pool: MaxPool, target: Tensor) -> Tensor:
    """Max pooling of (N, C, H, W), padding included, to the size of ``target``.

    torch 2.13 has none of eight bits, and of bfloat16 one that takes twice the time of maxima.
    """
    if x.dtype == torch.float32:
        return F.max_pool2d(x, pool.kernel, pool.stride, 0, pool.dilation, ceil_mode=True)
    cells = x.permute(0, 2, 3, 1)
    for axis in (1, 2):
        starts = range(0, pool.dilation * pool.kernel, pool.dilation)
        strided = [cells[(slice(None),) * axis + (slice(n, None, pool.stride),)] for n in starts]
        count = target.shape[axis + 1]
        parts = [part.narrow(axis, 0, min(count, part.shape[axis])) for part in strided]
        cells = parts[0].clone()
        for part in parts[1:]:  # the last windows may reach beyond the map
            head = cells.narrow(axis, 0, part.shape[axis])
            torch.maximum(head, part, out=head)
    return scores_first(cells)


def addition(op: Op, maps: Maps) -> Work:
    """A sum, each map times its coefficient where there are any, and a ReLU."""
    layer, target = op.layer, maps.computed(op)
    assert isinstance(layer, Sum)
    first, *others = given(op, maps)
    factors = layer.coefficients or (1.0,) * (1 + len(others))

    def work() -> None:
        torch.mul(first, factors[0], out=target)
        for other, factor in zip(others, factors[1:], strict=True):
            target.add_(other, alpha=factor)
        cut_off(target, op.ceiling)

    return work


def concatenation(op: Op, maps: Maps) -> Work:
    """Channels of all inputs, copied."""
    target, parts = maps.computed(op), given(op, maps)
    return lambda: torch.cat(parts, dim=3, out=target)


def upsampling(op: Op, maps: Maps, module: FixedUpsampling) -> Work:
    """A fixed upsampling of which a part is wanted, of the cells between which that lies."""
    layout, target = maps.layout, scores_first(maps.computed(op))
    spans, begins = [], []
    for axis in (layout.rows, layout.columns):
        made = axis.computed[op.name]
        spans.append(read_by(op.layer, made).within(Span(0, axis.sizes[op.inputs[0]])))
        begins.append(made.first + module.offset - len(module.shares) * spans[-1].first)
    x = scores_first(maps.cut(op.inputs[0], *spans))
    window = Window(begins[0], begins[1], target.shape[2], target.shape[3])
    return lambda: target.copy_(upsample(x, module.shares, module.kernel, module.edge, window))


def unpooling(op: Op, maps: Maps) -> Work:
    """Values where the maxima stand, the first of equals as torch has it; zero elsewhere."""
    layer, target = op.layer, maps.computed(op)
    assert isinstance(layer, UnpoolByMaxima)
    values, best, pooled = (maps.whole(name) for name in op.inputs)
    pool, size, before = layer.pool, values.shape[1:3], sides(layer.pool.pad)[0]

    def tap(at: int, axis: int) -> tuple[slice, slice]:
        """The windows that have such a tap, and where these taps lie in what was pooled."""
        first = max(0, -((at - before) // pool.stride))
        start = first * pool.stride + at - before
        count = len(range(start, target.shape[1 + axis], pool.stride)[: size[axis] - first])
        return slice(first, first + count), slice(start, start + count * pool.stride, pool.stride)

    def work() -> None:
        target.zero_()
        free = torch.ones_like(best, dtype=torch.bool)
        for down, right in product(range(pool.kernel), repeat=2):
            (rows, tap_rows), (columns, tap_columns) = tap(down, 0), tap(right, 1)
            own = free[:, rows, columns]
            hit = own & (pooled[:, tap_rows, tap_columns] == best[:, rows, columns])
            own &= ~hit
            target[:, tap_rows, tap_columns] = values[:, rows, columns] * hit

    return work


def by_module(op: Op, maps: Maps, module: nn.Module) -> Work:
    """Any other layer, by its module; what it takes the size of alone is given as a size."""
    target = scores_first(maps.computed(op))
    if isinstance(op.layer, POINTWISE):
        inputs = [scores_first(x) for x in given(op, maps)]
    else:
        axes = (maps.layout.rows, maps.layout.columns)
        inputs = [
            scores_first(maps.whole(name))
            if record in op.layer.reads
            else torch.empty(0, 0, *(axis.sizes[name] for axis in axes), dtype=torch.float32)
            for name, record in zip(op.inputs, op.layer.inputs, strict=True)
        ]
    return lambda: target.copy_(module(*inputs))


def operation(op: Op, maps: Maps, network: Network) -> Work:
    """What carries out a computation that is no convolution."""
    match op.layer:
        case MaxPool():
            return pooling(op, maps)
        case Sum():
            return addition(op, maps)
        case Concat():
            return concatenation(op, maps)
        case UnpoolByMaxima():
            return unpooling(op, maps)
    module = network.get_submodule(op.layer.name)
    if isinstance(module, FixedUpsampling):
        return upsampling(op, maps, module)
    return by_module(op, maps, module)
