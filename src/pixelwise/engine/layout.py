"""Where the maps of a plan lie in one block of memory, for one size of picture.

Channels lie side by side (N, H, W, C), as the kernels read them. A map is kept with the rim that
its readers reach into: padding and constants, written once before the computation that fills the
map. Maps that are never alive together share memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.fusing import Op, Plan
from pixelwise.engine.numbers import BYTES, FLOAT32
from pixelwise.engine.spans import Axis, Span, axis, from_blank, multiply_adds

ALIGNED = 16
"""Float32 numbers: 64 bytes, a cache line, and a vector of AVX-512."""
SETS = 512
"""Float32 numbers (2 KiB): rows of a product that lie a multiple of it apart share few places in a
cache of the first level, where 14 are wanted at once."""
WORTH_SKIPPING = 0.9
"""Share of multiply-adds: where less than a tenth of them is constant, all are computed."""


@dataclass(frozen=True)
class Layout:
    """A plan for pictures (N, H, W) of one size, and where each map begins in memory."""

    plan: Plan
    batch: int
    rows: Axis
    columns: Axis
    starts: Mapping[str, int]
    """By map with memory: where it begins, in float32 numbers."""
    length: int
    """Float32 numbers of the whole block."""

    def shape(self, name: str) -> tuple[int, int, int, int]:
        """(N, H, W, C) of a map with memory, its rim included."""
        return _shape(self.plan, self.batch, self.rows, self.columns, name)

    def made(self, op: Op) -> tuple[Span, Span]:
        """Rows and columns that a computation's layer makes: those that its pool reads, if any."""
        rows, columns = (
            axis.convolved.get(op.name, axis.computed[op.name])
            for axis in (self.rows, self.columns)
        )
        return rows, columns


def layout_for(plan: Plan, batch: int, height: int, width: int) -> Layout:
    """The layout for pictures of one size; constants are skipped where that pays.

    Raises:
        UsageError: U002 a picture too small for the net.
    """
    active, whole = (
        [axis(plan, length, whole=everything) for length in (height, width)]
        for everything in (False, True)
    )
    pays = multiply_adds(plan, *active) < WORTH_SKIPPING * multiply_adds(plan, *whole)
    return lay_out(plan, batch, *(active if pays else whole))


