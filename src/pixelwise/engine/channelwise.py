"""Layers that keep the channels apart, or mix a few neighbours: filters for each, pools, norms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, reduce
from itertools import product
from typing import Any

from pixelwise.engine.direct import FEW
from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op
from pixelwise.engine.kernels import cell, facts_of, relu
from pixelwise.engine.layout import Maps
from pixelwise.engine.operations import Work, given, margins, spans_of
from pixelwise.engine.telling import Told, limits, strides
from pixelwise.engine.vectors import FLOAT, Code, processor
from pixelwise.engine.workers import Scratch, Workers, threads
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
    limited = relu(code, f)
    wide = code.mul(f["channels"], FLOAT)

    def some(at: Any, mask: Any) -> None:
        at = code.add(at, code.mul(begin, FLOAT))
        taps = [
            code.load(code.add(f["weights"], at, code.mul(wide, t)), mask) for t in range(kernel**2)
        ]
        bias = code.load(code.add(f["bias"], at), mask)

        def row(i: Any, _: list[Any]) -> Sequence[Any]:
            y = code.add(first, i)

            def one(x: Any, _: list[Any]) -> Sequence[Any]:
                source, total = code.add(cell(code, f, "source", y, x), at), bias
                for t, (down, right) in enumerate(product(range(kernel), repeat=2)):
                    moved = code.add(code.mul(f["tap_row"], down), code.mul(f["tap_cell"], right))
                    total = code.fma(code.load(code.add(source, moved), mask), taps[t], total)
                if added:
                    total = code.plus(
                        total, code.load(code.add(cell(code, f, "added", y, x), at), mask)
                    )
                code.store(limited(total), code.add(cell(code, f, "target", y, x), at), mask)
                return ()

            code.repeat(f["width"], one)
            return ()

        code.repeat(rows, row)

    code.channels(count, some)
    return code.compiled()


@cache
def maxima(kernel: int, stride: int, dilation: int) -> Callable[..., None]:
    """(facts, first row, rows): the largest of each window, cut at the map's rim.

    A tap outside is moved to the rim, which lies in the window too.
    """
    code = Code("maxima", 3, processor().lanes)
    f, (_, first, rows) = facts_of(code), code.arguments

    def taps(place: Any, lead: str, last: str, step: str) -> list[Any]:
        begin = code.sub(code.mul(place, stride), f[lead])
        inside = (
            code.most(0, code.least(code.add(begin, dilation * t), f[last])) for t in range(kernel)
        )
        return [code.mul(f[step], n) for n in inside]

    def row(i: Any, _: list[Any]) -> Sequence[Any]:
        y = code.add(first, i)
        lines = [code.add(f["source"], n) for n in taps(y, "lead_down", "last_row", "source_row")]

        def one(x: Any, _: list[Any]) -> Sequence[Any]:
            beside = taps(x, "lead_right", "last_cell", "source_cell")
            places = [code.add(down, right) for down, right in product(lines, beside)]
            target = cell(code, f, "target", y, x)

            def some(at: Any, mask: Any) -> None:
                values = [code.load(code.add(place, at), mask) for place in places]
                best = code.or_none(reduce(code.larger, values), values)
                code.store(best, code.add(target, at), mask)

            code.channels(f["channels"], some)
            return ()

        code.repeat(f["width"], one)
        return ()

    code.repeat(rows, row)
    return code.compiled()


@cache
def normalisation(window: int, alpha: float, k: float) -> Callable[..., None]:
    """(facts, first row, rows): Caffe's across channels with an exponent of 3/4 (``Lrn``)."""
    code = Code("normalisation", 3, processor().lanes)
    f, (_, first, rows) = facts_of(code), code.arguments
    near = range(-(window // 2), (window - 1) // 2 + 1)

    def row(i: Any, _: list[Any]) -> Sequence[Any]:
        def one(x: Any, _: list[Any]) -> Sequence[Any]:
            y = code.add(first, i)
            source, target = (cell(code, f, which, y, x) for which in ("source", "target"))

            def some(at: Any, mask: Any) -> None:
                squares = code.zero()
                for step in near:
                    place = code.add(at, FLOAT * step)
                    begin, end = code.sub(0, place), code.sub(code.mul(f["channels"], FLOAT), place)
                    inside = code.mask(code.divided(code.most(end, 0), FLOAT)[0])
                    before = code.mask(code.divided(code.most(begin, 0), FLOAT)[0])
                    inside = code.b.and_(inside, code.b.not_(before))
                    value = code.load(code.add(source, place), inside)
                    squares = code.fma(value, value, squares)
                scale = code.fma(squares, code.same(alpha / window), code.same(k))
                root = code.root(scale)
                factor = code.b.fmul(root, code.root(root))
                value = code.load(code.add(source, at), mask)
                code.store(code.b.fdiv(value, factor), code.add(target, at), mask)

            code.channels(f["channels"], some)
            return ()

        code.repeat(f["width"], one)
        return ()

    code.repeat(rows, row)
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
    layer = weights.layer
    (source,) = given(op, maps)
    facts = {
        "channels": layer.width,
        "weights": weights.kernel.data_ptr(),
        "bias": weights.bias.data_ptr(),
        "limits": weights.limits.data_ptr(),
        "tap_row": FLOAT * layer.dilation * source.stride(1),
        "tap_cell": FLOAT * layer.dilation * source.stride(2),
    }
    # A part is some rows of all channels, or of a map of few rows all of some channels.
    height, lanes = maps.computed(op).shape[1], processor().lanes
    parts = [(*rows, 0, layer.width) for rows in _cut(height)]
    if parts[0][1] < ROWS * layer.kernel:
        vectors = _cut(-(layer.width // -lanes))
        parts = [
            (0, height, i * lanes, min(n * lanes, layer.width - i * lanes)) for i, n in vectors
        ]
    kernel = depthwise(layer.kernel, added=bool(op.added))
    told = _told(op, maps, facts, step=layer.stride, owner=weights)
    return _shared_out(kernel, told, parts, workers)


def pooling(op: Op, maps: Maps, workers: Workers) -> Work:
    """Max pooling of any window."""
    layer = op.layer
    assert isinstance(layer, MaxPool)
    (source,) = given(op, maps)
    left, _, above, _ = margins(op, maps)
    facts = {
        "channels": source.shape[3],
        "lead_down": above,
        "lead_right": left,
        "last_row": source.shape[1] - 1,
        "last_cell": source.shape[2] - 1,
    }
    kernel = maxima(layer.kernel, layer.stride, layer.dilation)
    return _shared_out(kernel, _told(op, maps, facts), _cut(maps.computed(op).shape[1]), workers)


def normalising(op: Op, maps: Maps, workers: Workers) -> Work:
    """Local response normalisation with the exponent that the kernel has."""
    layer = op.layer
    assert isinstance(layer, Lrn)
    (source,) = given(op, maps)
    kernel = normalisation(layer.window, layer.alpha, layer.k)
    told = _told(op, maps, {"channels": source.shape[3]})
    return _shared_out(kernel, told, _cut(source.shape[1]), workers)


def _told(
    op: Op, maps: Maps, facts: dict[str, int], *, step: int = 1, owner: object = None
) -> list[Told]:
    """Of each picture."""
    (source,), target = given(op, maps), maps.computed(op)
    added = maps.cut(op.added, *spans_of(op, maps)) if op.added else None
    return [
        Told(
            {
                **strides("source", source[n], 0, step),
                **strides("target", target[n], 0),
                **strides("added", None if added is None else added[n], 0),
                "width": target.shape[2],
                **facts,
            },
            owner,
        )
        for n in range(len(source))
    ]


def _cut(length: int) -> list[tuple[int, int]]:
    """Firsts and counts of parts for the workers."""
    each = -(length // -(FEW * threads()))
    return [(first, min(each, length - first)) for first in range(0, length, each)]


def _shared_out(
    kernel: Callable[..., None],
    told: Sequence[Told],
    parts: Sequence[tuple[int, ...]],
    workers: Workers,
) -> Work:
    jobs = [(one, part) for one in told for part in parts]

    def job(i: int, _: Scratch) -> None:
        one, part = jobs[i]
        kernel(one.at, *part)

    return lambda: workers.each(len(jobs), job)
