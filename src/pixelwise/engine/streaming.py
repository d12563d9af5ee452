"""A plan carried out band by band of rows: a picture of any height in memory that it does not need.

Of every map the rows are kept that somebody will still read (``bands.py``), in a buffer whose rows
are moved up when it is full. Nothing is computed twice, and by our own kernels every score is that
of the whole picture, bit for bit. A picture too wide for that is cut into blocks of columns, which
are as exact and compute what lies around their borders once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from pixelwise.engine.bands import Bands, Edges, edges_of, restricted, rows_held
from pixelwise.engine.convolutions import Convolutions, Kernel, kernel_of
from pixelwise.engine.fusing import Op, Plan
from pixelwise.engine.layout import Blank, Layout, Maps, layout_for, rims_of
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

STRIP = 64
"""Rows of labels that are made at once: two of the coarsest scores, a tile of fc6."""
Feed = Callable[[Span, Span], Tensor]
"""Rows and columns of a preprocessed picture, (B, H, W) float32."""


class Part(NamedTuple):
    """What of the heads' maps is wanted: some rows by some columns."""

    rows: Span
    columns: Span


@dataclass(frozen=True)
class Stream:
    """A plan for one size of picture, to be carried out in bands of about so many bytes."""

    layout: Layout
    """Of the whole picture."""
    kernels: Mapping[str, Kernel]
    """By convolution, as the whole picture has it."""
    part: Part
    band: int
    """Bytes of a map that are computed at a time."""

    def edges(self, which: int) -> dict[str, Edges]:
        """Where the bands of rows (0), or blocks of columns (1), may begin and end."""
        axis = (self.layout.rows, self.layout.columns)[which]
        tiles = {
            op.name: OUTPUTS[op.layer.kernel]
            for op in self.layout.plan.ops
            if isinstance(op.layer, Conv) and self.kernels[op.name] == "winograd"
        }
        return {op.name: edges_of(op, axis, tiles.get(op.name, 1)) for op in self.layout.plan.ops}

    @cached_property
    def cut(self) -> Layout:
        """The layout without what does not lead to the part."""
        plan, axes = self.layout.plan, (self.layout.rows, self.layout.columns)
        rows, columns = (
            restricted(plan, axes[i], self.edges(i), scores_under(plan, span, axes[i].sizes))
            for i, span in enumerate(self.part)
        )
        return replace(self.layout, rows=rows, columns=columns)

    def bands(self) -> Bands:
        """The order of computation, from its beginning."""
        cut, heights = self.cut, {}
        for op in cut.plan.ops:
            maps = [
                (op.name, 1),
                *((name, getattr(op.layer, "stride", 1)) for name in op.numbers_read),
            ]
            rows = (n * self._row(name) for name, n in maps)
            heights[op.name] = max(1, self.band // max(*rows, 1))
        return Bands(cut.plan, cut.rows, self.edges(0), heights)

    def _row(self, name: str) -> int:
        """Bytes of a row of a map."""
        cut = self.cut
        width = cut.columns.stored[cut.plan.place(name).source].length
        return BYTES[cut.plan.held(name).kind] * cut.plan.net.channels[name] * width

    def strips(self) -> Iterator[tuple[Span, dict[str, Span]]]:
        """Rows of the heads' maps, in order, and the scores that they are made of."""
        for first in range(self.part.rows.first, self.part.rows.end, STRIP):
            rows = Span(first, min(first + STRIP, self.part.rows.end))
            yield rows, scores_under(self.cut.plan, rows, self.cut.rows.sizes)

    @cached_property
    def rows_held(self) -> dict[str, int]:
        """By map with memory, the rows of its buffer."""
        return rows_held(self.bands(), (scores for _, scores in self.strips()))

    def shape(self, name: str) -> tuple[int, int, int, int]:
        """(N, H, W, C) of a map's buffer."""
        cut = self.cut
        return (
            1,
            self.rows_held[name],
            cut.columns.stored[name].length,
            cut.plan.net.channels[name],
        )

    @property
    def numbers(self) -> int:
        """Of all buffers."""
        return sum(torch.Size(self.shape(name)).numel() for name in self.rows_held)


def stream(plan: Plan, size: tuple[int, int], part: Part, band: int) -> Stream:
    """How a part of the heads' maps is made of a picture of ``size``; nothing is allocated.

    Raises:
        UsageError: U002 a picture too small for the net.
    """
    layout, kernels = layout_for(plan, 1, *size), dict[str, Kernel]()
    for op in plan.ops:
        if isinstance(op.layer, Conv):
            cells = [
                axis.convolved.get(op.name, axis.computed[op.name]).length
                for axis in (layout.rows, layout.columns)
            ]
            kernels[op.name] = kernel_of(op, plan.net.channels[op.inputs[0]], *cells)
    return Stream(layout, kernels, part, band)


def scores_under(plan: Plan, cells: Span, sizes: Mapping[str, int]) -> dict[str, Span]:
    """By map of scores, the cells of which ``cells`` of the heads' maps are made."""
    layers, found = records(plan.net), dict[str, Span]()
    for head, name in coarse_scores(plan.net).items():
        layer = layers[plan.net.outputs[head]]
        under = cells if name == layer.name else read_by(layer, cells)
        found[name] = hull([found.get(name, Span(0, 0)), under.within(Span(0, sizes[name]))])
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
        self._convolutions, self._bands = convolutions, stream.bands()
        cut = stream.cut
        self._buffers = {
            n: torch.zeros(stream.shape(n), dtype=getattr(torch, cut.plan.held(n).kind))
            for n in cut.rows.stored
        }
        # What a band computes, and the rows that are at hand, are written into this axis.
        self._rows = replace(cut.rows, computed={}, convolved={}, stored={})
        self._ends = {name: span.first for name, span in cut.rows.stored.items()}
        for name, span in cut.rows.stored.items():
            self._rows.stored[name] = Span(span.first, span.first + stream.rows_held[name])
        self._maps = Maps(replace(cut, rows=self._rows), self._buffers)

    def labels(self, feed: Feed) -> Iterator[tuple[Span, dict[str, Tensor]]]:
        """Strips of rows from the top on, and each head's labels of them, (h, w).

        Raises:
            NumericalError: N003, scores are not finite.
        """
        for rows, scores in self.stream.strips():
            with self._lock, evaluated(self.network):  # not while the strip is in others' hands
                for op, band in self._bands.wanted(scores):
                    self._compute(op, band, feed)
                heads = self.network.net.outputs
                made = {head: self.scores(head, rows).labels()[0] for head in heads}
            yield rows, made

    def _compute(self, op: Op, band: Span, feed: Feed) -> None:
        self._make_room(*self._bands.filled(op, band))
        rows, maps = self._rows, self._maps
        rows.computed[op.name] = band
        if op.pool:
            cells = self.stream.cut.rows.convolved[op.name]
            rows.convolved[op.name] = read_by(op.pool, band).within(cells)
        _, filled = self._bands.filled(op, band)
        for rim in rims_of(op, maps, self._blank, filled):
            rim.write()
        if isinstance(op.layer, Input):
            columns = self.stream.cut.columns.computed[op.name]
            picture = self._own_bands(op, feed(band, columns)).permute(1, 2, 0)
            write(picture, maps.computed(op)[0], maps.layout.plan.held(op.name))
        else:
            self._convolutions.work(op, maps, self.stream.kernels.get(op.name))()

    def _own_bands(self, op: Op, picture: Tensor) -> Tensor:
        inputs = self.network.net.inputs
        return torch.split(picture, [*inputs.values()])[[*inputs].index(op.name)]

    def _make_room(self, source: str, filled: Span) -> None:
        """Rows that nobody will read again make place for those that are to be filled."""
        held, buffer = self._rows.stored[source], self._buffers[source]
        if filled.end > held.end:
            first = min(self._bands.kept(source), filled.first)
            kept = self._ends[source] - first
            at = first - held.first
            for i in range(0, kept, at):  # no more at a time than do not lie on each other
                part = buffer[:, at + i : at + min(i + at, kept)]
                buffer[:, i : i + part.shape[1]] = part
            self._rows.stored[source] = Span(first, first + held.length)
        self._ends[source] = max(self._ends[source], filled.end)

    def scores(self, head: str, rows: Span) -> ScoreMap:
        """A head's scores of the strip that was made last."""
        output, columns = self.network.net.outputs[head], self.stream.part.columns
        name, whole = coarse_scores(self.network.net)[head], self.stream.layout
        under = [
            scores_under(whole.plan, span, axis.sizes)[name]
            for span, axis in ((rows, whole.rows), (columns, whole.columns))
        ]
        cells, begins = self._maps.cut(name, *under).permute(0, 3, 1, 2), [0, 0]
        module = self.network.get_submodule(output) if name != output else None
        if isinstance(module, FixedUpsampling):
            begins = [
                module.offset + span.first - len(module.shares) * read.first
                for span, read in zip((rows, columns), under, strict=True)
            ]
        assert module is None or isinstance(module, FixedUpsampling)
        window = Window(begins[0], begins[1], rows.length, columns.length)
        scores = ScoreMap(cells, module, window)
        refuse_not_finite(scores)
        return scores
