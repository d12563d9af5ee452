"""A plan carried out band by band of rows: a picture of any height in the memory of a few.

Of every map the rows are kept that somebody will still read (``bands.py``), in a buffer whose rows
are moved up when it is full. Nothing is computed twice, and by our own kernels every score is that
of the whole picture, bit for bit. A picture too wide for that is cut into blocks of columns, which
are as exact and compute once more what their neighbours see of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pixelwise.engine.bands import Bands, Edges, edges_of, restricted, rows_held
from pixelwise.engine.convolutions import Convolutions, Kernel, kernel_of
from pixelwise.engine.fusing import Op, Plan
from pixelwise.engine.layout import Blank, Layout, Maps, rims_of
from pixelwise.engine.modules import FixedUpsampling
from pixelwise.engine.network import Network
from pixelwise.engine.numbers import BYTES
from pixelwise.engine.plan import coarse_scores, records
from pixelwise.engine.rounding import write
from pixelwise.engine.runner import ScoreMap, evaluated, refuse_not_finite
from pixelwise.engine.spans import Span, hull, read_by
from pixelwise.engine.upsampling import Window
from pixelwise.engine.winograd import OUTPUTS
from pixelwise.nets.layers import Conv, Input

STRIP = 256
"""Rows of labels that are asked for at once: eight of the coarsest scores, so that fc6 reads its
weights for four rows of tiles; with 64 VGG16 took 1.4 times as long, with 512 no less."""
Feed = Callable[[Span, Span], Tensor]
"""Rows and columns of a preprocessed picture, (B, H, W) float32."""


@dataclass(frozen=True)
class Stream:
    """How a part of the heads' maps is made in bands; nothing is allocated."""

    layout: Layout
    """Of the whole picture."""
    rows: Span
    columns: Span
    band: int
    """Bytes of a map that are computed or read at a time, but for one row or tile at the least."""

    @cached_property
    def kernels(self) -> dict[str, Kernel]:
        """By convolution, as the whole picture has it."""
        plan, made = self.layout.plan, self.layout.made
        return {
            op.name: kernel_of(op, plan.net.channels[op.inputs[0]], *(s.length for s in made(op)))
            for op in plan.ops
            if isinstance(op.layer, Conv)
        }

    @cached_property
    def _edges(self) -> list[dict[str, Edges]]:
        """Of rows, and of columns."""
        tiles = {
            op.name: OUTPUTS[op.layer.kernel]
            for op in self.layout.plan.ops
            if isinstance(op.layer, Conv) and self.kernels[op.name] == "winograd"
        }
        return [
            {op.name: edges_of(op, axis, tiles.get(op.name, 1)) for op in self.layout.plan.ops}
            for axis in (self.layout.rows, self.layout.columns)
        ]

    @cached_property
    def cut(self) -> Layout:
        """The layout without what does not lead to the part."""
        plan, axes = self.layout.plan, (self.layout.rows, self.layout.columns)
        rows, columns = (
            restricted(plan, axis, edges, scores_under(plan, own, axis.sizes))
            for axis, edges, own in zip(axes, self._edges, (self.rows, self.columns), strict=True)
        )
        return replace(self.layout, rows=rows, columns=columns)

    def bands(self) -> Bands:
        """The order of computation, from its beginning."""
        cut, heights = self.cut, dict[str, int]()
        for op in cut.plan.ops:
            step = getattr(op.layer, "stride", 1)
            rows = [self._row(op.name), *(step * self._row(name) for name in op.numbers_read)]
            heights[op.name] = max(1, self.band // max(1, *rows))
        return Bands(cut.plan, cut.rows, self._edges[0], heights)

    def _row(self, name: str) -> int:
        """Bytes of a row of a map."""
        plan, columns = self.cut.plan, self.cut.columns.stored
        width = columns[plan.place(name).source].length
        return BYTES[plan.held(name).kind] * plan.net.channels[name] * width

    def strips(self) -> Iterator[tuple[Span, dict[str, Span]]]:
        """Rows of the heads' maps, in order, and the scores that they are made of."""
        for first in range(self.rows.first, self.rows.end, STRIP):
            rows = Span(first, min(first + STRIP, self.rows.end))
            yield rows, scores_under(self.cut.plan, rows, self.cut.rows.sizes)

    @cached_property
    def rows_held(self) -> dict[str, int]:
        """By map with memory, the rows of its buffer."""
        return rows_held(self.bands(), (scores for _, scores in self.strips()))

    @property
    def held(self) -> int:
        """Bytes of all buffers."""
        return sum(rows * self._row(name) for name, rows in self.rows_held.items())


def scores_under(plan: Plan, cells: Span, sizes: Mapping[str, int]) -> dict[str, Span]:
    """By map of scores, the cells of which ``cells`` of the heads' maps are made."""
    layers, found = records(plan.net), dict[str, Span]()
    for head, name in coarse_scores(plan.net).items():
        layer = layers[plan.net.outputs[head]]
        under = (cells if name == layer.name else read_by(layer, cells)).within(
            Span(0, sizes[name])
        )
        found[name] = hull([found.get(name, under), under])
    return found


class Streaming:
    """Buffers for a stream, and what fills them."""

    def __init__(
        self,
        stream: Stream,
        network: Network,
        convolutions: Convolutions,
        blank: Blank | None,
        lock: AbstractContextManager[object],
    ) -> None:
        self.stream, self.network, self._blank, self._lock = stream, network, blank, lock
        self._convolutions, self._bands, cut = convolutions, stream.bands(), stream.cut
        self._ends = {name: span.first for name, span in cut.rows.stored.items()}
        at_hand = {n: Span(at, at + stream.rows_held[n]) for n, at in self._ends.items()}
        # What a band computes, and the rows that are at hand, are written into this axis.
        self._rows = replace(cut.rows, computed={}, convolved={}, stored=at_hand)
        layout = replace(cut, rows=self._rows)
        kinds = {n: getattr(torch, cut.plan.held(n).kind) for n in at_hand}
        buffers = {n: torch.zeros(layout.shape(n), dtype=kind) for n, kind in kinds.items()}
        self._maps = Maps(layout, buffers)

    def labels(self, feed: Feed) -> Iterator[tuple[Span, dict[str, Tensor]]]:
        """Strips of rows from the top on, and each head's labels of them, (h, w).

        Of heads that give numbers or edges they are the scores, (P, h, w) float32.

        Raises:
            NumericalError: N003, scores are not finite.
        """
        for rows, scores in self.stream.strips():
            with self._lock, evaluated(self.network):  # not while the strip is in others' hands
                for op, band in self._bands.wanted(scores):
                    self._compute(op, band, feed)
                heads = self.network.net.outputs
                made = {head: self._made(head, rows) for head in heads}
            yield rows, made

    def _made(self, head: str, rows: Span) -> Tensor:
        scores, kind = self.scores(head, rows), self.network.net.kind(head)
        return (scores.whole() if kind.measured else scores.labels())[0]

    def _compute(self, op: Op, band: Span, feed: Feed) -> None:
        source, filled = self._bands.filled(op, band)
        self._make_room(source, filled)
        rows, maps, cut = self._rows, self._maps, self.stream.cut
        rows.computed[op.name] = band
        if op.pool:
            rows.convolved[op.name] = read_by(op.pool, band).within(cut.rows.convolved[op.name])
        for rim in rims_of(op, maps, self._blank, filled):
            rim.write()
        if isinstance(op.layer, Input):
            inputs, picture = self.network.net.inputs, feed(band, cut.columns.computed[op.name])
            own = torch.split(picture, [*inputs.values()])[[*inputs].index(op.name)]
            write(own.permute(1, 2, 0), maps.computed(op)[0], cut.plan.held(op.name))
        else:
            self._convolutions.work(op, maps, self.stream.kernels.get(op.name))()

    def _make_room(self, source: str, filled: Span) -> None:
        """Rows that nobody will read again make place for those that are to be filled."""
        held, buffer = self._rows.stored[source], self._maps.kept[source]
        if filled.end > held.end:
            first = min(self._bands.kept(source), filled.first)
            kept, at = self._ends[source] - first, first - held.first
            for i in range(0, kept, at):  # no more at a time than do not lie on each other
                part = buffer[:, at + i : at + min(i + at, kept)]
                buffer[:, i : i + part.shape[1]] = part
            self._rows.stored[source] = held.moved(at)
        self._ends[source] = max(self._ends[source], filled.end)

    def scores(self, head: str, rows: Span) -> ScoreMap:
        """A head's scores of the strip that was made last."""
        output, part = self.network.net.outputs[head], (rows, self.stream.columns)
        name, layout = coarse_scores(self.network.net)[head], self.stream.layout
        under = [
            scores_under(layout.plan, own, axis.sizes)[name]
            for own, axis in zip(part, (layout.rows, layout.columns), strict=True)
        ]
        cells, begins = self._maps.cut(name, *under).permute(0, 3, 1, 2), [0, 0]
        module = self.network.get_submodule(output) if name != output else None
        assert module is None or isinstance(module, FixedUpsampling)
        if module:
            begins = [
                module.offset + own.first - len(module.shares) * read.first
                for own, read in zip(part, under, strict=True)
            ]
        window = Window(begins[0], begins[1], *(own.length for own in part))
        scores = ScoreMap(cells, module, window)
        refuse_not_finite(scores)
        return scores
