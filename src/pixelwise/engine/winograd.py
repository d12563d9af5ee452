"""Convolutions of stride 1 by Winograd's algorithm, in float32 (``kernels.py``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from pixelwise.engine import kernels
from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op
from pixelwise.engine.layout import Maps, apart
from pixelwise.engine.operations import Work
from pixelwise.engine.points import Points, points
from pixelwise.engine.telling import Panels, Told, places, shares
from pixelwise.engine.vectors import FLOAT, processor
from pixelwise.engine.workers import Scratch, Workers, threads
from pixelwise.machine.memory import give_back_pages
from pixelwise.nets.layers import Conv

OUTPUTS = {3: 4, 5: 2, 6: 2, 7: 2}
"""Kernel to outputs of a tile. Larger tiles take fewer products and lose digits: F(3x3, 7x7) gave
errors of 2e-5 of the largest score, F(2x2, 7x7) 2e-6."""
CHANNELS = 16
"""Below, the transforms take longer than the products that they save."""
CACHED = 2**19
"""Numbers (2 MiB) of a part's products where filters are shared out."""
WEIGHTS_BY_PATCHES = 4
"""How many times the patches and products of a block its weights may be: they come from further
away, and are read for each block, while patches stay in the cache of the second level."""
SHARED, FEW_TILES = 2**22, 4
"""Numbers (16 MiB) of all patches, and filters for each tile: up to and from which on a map's tiles
are one block and its filters shared out. Each weight is read once."""
BLOCK, PANELS = 14, 4
"""Tiles of a block and panels of a group at the least."""


