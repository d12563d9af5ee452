"""Convolutions as one product: of one tap, of few channels, with a stride."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import chain, product
from typing import Any

import torch
from torch import Tensor

from pixelwise.engine import kernels
from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op
from pixelwise.engine.layout import Maps
from pixelwise.engine.operations import Work
from pixelwise.engine.telling import Kernel, Panels, Told, handed_out, places, shares
from pixelwise.engine.vectors import FLOAT, Code, processor
from pixelwise.engine.workers import Workers, threads
from pixelwise.machine.memory import give_back_pages

CACHED = 2**17
"""Numbers (512 KiB) of what is read and written for each panel of filters: half a cache of the
second level."""
FEW = 8
"""Parts for each thread at the least, so that none waits long for the last."""


class Direct:
    """A convolution's weights as the product reads them, for all groups."""

    def __init__(self, weights: Weights, op: Op) -> None:
        self.panels = Panels(weights, op, _panels)


def _panels(kernel: Tensor, panel: int) -> Tensor:
    """(K, C, k, k) to (panels, k, k, C, panel)."""
    panels = -(len(kernel) // -panel)
    found = torch.zeros(panels, *kernel.shape[2:], kernel.shape[1], panel, dtype=torch.float32)
    for own, part in zip(found, torch.split(kernel, panel), strict=True):
        own[..., : len(part)] = part.permute(2, 3, 1, 0)
        give_back_pages(part)
    return found


def convolution(op: Op, maps: Maps, weights: Direct, workers: Workers) -> Work:
    """A convolution with all that is folded into it, but for a pool."""
    panels = weights.panels
    each = (_jobs(panels, g, cells) for g, cells in shares(op, maps, panels.layer.groups))
    return handed_out(list(chain(*each)), workers)


def _jobs(
    panels: Panels, group: int, cells: tuple[Tensor, ...]
) -> Iterator[tuple[Kernel, Told, tuple[int, ...]]]:
    layer, (source, target, *added) = panels.layer, cells
    (height, width), channels = target.shape[:2], source.shape[2]
    one_tap = layer.kernel == 1 and layer.stride == 1
    if one_tap and all(c.stride(0) == width * c.stride(1) for c in cells):
        height, width = 1, height * width  # rows follow each other without a rim between them
    row, cell = (FLOAT * layer.dilation * source.stride(i) for i in range(2))
    taps = layer.kernel
    if cell == FLOAT * channels:  # the taps of a row lie side by side
        taps, channels = 1, layer.kernel * channels
    rows = kernels.tall(width)
    wide = -(width // -rows)
    tiles = wide * height
    tiles_each, panels_each, block = _cut(tiles, rows, panels, len(added))
    facts = {
        **places(cells, layer.stride),
        **panels.told(group),
        "channels": channels,
        "height": height,
        "width": width,
        "tiles_wide": wide,
        "taps_down": layer.kernel,
        "taps_right": taps,
        "tap_row": row,
        "tap_cell": cell,
        "block": block,
    }
    told = Told(facts, panels)
    kernel = product_of_taps(rows, added=bool(added), narrow=panels.narrow)
    for p, t in product(range(0, panels.count, panels_each), range(0, tiles, tiles_each)):
        part = (t, min(tiles_each, tiles - t), p, min(panels_each, panels.count - p))
        yield kernel, told, part


def _cut(tiles: int, rows: int, panels: Panels, added: int) -> tuple[int, int, int]:
    """Tiles and panels that a worker does at a time, and the tiles that it does panel by panel."""
    parts = FEW * threads()
    taps = panels.kernels[0][0].numel() // processor().panel
    if panels.kernels[0].numel() > tiles * rows * taps:
        # Weights are more than the map: each is read once, by whoever has all the cells.
        return tiles, max(1, panels.count // parts), tiles
    a_cell = panels.layer.stride * taps + (1 + added) * panels.filters
    return -(tiles // -parts), panels.count, max(1, CACHED // (rows * a_cell))


# -- the kernel -----------------------------------------------------------------------------------
@cache
def product_of_taps(rows: int, *, added: bool, narrow: bool) -> Callable[..., None]:
    """(facts, first tile, tiles, first panel, panels): a convolution as one product, tap by tap.

    A tile is ``rows`` cells of a row of the output by a panel of filters, see ``multiply``.
    """
    code = Code("direct", 5, processor().lanes)
    _, first, tiles, panel, panels = code.arguments
    block = kernels.facts_of(code)["block"]

    @code.each(code.divided(code.add(tiles, block, -1), block)[0])
    def some(n: Any) -> None:
        begin = code.mul(n, block)

        @code.each(panels)
        def by_panel(i: Any) -> None:
            @code.each(code.least(code.add(begin, block), tiles), first=begin)
            def one(t: Any) -> None:
                _Tile(code, rows, code.add(panel, i), code.add(first, t), added=added).made(narrow)

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