def lay_out(plan: Plan, batch: int, rows: Axis, columns: Axis) -> Layout:
    """Place the largest map first, each at the first gap among those that are alive with it."""
    alive = _lives(plan)
    sizes = {
        n: -(prod(_shape(plan, batch, rows, columns, n)) * BYTES[plan.held(n).kind] // -4)
        for n in alive
    }
    starts: dict[str, int] = {}
    for name in sorted(alive, key=lambda n: -sizes[n]):
        start = 0
        for other in sorted(starts, key=starts.__getitem__):
            together = alive[name].within(alive[other]).length > 0
            if together and start + sizes[name] > starts[other]:
                start = max(start, starts[other] + -(sizes[other] // -ALIGNED) * ALIGNED)
        starts[name] = start
    length = max(start + sizes[name] for name, start in starts.items())
    return Layout(plan, batch, rows, columns, starts, length)


def _lives(plan: Plan) -> dict[str, Span]:
    """By map with memory, the computations from its first writer to its last reader."""
    lives: dict[str, Span] = {}
    for i, op in enumerate(plan.ops):
        for name in (op.name, *op.numbers_read):
            source = plan.place(name).source
            lives[source] = Span(lives.get(source, Span(i, 0)).first, i + 1)
    for name in plan.wanted:
        source = plan.place(name).source
        lives[source] = Span(lives[source].first, len(plan.ops))
    return lives


def _shape(
    plan: Plan, batch: int, rows: Axis, columns: Axis, name: str
) -> tuple[int, int, int, int]:
    height, width = rows.stored[name].length, columns.stored[name].length
    channels = plan.net.channels[name]
    return batch, height, width, apart(channels) if plan.held(name) == FLOAT32 else channels


def apart(channels: int) -> int:
    """Numbers from cell to cell, such that neighbours do not push each other out of the cache."""
    return channels if channels % SETS else channels + ALIGNED


class Maps:
    """The maps of a layout: the cells of each that are kept, (N, H, W, C), by its name."""

    def __init__(self, layout: Layout, kept: Mapping[str, Tensor]) -> None:
        self.layout, self.kept = layout, kept
        self._channels: Mapping[str, Span] = {}

    def cut(self, name: str, rows: Span, columns: Span) -> Tensor:
        """(N, H, W, C): the cells of a map, a view."""
        layout = self.layout
        place = layout.plan.place(name)
        top, left = (a.stored[place.source].first for a in (layout.rows, layout.columns))
        found = self.kept[place.source]
        found = found.narrow(1, rows.first + place.offset - top, rows.length)
        found = found.narrow(2, columns.first + place.offset - left, columns.length)
        channels = self._channels.get(name, Span(0, layout.plan.net.channels[name]))
        return found.narrow(3, place.channel + channels.first, channels.length)

    def narrowed(self, channels: Mapping[str, Span]) -> Maps:
        """The same maps, of some of them only these channels."""
        part = copy(self)
        part._channels = channels
        return part

    def whole(self, name: str) -> Tensor:
        """(N, H, W, C): all cells of a map, without its rim; a view."""
        rows, columns = (Span(0, a.sizes[name]) for a in (self.layout.rows, self.layout.columns))
        return self.cut(name, rows, columns)

    def computed(self, op: Op) -> Tensor:
        """(N, H, W, C): the cells that a computation fills; a view."""
        rows, columns = (a.computed[op.name] for a in (self.layout.rows, self.layout.columns))
        return self.cut(op.name, rows, columns)

    def rims(self, op: Op, filled: Span | None = None) -> Iterator[tuple[Span, Span]]:
        """Rows and columns of the kept cells, in the rows to be ``filled`` (of the map with memory,
        by default all), that a computation does not compute.
        """
        place, axes = self.layout.plan.place(op.name), (self.layout.rows, self.layout.columns)
        kept = [axis.stored[place.source] for axis in axes]
        kept = [s.moved(-place.offset) for s in (filled or kept[0], kept[1])]
        made = [axis.computed[op.name] for axis in axes]
        for rows, columns in (
            (Span(kept[0].first, made[0].first), kept[1]),
            (Span(made[0].end, kept[0].end), kept[1]),
            (made[0], Span(kept[1].first, made[1].first)),
            (made[0], Span(made[1].end, kept[1].end)),
        ):
            if rows.length > 0 and columns.length > 0:
                yield rows, columns


def maps_in(memory: Tensor, layout: Layout) -> Maps:
    """The maps of a layout in a block of memory that is given."""
    kept = {}
    for name, start in layout.starts.items():
        shape, kind = layout.shape(name), getattr(torch, layout.plan.held(name).kind)
        kept[name] = memory[start:].view(kind)[: prod(shape)].view(shape)
    return Maps(layout, kept)


@dataclass(frozen=True)
class Rim:
    """Cells that are written before the computation which fills the rest of their map."""

    cells: Tensor
    """(N, H, W, C), a view."""
    constants: Tensor | None
    """(H, W, C); None: zero."""
    zero: int = 0
    """The number that stands for zero."""

    def write(self) -> None:
        """Write them."""
        if self.constants is None:
            self.cells.fill_(self.zero)
        else:
            self.cells.copy_(self.constants)


@dataclass(frozen=True)
class Blank:
    """What a net makes of a small blank picture: the constants of every larger one."""

    rows: Axis
    columns: Axis
    maps: Mapping[str, Tensor]
    """By computation, (H, W, C)."""

    def cells(self, name: str, layout: Layout, rows: Span, columns: Span) -> Tensor:
        """(H, W, C): the constants of a map of ``layout``."""
        picked = from_blank(self.rows, layout.rows, name, rows)
        beside = from_blank(self.columns, layout.columns, name, columns)
        return self.maps[name][picked][:, beside]


def rims_of(op: Op, maps: Maps, blank: Blank | None, filled: Span | None = None) -> list[Rim]:
    """The rims of a computation's map, or of rows of it: zero beyond it, constants within."""
    found, layout = [], maps.layout
    zero = layout.plan.held(op.name).zero
    map_rows, map_columns = (Span(0, a.sizes[op.name]) for a in (layout.rows, layout.columns))
    for rows, columns in maps.rims(op, filled):
        cells = maps.cut(op.name, rows, columns)
        inside, beside = rows.within(map_rows), columns.within(map_columns)
        constants = None
        if blank and inside.length and beside.length:
            margin = (beside.first - columns.first, columns.end - beside.end)
            above = (inside.first - rows.first, rows.end - inside.end)
            known = blank.cells(op.name, layout, inside, beside)
            constants = F.pad(known, (0, 0, *margin, *above), value=zero)
        found.append(Rim(cells, constants, zero))
    return found
