"""In what order bands of rows are computed when a picture is not carried out map by map.

What is wanted is pulled: a computation asks those before it for the rows that it reads. Bands end
where the tiles of the whole map end (``Edges``), so that every number is made in the same way, and
is the same bit for bit, however a map is cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from pixelwise.engine.fusing import Op, Plan
from pixelwise.engine.spans import Axis, Span, by_rows, hull, read_by
from pixelwise.nets.layers import Conv

Wanted = Mapping[str, Span]
"""Cells of maps that are asked for, by the map."""


@dataclass(frozen=True)
class Edges:
    """Where the bands of a computation may begin and end along an axis."""

    cells: Span
    """What is computed in all."""
    step: int
    """From an edge to the next; the last band may be of any length ..."""
    rest: int
    """... from this on."""

    def after(self, cell: int) -> int:
        """The first edge at ``cell`` or behind it."""
        edge = self.cells.first + -((self.cells.first - cell) // self.step) * self.step
        return edge if self.cells.end - edge >= self.rest else self.cells.end

    def before(self, cell: int) -> int:
        """The last edge at ``cell`` or before it, that of the whole but for its end."""
        latest = min(cell, max(self.cells.first, self.cells.end - self.rest))
        return latest - (latest - self.cells.first) % self.step


def edges_of(op: Op, axis: Axis, tile: int) -> Edges:
    """The edges of a computation whose kernel makes ``tile`` of its cells at once."""
    cells = axis.computed[op.name]
    if not by_rows(op.layer):
        return Edges(cells, max(1, cells.length), 0)
    pooled = max(1, tile // 2)
    return Edges(cells, pooled, pooled + 1) if op.pool else Edges(cells, tile, tile)


def reads(op: Op, cells: Span, axis: Axis) -> Iterator[tuple[str, Span]]:
    """The maps that a computation reads for ``cells`` of its own, and which of theirs."""
    made = read_by(op.pool, cells).within(axis.convolved[op.name]) if op.pool else cells
    if op.added:
        yield op.added, made
    for name in op.numbers_read[: len(op.layer.reads)]:
        whole = Span(0, axis.sizes[name])
        read = read_by(op.layer, made) if by_rows(op.layer) else whole
        yield name, read if isinstance(op.layer, Conv) else read.within(whole)


def restricted(plan: Plan, axis: Axis, edges: Mapping[str, Edges], wanted: Wanted) -> Axis:
    """The axis on which nothing is computed but what leads to the ``wanted`` cells of maps."""
    needed = {plan.place(name).source: _moved(plan, name, cells) for name, cells in wanted.items()}
    computed, convolved, stored = dict[str, Span](), dict[str, Span](), dict(needed)
    for op in reversed(plan.ops):
        source, grid = plan.place(op.name).source, edges[op.name]
        made = needed.get(source, Span(0, 0)).within(grid.cells)
        if made.length:
            made = Span(grid.before(made.first), grid.after(made.end))
        computed[op.name] = made
        stored[source] = hull([stored.get(source, made), made])
        if op.pool:
            convolved[op.name] = read_by(op.pool, made).within(axis.convolved[op.name])
        for name, cells in reads(op, made, axis) if made.length else ():
            at, moved = plan.place(name).source, _moved(plan, name, cells)
            for spans in (needed, stored):
                spans[at] = hull([spans.get(at, moved), moved])
    return replace(axis, computed=computed, convolved=convolved, stored=stored)


def _moved(plan: Plan, name: str, cells: Span) -> Span:
    return cells.moved(plan.place(name).offset)


class Bands:
    """The rows of every map that are there, and the order in which further ones are computed.

    ``heights`` are how many rows a computation makes at a time at the most, if an edge allows it.
    """

    def __init__(
        self, plan: Plan, rows: Axis, edges: Mapping[str, Edges], heights: Mapping[str, int]
    ) -> None:
        self.plan, self.rows, self._edges, self._heights = plan, rows, edges, heights
        self.made = {op.name: rows.computed[op.name].first for op in plan.ops}
        """By computation, the first row that is not made yet."""
        self._ops = {op.name: op for op in plan.ops}
        self._taken, self._busy = dict[str, int](), set[str]()
        self._readers: dict[str, list[Op]] = {source: [] for source in rows.stored}
        for op in plan.ops:
            for source in {plan.place(name).source for name in op.numbers_read}:
                self._readers[source].append(op)

    def wanted(self, strip: Wanted) -> Iterator[tuple[Op, Span]]:
        """What is computed, in order, for cells that are asked for; none before them is, again.

        A band counts as made when the next one is taken.
        """
        for name, cells in strip.items():
            self._taken[self.plan.place(name).source] = _moved(self.plan, name, cells).first
        for name, cells in strip.items():
            yield from self._until(name, cells.end)

    def _until(self, name: str, row: int) -> Iterator[tuple[Op, Span]]:
        place = self.plan.place(name)
        for writer in self.plan.writers[place.source]:
            yield from self._compute(self._ops[writer], row + place.offset)

    def _compute(self, op: Op, row: int) -> Iterator[tuple[Op, Span]]:
        own = self.rows.computed[op.name]
        # The constants before the first row are written with it.
        end = min(max(row, own.first + 1), own.end)
        while (first := self.made[op.name]) < end:
            last = self._edges[op.name].after(min(end, first + self._heights[op.name]))
            band = Span(first, min(last, own.end))
            self._busy.add(op.name)
            for name, cells in reads(op, band, self.rows):
                yield from self._until(name, cells.end)
            yield op, band
            self._busy.discard(op.name)
            self.made[op.name] = band.end
            yield from self._scored(self.plan.place(op.name).source)

    def _scored(self, source: str) -> Iterator[tuple[Op, Span]]:
        """Scores of rows that are there, and take a part of their memory until they are read."""
        for op in self._readers[source]:
            alone = isinstance(op.layer, Conv) and read_by(op.layer, Span(0, 2)) == Span(0, 2)
            fewer = self.plan.net.channels[source] >= 4 * self.plan.net.channels[op.name]
            if alone and fewer and not op.pool and op.name not in self._busy:
                end = min(self.made[writer] for writer in self.plan.writers[source])
                yield from self._compute(op, end - self.plan.place(op.inputs[0]).offset)

    def kept(self, source: str) -> int:
        """The first row of a map with memory that somebody will still read, or write."""
        kept = [self._taken[source]] if source in self._taken else []
        for name in self.plan.writers[source]:
            none = Span(self.made[name], self.made[name])
            kept.append(self.filled(self._ops[name], none)[1].first)
        for op in self._readers[source]:
            first = self.made[op.name]
            for name, cells in reads(op, Span(first, first + 1), self.rows):
                if (
                    self.plan.place(name).source == source
                    and first < self.rows.computed[op.name].end
                ):
                    kept.append(_moved(self.plan, name, cells).first)
        return min(kept)

    def filled(self, op: Op, band: Span) -> tuple[str, Span]:
        """The map with memory that a band is written to, and which rows of it.

        At the ends of what is computed those beyond it are filled, too.
        """
        place, own = self.plan.place(op.name), self.rows.computed[op.name]
        stored, (first, end) = self.rows.stored[place.source], band.moved(place.offset)
        first = min(first, stored.first) if band.first == own.first else first
        return place.source, Span(first, max(end, stored.end) if band.end == own.end else end)


def rows_held(bands: Bands, strips: Iterable[Wanted]) -> dict[str, int]:
    """By map with memory, the most rows that are kept at once while strips are made in order."""
    held, ends = dict.fromkeys(bands.rows.stored, 0), dict[str, int]()
    for strip in strips:
        for op, band in bands.wanted(strip):
            source, filled = bands.filled(op, band)
            ends[source] = max(filled.end, ends.get(source, filled.end))
            held[source] = max(held[source], ends[source] - min(bands.kept(source), filled.first))
    return held
