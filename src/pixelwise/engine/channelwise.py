"""Layers that keep the channels apart, or mix a few neighbours: filters for each, pools, norms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from itertools import product
from typing import Any

from pixelwise.engine.direct import FEW
from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op
from pixelwise.engine.kernels import Facts, cell, facts_of, relu
from pixelwise.engine.layout import Maps
from pixelwise.engine.operations import Work, given, margins
from pixelwise.engine.telling import Told, handed_out, limits, places, shares
from pixelwise.engine.vectors import FLOAT, Code, processor
from pixelwise.engine.workers import Workers, threads
from pixelwise.nets.layers import Conv, Lrn
from pixelwise.nets.pooling import MaxPool

ROWS = 4
"""Times the filter's rows that a part should have at least, since it reads the filter's more."""


@cache
def depthwise(kernel: int, *, added: bool) -> Callable[..., None]:
    """(facts, first row, rows, first channel, channels): a filter of its own for each channel.

    Of a vector of channels row by row: what the next row reads again is in the nearest cache.
    """
    code = Code("depthwise", 5, processor().lanes)
    f, (_, first, rows, begin, count) = facts_of(code), code.arguments
    limited, wide = relu(code, f), code.mul(f["channels"], FLOAT)

    def some(at: Any, mask: Any) -> None:
        at = code.add(at, code.mul(begin, FLOAT))
        weights = [code.add(f["weights"], at, code.mul(wide, t)) for t in range(kernel**2)]
        taps = [code.load(place, mask) for place in weights]
        bias = code.load(code.add(f["bias"], at), mask)

        def one(y: Any, x: Any) -> None:
            source, total = code.add(cell(code, f, "source", y, x), at), bias
            for tap, (down, right) in zip(taps, product(range(kernel), repeat=2), strict=True):
                moved = code.add(code.mul(f["tap_row"], down), code.mul(f["tap_cell"], right))
                total = code.fma(code.load(code.add(source, moved), mask), tap, total)
            if added:
                place = code.add(cell(code, f, "added", y, x), at)
                total = code.plus(total, code.load(place, mask))
            code.store(limited(total), code.add(cell(code, f, "target", y, x), at), mask)

        _by_cells(code, f, first, rows, one)

    code.channels(count, some)
    return code.compiled()


def _by_cells(
    code: Code, f: Facts, first: Any, rows: Any, body: Callable[[Any, Any], None]
) -> None:
    """``body`` for the cells of rows of the target: row and column."""

    @code.each(rows)
    def row(i: Any) -> None:
        code.each(f["width"])(lambda x: body(code.add(first, i), x))


@cache
def maxima(kernel: int, stride: int, dilation: int) -> Callable[..., None]:
    """(facts, first row, rows): the largest of each window, cut at the map's rim.

    A tap outside is moved to the nearest one inside.
    """
    code = Code("maxima", 3, processor().lanes)
    f, (_, first, rows) = facts_of(code), code.arguments

    def taps(place: Any, lead: str, last: str, step: str) -> list[Any]:
        begin = code.sub(code.mul(place, stride), f[lead])
        start = code.most(begin, code.divided(code.add(begin, dilation * kernel), dilation)[1])
        end = code.sub(f[last], code.divided(code.sub(f[last], begin), dilation)[1])
        steps = (code.add(begin, dilation * t) for t in range(kernel))
        return [code.mul(f[step], code.most(start, code.least(n, end))) for n in steps]

    def one(y: Any, x: Any) -> None:
        lines = taps(y, "lead_down", "last_row", "source_row")
        beside = taps(x, "lead_right", "last_cell", "source_cell")
        places = [code.add(f["source"], *two) for two in product(lines, beside)]
        target = cell(code, f, "target", y, x)

        def some(at: Any, mask: Any) -> None:
            values = [code.load(code.add(place, at), mask) for place in places]
            best = code.or_none(reduce(code.larger, values), values)
            code.store(best, code.add(target, at), mask)

        code.channels(f["channels"], some)

    _by_cells(code, f, first, rows, one)
    return code.compiled()


@cache
def normalisation(window: int, alpha: float, k: float) -> Callable[..., None]:
    """(facts, first row, rows): Caffe's across channels with an exponent of 3/4 (``Lrn``)."""
    code = Code("normalisation", 3, processor().lanes)
    f, (_, first, rows) = facts_of(code), code.arguments

    def one(y: Any, x: Any) -> None:
        source, target = (cell(code, f, which, y, x) for which in ("source", "target"))

        def some(at: Any, mask: Any) -> None:
            squares, at_number = code.zero(), code.divided(at, FLOAT)[0]
            for step in range(-(window // 2), (window - 1) // 2 + 1):
                number = code.add(at_number, step)
                inside = code.mask(code.sub(f["channels"], number))
                inside = code.b.and_(inside, code.b.not_(code.mask(code.sub(0, number))))
                value = code.load(code.add(source, code.mul(number, FLOAT)), inside)
                squares = code.fma(value, value, squares)
            root = code.root(code.fma(squares, code.same(alpha / window), code.same(k)))
            value = code.load(code.add(source, at), mask)
            value = code.b.fdiv(value, code.b.fmul(root, code.root(root)))
            code.store(value, code.add(target, at), mask)

        code.channels(f["channels"], some)

    _by_cells(code, f, first, rows, one)
    return code.compiled()


# -- carried out -----------------------------------------------------------------------------------
class Depthwise:
    """The weights of a filter for each channel: (k * k, C)."""

    def __init__(self, weights: Weights, op: Op) -> None:
        layer = op.layer
        assert isinstance(layer, Conv)
        self.layer, self.bias, self.limits = layer, weights.bias, limits(op)
        self.kernel = weights.kernel.flatten(1).T.contiguous()


def per_channel(op: Op, maps: Maps, weights: Depthwise, workers: Workers) -> Work:
    """A depthwise convolution with all that is folded into it, but for a pool."""
    layer, (source,) = weights.layer, given(op, maps)
    facts = {
        "weights": weights.kernel.data_ptr(),
        "bias": weights.bias.data_ptr(),
        "limits": weights.limits.data_ptr(),
        "tap_row": FLOAT * layer.dilation * source.stride(1),
        "tap_cell": FLOAT * layer.dilation * source.stride(2),
    }
    kernel = depthwise(layer.kernel, added=bool(op.added))
    # A part is some rows of all channels, or of a map of few rows all of some channels.
    height, lanes = maps.computed(op).shape[1], processor().lanes
    parts: list[tuple[int, ...]] = [(*rows, 0, layer.width) for rows in _cut(height)]
    if parts[0][1] < ROWS * layer.kernel:
        some = [(lanes * i, lanes * n) for i, n in _cut(-(layer.width // -lanes))]
        parts = [(0, height, first, min(n, layer.width - first)) for first, n in some]
    return _shared_out(kernel, op, maps, facts, parts, workers, step=layer.stride, owner=weights)


def pooling(op: Op, maps: Maps, workers: Workers) -> Work:
    """Max pooling of any window."""
    layer, (source,) = op.layer, given(op, maps)
    assert isinstance(layer, MaxPool)
    left, _, above, _ = margins(op, maps)
    facts = {
        "lead_down": above,
        "lead_right": left,
        "last_row": source.shape[1] - 1,
        "last_cell": source.shape[2] - 1,
    }
    kernel = maxima(layer.kernel, layer.stride, layer.dilation)
    return _shared_out(kernel, op, maps, facts, _cut(maps.computed(op).shape[1]), workers)


def normalising(op: Op, maps: Maps, workers: Workers) -> Work:
    """Local response normalisation with the exponent that the kernel has."""
    layer = op.layer
    assert isinstance(layer, Lrn)
    kernel = normalisation(layer.window, layer.alpha, layer.k)
    return _shared_out(kernel, op, maps, {}, _cut(maps.computed(op).shape[1]), workers)


def _cut(length: int) -> list[tuple[int, int]]:
    """Firsts and counts of parts for the workers."""
    each = -(length // -(FEW * threads()))
    return [(first, min(each, length - first)) for first in range(0, length, each)]


def _shared_out(
    kernel: Callable[..., None],
    op: Op,
    maps: Maps,
    facts: Mapping[str, int],
    parts: Sequence[tuple[int, ...]],
    workers: Workers,
    *,
    step: int = 1,
    owner: object = None,
) -> Work:
    """The parts of each picture."""
    jobs = []
    for _, cells in shares(op, maps):
        size = {"channels": cells[1].shape[2], "width": cells[1].shape[1]}
        told = Told({**places(cells, step), **size, **facts}, owner)
        jobs += [(kernel, told, part) for part in parts]
    return handed_out(jobs, workers)