def unserved(layer: Conv, channels: int, length: int, *, pool: bool) -> str:
    """Why this is not the way for a convolution of ``channels`` a group; empty: it is.

    ``length`` is its map's shorter side: a longer tile would reach out of it.
    """
    few = min(channels, layer.width // layer.groups)
    hindrances = {
        f"stride {layer.stride}": layer.stride > 1,
        f"dilation {layer.dilation}": layer.dilation > 1,
        f"{layer.kernel}x{layer.kernel}": layer.kernel not in OUTPUTS,
        f"{few} channels": few < CHANNELS,
        f"{length} cells": length < OUTPUTS.get(layer.kernel, 0),
        "pool": pool and layer.kernel != 3,
    }
    return next((why for why, holds in hindrances.items() if holds), "")


def saving(kernel: int) -> str:
    """The multiplications of a tile, and those that it replaces."""
    m = OUTPUTS[kernel]
    return f"{(m + kernel - 1) ** 2} for {(m * kernel) ** 2}"


class Transformed:
    """A convolution's weights at the points, for all groups."""

    def __init__(self, weights: Weights, op: Op) -> None:
        assert isinstance(op.layer, Conv)
        at = self.points = points(OUTPUTS[op.layer.kernel], op.layer.kernel)
        self.panels = Panels(weights, op, lambda part, panel: _packed(part, at, panel))
        self.channels = weights.kernel.shape[1]


def _packed(kernel: Tensor, at: Points, panel: int) -> Tensor:
    """(K, C, r, r) to (n * n, panels, C, panel)."""
    shape = at.n**2, -(len(kernel) // -panel), kernel.shape[1], panel
    made = torch.empty(shape, dtype=torch.float32)
    for i, own in enumerate(torch.split(kernel, panel)):
        at_points(own, at, made[:, i : i + 1])
        give_back_pages(own)
    return made


@cache
def taps(at: Points) -> Tensor:
    """(n * n, r * r): filters to their points."""
    along = torch.tensor(at.filters, dtype=torch.float64)
    return torch.kron(along, along).float()


def at_points(kernel: Tensor, at: Points, made: Tensor, *, turned: bool = False) -> None:
    """(K, C, r, r), or (C, K, r, r) ``turned`` around, to (n * n, panels, C, panel), ``made``."""
    matrix, side = (taps(at).flip(1), 1) if turned else (taps(at), 0)
    parts = torch.split(kernel, made.shape[3], side)
    for own, target in zip(parts, made.unbind(1), strict=True):
        cells = kernel.new_zeros(at.r**2, *target.shape[1:])
        cells[..., : own.shape[side]] = own.permute(2, 3, 1 - side, side).flatten(0, 1)
        torch.mm(matrix, cells.flatten(1), out=target.flatten(1))


def convolution(op: Op, maps: Maps, weights: Transformed, workers: Workers) -> Work:
    """A convolution with all that is folded into it."""
    at, panels = weights.points, weights.panels
    rows, columns = maps.layout.made(op)
    size = tiled(rows.length, columns.length, weights.channels, at)
    finish = kernels.finish(at, added=bool(op.added), pool=bool(op.pool))
    transform = kernels.transform(at)
    parts = []
    for group, cells in shares(op, maps, panels.layer.groups):
        told = Told({**places(cells), **panels.told(group), **size}, panels)
        patches = Patches([told], size, transform)
        parts.append(Tiles(patches, panels.filters, at, finish))

    def work() -> None:
        for part in parts:
            part.convolve(workers)

    return work


def tiled(height: int, width: int, channels: int, at: Points) -> dict[str, int]:
    """What a kernel is told of the tiles of a map of ``height`` x ``width`` outputs."""
    tall, wide = (-(n // -at.m) for n in (height, width))
    size = {"height": height, "width": width, "tiles_wide": wide, "tiles": tall * wide}
    return {**size, "channels": channels, "patch_row": FLOAT * apart(channels)}


class Patches:
    """What the tiles of pictures of one size read, and how it is transformed."""

    def __init__(
        self, pictures: Sequence[Told], size: Mapping[str, int], transform: Callable[..., None]
    ) -> None:
        self.pictures, self.channels, self.row = pictures, size["channels"], size["patch_row"]
        self._transform, self._of_one = transform, size["tiles"]
        self.tiles = self._of_one * len(pictures)

    def transform(self, first: int, count: int, place: int, rows: int) -> None:
        """Write ``count`` tiles' patches at ``place``, ``rows`` of them to a point."""
        for told, begin, some, before in self.of(first, count):
            self._transform(told, begin, some, place + before * self.row, rows)

    def of(self, first: int, count: int) -> Iterator[tuple[int, int, int, int]]:
        """Tiles by picture: what is told of it, its first and how many, and those before them."""
        end = first + count
        for i in range(first // self._of_one, -(end // -self._of_one)):
            begin = max(first, i * self._of_one)
            own = min(end, (i + 1) * self._of_one) - begin
            yield self.pictures[i].at, begin - i * self._of_one, own, begin - first


class Tiles:
    """A convolution of patches by one group's filters."""

    def __init__(
        self, patches: Patches, filters: int, points: Points, finish: Callable[..., None]
    ) -> None:
        self.patches, self.finish, self.told = patches, finish, patches.pictures[0].at
        self.tiles, self.channels, self.row = patches.tiles, patches.channels, patches.row
        own = processor()
        self.panels, self.n2 = -(filters // -own.panel), points.n**2
        self.filters = self.panels * own.panel
        shared = self.n2 * self.tiles * self.channels <= SHARED
        self.few = shared and self.filters >= FEW_TILES * self.tiles
        self.block = self.tiles if self.few else self._block()
        self.tall = kernels.tall(self.block)
        self.held = -(self.block // -self.tall) * self.tall
        narrow = 0 < filters % own.panel <= own.lanes  # no filter in the last one's second vector
        self.multiply = kernels.multiply(self.n2, self.tall, narrow=narrow)

    def convolve(self, workers: Workers) -> None:
        """Carry it out."""
        (self._by_filters if self.few else self._by_blocks)(workers)

    def _by_blocks(self, workers: Workers) -> None:
        """All filters for some tiles at a time."""

        def job(i: int, scratch: Scratch) -> None:
            first = i * self.block
            count = min(self.block, self.tiles - first)
            rows = -(count // -self.tall) * self.tall
            patches = scratch.address(self.n2 * (self.row // FLOAT + self.filters) * self.held)
            products = patches + self.n2 * self.held * self.row
            self.patches.transform(first, count, patches, rows)
            self.multiply(self.told, rows, 0, self.panels, patches, products)
            self._finished(first, count, rows, 0, self.panels, products)

        workers.each(-(self.tiles // -self.block), job)

    def _finished(
        self, first: int, count: int, rows: int, panel: int, panels: int, products: int
    ) -> None:
        line = FLOAT * panels * processor().panel
        for told, begin, some, before in self.patches.of(first, count):
            self.finish(told, begin, some, rows, panel, panels, products + before * line)

    def _block(self) -> int:
        """Tiles of a block: as many as their weights are worth, alike for all threads."""
        channels, filters, count = self.channels, self.filters, threads()
        worth = channels * filters // (WEIGHTS_BY_PATCHES * (channels + filters))
        wanted = BLOCK * max(1, -(worth // -BLOCK))
        turns = -(self.tiles // -(count * wanted))
        return -(self.tiles // -(count * turns))

    def _by_filters(self, workers: Workers) -> None:
        """All tiles for some filters at a time."""
        held, a_panel = self.held, self.n2 * self.held * processor().panel
        patches = workers.shared(self.n2 * held * self.row // FLOAT)

        def transform(i: int, _: Scratch) -> None:
            first = i * BLOCK
            count = min(BLOCK, self.tiles - first)
            self.patches.transform(first, count, patches + first * self.row, held)

        workers.each(-(self.tiles // -BLOCK), transform)
        # Patches are read for each group, so that a group should have some filters.
        group = max(1, min(max(PANELS, CACHED // a_panel), self.panels // threads()))

        def filters(i: int, scratch: Scratch) -> None:
            first = i * group
            panels, products = min(group, self.panels - first), scratch.address(a_panel * group)
            self.multiply(self.told, held, first, panels, patches, products)
            self._finished(0, self.tiles, held, first, panels, products)

        workers.each(-(self.panels // -group), filters)
