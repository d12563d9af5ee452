"""Convolutions as one product: of one tap, of few channels, with a stride."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pixelwise.engine import kernels
from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op
from pixelwise.engine.layout import Maps
from pixelwise.engine.operations import Work, given, spans_of
from pixelwise.engine.telling import Told, limits, padded_bias, strides
from pixelwise.engine.vectors import FLOAT, Code, processor
from pixelwise.engine.workers import Scratch, Workers, threads
from pixelwise.machine.memory import give_back_pages
from pixelwise.nets.layers import Conv

CACHED = 2**17
"""Numbers (512 KiB) of what is read and written for each panel of filters: half a cache of the
second level."""
FEW = 8
"""Parts for each thread at the least, so that none waits long for the last."""


class Direct:
    """A convolution's weights as the product reads them, for all groups."""

    def __init__(self, weights: Weights, op: Op) -> None:
        layer = op.layer
        assert isinstance(layer, Conv)
        self.layer, self.filters = layer, layer.width // layer.groups
        panel = processor().panel
        self.panels = -(self.filters // -panel)
        self.kernels = [_panels(part, panel) for part in torch.split(weights.kernel, self.filters)]
        self.bias = padded_bias(weights, layer.groups, self.panels * panel)
        self.limits = limits(op)


def _panels(kernel: Tensor, panel: int) -> Tensor:
    """(K, C, k, k) to (panels, k, k, C, panel)."""
    panels = -(len(kernel) // -panel)
    found = torch.zeros(panels, *kernel.shape[2:], kernel.shape[1], panel, dtype=torch.float32)
    for own, part in zip(found, torch.split(kernel, panel), strict=True):
        own[..., : len(part)] = part.permute(2, 3, 1, 0)
        give_back_pages(part)
    return found


@dataclass(frozen=True)
class _Part:
    """One picture's, one group's share: tiles of cells by panels of filters."""

    kernel: Callable[..., None]
    told: Told
    panels: int
    tiles: int
    tiles_each: int
    """Of what one worker does at a time."""
    panels_each: int

    def carry_out(self, workers: Workers) -> None:
        across = -(self.tiles // -self.tiles_each)

        def job(i: int, _: Scratch) -> None:
            panel, tile = (n * each for n, each in zip(divmod(i, across), size, strict=True))
            tiles, panels = min(size[1], self.tiles - tile), min(size[0], self.panels - panel)
            self.kernel(self.told.at, tile, tiles, panel, panels)

        size = (self.panels_each, self.tiles_each)
        workers.each(across * -(self.panels // -self.panels_each), job)


def convolution(op: Op, maps: Maps, weights: Direct, workers: Workers) -> Work:
    """A convolution with all that is folded into it, but for a pool."""
    (source,), target = given(op, maps), maps.computed(op)
    added = maps.cut(op.added, *spans_of(op, maps)) if op.added else None
    parts = []
    for n in range(len(source)):
        for g in range(weights.layer.groups):
            own = None if added is None else added[n]
            parts.append(_part(weights, source[n], target[n], own, g))

    def work() -> None:
        for part in parts:
            part.carry_out(workers)

    return work


def _part(
    weights: Direct, source: Tensor, target: Tensor, added: Tensor | None, group: int
) -> _Part:
    layer, channels = weights.layer, weights.kernels[0].shape[3]
    height, width = target.shape[:2]
    cells = [("source", source), ("target", target), ("added", added)]
    one_tap = layer.kernel == 1 and layer.stride == 1
    if one_tap and all(c is None or c.stride(0) == width * c.stride(1) for _, c in cells):
        height, width = 1, height * width  # rows follow each other without a rim between them
    facts = {
        **strides("source", source, group * channels, layer.stride),
        **strides("target", target, group * weights.filters),
        **strides("added", added, group * weights.filters),
    }
    row, cell = (FLOAT * layer.dilation * source.stride(i) for i in range(2))
    taps = layer.kernel
    if cell == FLOAT * channels:  # the taps of a row lie side by side
        taps, channels = 1, layer.kernel * channels
    rows = kernels.tall(width)
    wide = -(width // -rows)
    *parts, block = _cut(wide * height, rows, weights, added is not None)
    told = Told(
        facts
        | {
            "channels": channels,
            "height": height,
            "width": width,
            "tiles_wide": wide,
            "weights": weights.kernels[group].data_ptr(),
            "panels": weights.panels,
            "bias": weights.bias[group].data_ptr(),
            "filters": weights.filters,
            "limits": weights.limits.data_ptr(),
            "taps_down": layer.kernel,
            "taps_right": taps,
            "tap_row": row,
            "tap_cell": cell,
            "block": block,
        },
        weights,
    )
    narrow = kernels.narrow(weights.filters)
    kernel = product_of_taps(rows, added=added is not None, narrow=narrow)
    return _Part(kernel, told, weights.panels, wide * height, *parts)


def _cut(tiles: int, rows: int, weights: Direct, added: int) -> tuple[int, int, int]:
    """Tiles and panels that a worker does at a time, and the tiles that it does panel by panel."""
    parts = FEW * threads()
    taps = weights.kernels[0][0].numel() // processor().panel
    if weights.kernels[0].numel() > tiles * rows * taps:
        # Weights are more than the map: each is read once, by whoever has all the cells.
        return tiles, max(1, weights.panels // parts), tiles
    a_cell = weights.layer.stride * taps + (1 + added) * weights.filters
    return -(tiles // -parts), weights.panels, max(1, CACHED // (rows * a_cell))


# -- the kernel -----------------------------------------------------------------------------------
@cache
def product_of_taps(rows: int, *, added: bool, narrow: bool) -> Callable[..., None]:
    """(facts, first tile, tiles, first panel, panels): a convolution as one product, tap by tap.

    A tile is ``rows`` cells of a row of the output by a panel of filters, see ``multiply``.
    """
    code = Code("direct", 5, processor().lanes)
    _, first, tiles, panel, panels = code.arguments

    block = kernels.facts_of(code)["block"]

    def some(n: Any, _: list[Any]) -> Sequence[Any]:
        begin = code.mul(n, block)
        end = code.least(code.add(begin, block), tiles)

        def by_panel(i: Any, _: list[Any]) -> Sequence[Any]:
            def each(t: Any, _: list[Any]) -> Sequence[Any]:
                _Tile(code, rows, code.add(panel, i), code.add(first, t), added=added).made(narrow)
                return ()

            code.repeat(end, each, first=begin)
            return ()

        code.repeat(panels, by_panel)
        return ()

    code.repeat(code.divided(code.add(tiles, block, -1), block)[0], some)
    return code.compiled()


class _Tile:
    """Some cells of a row by a panel of filters."""

    def __init__(self, code: Code, rows: int, panel: Any, tile: Any, *, added: bool) -> None:
        self.code, self.rows, self.panel, self.added = code, rows, panel, added
        self.f = kernels.facts_of(code)
        self.limited = kernels.relu(code, self.f)
        self.corner, _ = kernels.corner_of(code, self.f, tile, 1, rows)
        self.begin = code.mul(panel, FLOAT * processor().panel)
        self.left = code.sub(self.f["filters"], code.mul(panel, processor().panel))

    def made(self, narrow: bool) -> None:
        """Compute and write them; of a last panel that is ``narrow`` its first vector alone."""
        code, sums = self.code, [] if narrow else self.sums(2)
        full = code.less(processor().panel - 1, self.left)
        with code.where(full):
            self.write(sums or self.sums(2), lambda _: None)
        with code.where(code.b.not_(full)):
            masks = [code.mask(code.sub(self.left, v * code.lanes)) for v in range(2)]
            self.write(sums or self.sums(1), masks.__getitem__)

    def sums(self, vectors: int) -> list[Any]:
        code, f = self.code, self.f
        source = kernels.cell(code, f, "source", *self.corner)
        places = [code.add(f["bias"], self.begin, v * code.lanes * FLOAT) for v in range(vectors)]

        def down(y: Any, carried: list[Any]) -> Sequence[Any]:
            line = code.add(source, code.mul(y, f["tap_row"]))

            def right(x: Any, carried: list[Any]) -> Sequence[Any]:
                start = code.add(line, code.mul(x, f["tap_cell"]))
                *sums, at = carried
                step, depth = f["source_cell"], f["channels"]
                return kernels.tile(code, self.rows, start, step, depth, at, sums)

            return code.repeat(f["taps_right"], right, carried)

        size = code.mul(f["taps_down"], f["taps_right"], f["channels"], FLOAT * processor().panel)
        weights = code.add(f["weights"], code.mul(self.panel, size))
        start = [*(list(map(code.load, places)) * self.rows), weights]
        return code.repeat(f["taps_down"], down, start)[:-1]

    def write(self, sums: Sequence[Any], mask: Callable[[int], Any]) -> None:
        code, vectors = self.code, len(sums) // self.rows
        for i, value in enumerate(sums):
            r, v = divmod(i, vectors)
            if self.added:
                value = code.plus(value, code.load(self.place("added", r, v), mask(v)))
            code.store(self.limited(value), self.place("target", r, v), mask(v))

    def place(self, which: str, r: int, v: int) -> Any:
        """The address of a vector of a cell."""
        code, (row, column) = self.code, self.corner
        cell = kernels.cell(code, self.f, which, row, code.add(column, r))
        return code.add(cell, self.begin, v * code.lanes * FLOAT)
