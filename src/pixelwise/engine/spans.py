"""Which cells of every map depend on the picture, along one axis; all others are constants.

Caffe's geometry pads a picture by 100 cells on each side, so that of FCN-8s-VGG16 at 500x500 a
third of the work sees no pixel. What a cell sees follows from kernels, strides and pads alone:
``active`` cells see the picture. What the others hold depends on the weights and on how far they
lie from the map's rims, and is read off a small blank picture: of it the cells between the rims'
zones, the ``settled`` ones, are all alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from pixelwise.engine.fusing import Op, Plan
from pixelwise.engine.plan import CutUpsampling
from pixelwise.errors import UsageError
from pixelwise.geometry import sides, span
from pixelwise.nets.joining import Concat, Sum
from pixelwise.nets.layers import BatchNorm, Conv, Input, Lrn, Relu, Scale, Upsample
from pixelwise.nets.pooling import MaxPool
from pixelwise.nets.record import Layer

POINTWISE = (Relu, BatchNorm, Scale, Lrn, Sum, Concat)
WINDOWS = (Conv, MaxPool)


class Span(NamedTuple):
    """Cells ``first`` to ``end`` - 1 of a map along an axis; of padding they may lie outside."""

    first: int
    end: int

    @property
    def length(self) -> int:
        """How many."""
        return self.end - self.first

    def moved(self, by: int) -> Span:
        """The same cells, counted from another."""
        return Span(self.first + by, self.end + by)

    def within(self, other: Span) -> Span:
        """The part that lies in another."""
        first = max(self.first, other.first)
        return Span(first, max(first, min(self.end, other.end)))


def hull(spans: Iterable[Span]) -> Span:
    """The shortest that holds all that are not empty."""
    filled = [s for s in spans if s.length] or [Span(0, 0)]
    return Span(min(s.first for s in filled), max(s.end for s in filled))


def upsampled_by(layer: Layer) -> tuple[int, int] | None:
    """The stride of a fixed upsampling, and the row and column at which its map begins."""
    if isinstance(layer, CutUpsampling):
        return layer.upsampling.stride, layer.crop.offset
    return (layer.stride, 0) if isinstance(layer, Upsample) and not layer.learned else None


def by_rows(layer: Layer) -> bool:
    """Whether any rows of its map can be had without the others."""
    return isinstance(layer, (*POINTWISE, *WINDOWS, Input)) or upsampled_by(layer) is not None


def read_by(layer: Layer, cells: Span) -> Span:
    """The input cells that such a layer reads for ``cells``, padding among them."""
    if upsampling := upsampled_by(layer):
        stride, offset = upsampling
        first, last = (n + offset for n in (cells.first, cells.end - 1))
        return Span(first // stride - 1, last // stride + 1)
    if not isinstance(layer, WINDOWS):
        return cells
    before, reach = sides(layer.pad)[0], span(layer.kernel, layer.dilation)
    first, last = (n * layer.stride - before for n in (cells.first, cells.end - 1))
    return Span(first, last + reach)


def touched_by(layer: Layer, cells: Span, size: int) -> Span:
    """The output cells, of ``size``, that read any of the input's ``cells``."""
    if not isinstance(layer, WINDOWS):
        return cells
    before, reach = sides(layer.pad)[0], span(layer.kernel, layer.dilation)
    first = -((reach - 1 - before - cells.first) // layer.stride)
    end = (cells.end - 1 + before) // layer.stride + 1
    return Span(first, end).within(Span(0, size))


def reads_only(layer: Layer, cells: Span, given: Span, size: int) -> Span:
    """The output cells that read nothing but the input's ``cells``, of an input ``given``.

    A pooling's window is cut at the map's rim and takes no padding for a number.
    """
    if not isinstance(layer, WINDOWS):
        return cells
    before, reach = sides(layer.pad)[0], span(layer.kernel, layer.dilation)
    first = -((-before - cells.first) // layer.stride)
    end = (cells.end + before - reach) // layer.stride + 1
    if isinstance(layer, MaxPool):
        first = 0 if cells.first == given.first else first
        end = size if cells.end == given.end else end
    return Span(first, end).within(Span(0, size))


@dataclass(frozen=True)
class Axis:
    """A plan along one axis of a picture of ``length`` pixels.

    Attributes:
        sizes: cells of every map.
        computed: by computation, the cells of its map that are computed.
        convolved: of a computation with a pool, the cells that it pools.
        stored: by map with memory, the cells that are kept, padding among them.
        settled: by computation, the cells of a blank picture that are all alike.
    """

    length: int
    sizes: dict[str, int]
    computed: dict[str, Span]
    convolved: dict[str, Span]
    stored: dict[str, Span]
    settled: dict[str, Span]

    def constant(self, plan: Plan, name: str) -> bool:
        """Whether cells of a computation's map are kept that are not computed, nor padding."""
        place = plan.place(name)
        kept = self.stored[place.source].moved(-place.offset)
        return kept.within(Span(0, self.sizes[name])) != self.computed[name]


def axis(plan: Plan, length: int, *, whole: bool = False) -> Axis:
    """The plan's spans for one length; ``whole`` computes every cell.

    Raises:
        UsageError: U002 a layer whose output would be empty.
    """
    made = Axis(length, plan.net.sizes(length), {}, {}, {}, {})
    for op in plan.ops:
        _forward(plan, op, made, whole=whole)
    kept = [pair for op in plan.ops for pair in _kept(op, made)]
    for name, cells in (*kept, *((name, Span(0, made.sizes[name])) for name in plan.wanted)):
        place = plan.place(name)
        known = made.stored.get(place.source, Span(0, 0))
        made.stored[place.source] = hull([known, cells.moved(place.offset)])
    return made


def _forward(plan: Plan, op: Op, made: Axis, *, whole: bool) -> None:
    layer, size = op.layer, made.sizes[op.layer.name]
    cells = Span(0, size)
    if isinstance(layer, Input):
        made.computed[op.name] = made.settled[op.name] = cells
        return
    if not isinstance(layer, (*WINDOWS, *POINTWISE)):
        made.computed[op.name], made.settled[op.name] = cells, Span(0, 0)
        return
    given = Span(0, made.sizes[op.inputs[0]])
    active = touched_by(layer, hull(_active(plan, made, name) for name in op.inputs), size)
    settled = _common(_settled(plan, made, name, layer) for name in op.inputs)
    settled = reads_only(layer, settled, given, size)
    if op.added:
        active = hull([active, _active(plan, made, op.added)])
        settled = _common([settled, _settled(plan, made, op.added, layer)])
    active = cells if whole or not active.length else active
    if op.pool:
        active = touched_by(op.pool, active, made.sizes[op.name])
        settled = reads_only(op.pool, settled, cells, made.sizes[op.name])
        made.convolved[op.name] = read_by(op.pool, active).within(cells)
    made.computed[op.name], made.settled[op.name] = active, settled


def _active(plan: Plan, made: Axis, name: str) -> Span:
    place = plan.place(name)
    cells = hull(made.computed[op] for op in plan.writers[place.source])
    return cells.moved(-place.offset).within(Span(0, made.sizes[name]))


def _settled(plan: Plan, made: Axis, name: str, reader: Layer) -> Span:
    place = plan.place(name)
    writers = plan.writers[place.source]
    if all(isinstance(plan.net.layers[op], Input) for op in writers):
        # A blank picture is zero, and so is the padding around it.
        return read_by(reader, Span(0, made.sizes[reader.name]))
    return _common(made.settled[op] for op in writers).moved(-place.offset)


def _common(spans: Iterable[Span]) -> Span:
    firsts, ends = zip(*spans, strict=True)
    return Span(max(firsts), max(*firsts, min(ends)))


def _kept(op: Op, made: Axis) -> Iterator[tuple[str, Span]]:
    """The cells that a computation writes, and those that it reads, by map."""
    written = made.computed[op.name]
    yield op.name, written
    written = made.convolved.get(op.name, written)
    if op.added:
        yield op.added, written
    for name in op.numbers_read[: len(op.layer.reads)]:
        whole = Span(0, made.sizes[name])
        if isinstance(op.layer, Conv):
            yield name, read_by(op.layer, written)
        elif isinstance(op.layer, (*WINDOWS, *POINTWISE)):
            yield name, read_by(op.layer, written).within(whole)
        else:
            yield name, whole


def multiply_adds(plan: Plan, rows: Axis, columns: Axis) -> int:
    """Of the convolutions, for the cells that they compute."""
    total = 0
    for op in plan.ops:
        cells = [a.convolved.get(op.name, a.computed[op.name]).length for a in (rows, columns)]
        total += op.layer.macs(plan.net.given_channels(op.layer), cells[0] * cells[1])
    return total


def blank_length(plan: Plan, wanted: Axis, needed: Collection[str]) -> int:
    """The shortest picture whose blank maps hold the constants of one of ``wanted.length``.

    ``needed`` are the computations of whose maps constants are read.
    """
    step = max(ceil(sight.map.scale) for sight in plan.net.sights.values())
    for length in range((wanted.length - 1) % step + 1, wanted.length, step):
        try:
            small = axis(plan, length, whole=True)
        except UsageError:  # too small a picture for the net
            continue
        if all(_same_rims(small, wanted, name) for name in needed):
            return length
    return wanted.length


def _same_rims(small: Axis, large: Axis, name: str) -> bool:
    a, b = small.settled[name], large.settled[name]
    behind = small.sizes[name] - a.end == large.sizes[name] - b.end
    return a.length > 0 and a.first == b.first and behind


def from_blank(small: Axis, large: Axis, name: str, cells: Span) -> list[int]:
    """Where the constants ``cells`` of a map stand in the blank picture's."""
    here, there = large.sizes[name], small.sizes[name]
    settled = small.settled[name]
    if here == there:
        return list(range(*cells))
    behind = there - settled.end
    return [
        n if n < settled.first else n - here + there if here - n <= behind else settled.first
        for n in range(*cells)
    ]
