"""Convolutions of stride 1 by Winograd's algorithm, in float32 (``kernels.py``)."""

from __future__ import annotations

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
CHANNELS_PACKED = 32
"""Whose taps of a panel are transformed at a time: in float64 they stay in a cache (fc6 took 0.8 s,
and 1.6 s with all channels of a panel at once)."""
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
        self.panels = Panels(weights, op, lambda part, panel: _at_points(part, at, panel))
        self.channels = weights.kernel.shape[1]
        self.row = apart(self.channels)


def _at_points(kernel: Tensor, at: Points, panel: int) -> Tensor:
    """(K, C, r, r) to (n * n, panels, C, panel): what a tile of the product reads in order."""
    along = torch.tensor(at.filters, dtype=torch.float64)
    channels, n = kernel.shape[1], at.n
    panels = -(len(kernel) // -panel)
    found = torch.zeros(n, n, panels, channels, panel, dtype=torch.float32)
    for i, own in enumerate(torch.split(kernel, panel)):
        for first in range(0, channels, CHANNELS_PACKED):
            some = slice(first, first + CHANNELS_PACKED)
            taps = own[:, some].permute(2, 3, 1, 0).contiguous().double()
            down = (along @ taps.flatten(1)).view(n, at.r, -1)
            both = torch.matmul(along, down).view(n, n, -1, len(own))
            found[:, :, i, some, : len(own)] = both
        give_back_pages(own)
    return found


def convolution(op: Op, maps: Maps, weights: Transformed, workers: Workers) -> Work:
    """A convolution with all that is folded into it."""
    groups = weights.panels.layer.groups
    parts = [_Part(op, maps, weights, *share) for share in shares(op, maps, groups)]

    def work() -> None:
        for part in parts:
            (part.by_filters if part.few else part.by_blocks)(workers)

    return work


class _Part:
    """One picture's, one group's share."""

    def __init__(
        self, op: Op, maps: Maps, weights: Transformed, group: int, cells: tuple[Tensor, ...]
    ) -> None:
        height, width = (span.length for span in maps.layout.made(op))
        tall, wide = (-(n // -weights.points.m) for n in (height, width))
        facts = {
            **places(cells),
            **weights.panels.told(group),
            "channels": weights.channels,
            "patch_row": FLOAT * weights.row,
            "height": height,
            "width": width,
            "tiles_wide": wide,
        }
        self.weights, self.tiles, self.told = weights, tall * wide, Told(facts)
        self.panels, self.n2 = weights.panels.count, weights.points.n**2
        self.filters = self.panels * processor().panel
        shared = self.n2 * self.tiles * weights.channels <= SHARED
        self.few = shared and self.filters >= FEW_TILES * self.tiles
        self.block = self.tiles if self.few else self._block()
        self.tall = kernels.tall(self.block)
        self.held = -(self.block // -self.tall) * self.tall
        self.transform = kernels.transform(weights.points)
        self.multiply = kernels.multiply(self.n2, self.tall, narrow=weights.panels.narrow)
        self.finish = kernels.finish(weights.points, added=bool(op.added), pool=bool(op.pool))

    def by_blocks(self, workers: Workers) -> None:
        """All filters for some tiles at a time."""
        row, at = self.weights.row, self.told.at

        def job(i: int, scratch: Scratch) -> None:
            first = i * self.block
            tiles = min(self.block, self.tiles - first)
            rows = -(tiles // -self.tall) * self.tall
            patches = scratch.address(self.n2 * (row + self.filters) * self.held)
            products = patches + FLOAT * self.n2 * self.held * row
            self.transform(at, first, tiles, patches, rows)
            self.multiply(at, rows, 0, self.panels, patches, products)
            self.finish(at, first, tiles, rows, 0, self.panels, products)

        workers.each(-(self.tiles // -self.block), job)

    def _block(self) -> int:
        """Tiles of a block: as many as their weights are worth, alike for all threads."""
        channels, filters, count = self.weights.channels, self.filters, threads()
        worth = channels * filters // (WEIGHTS_BY_PATCHES * (channels + filters))
        wanted = BLOCK * max(1, -(worth // -BLOCK))
        turns = -(self.tiles // -(count * wanted))
        return -(self.tiles // -(count * turns))

    def by_filters(self, workers: Workers) -> None:
        """All tiles for some filters at a time."""
        row, at, held = self.weights.row, self.told.at, self.held
        patches, a_panel = workers.shared(self.n2 * held * row), self.n2 * held * processor().panel

        def transform(i: int, _: Scratch) -> None:
            first = i * BLOCK
            tiles, place = min(BLOCK, self.tiles - first), patches + FLOAT * first * row
            self.transform(at, first, tiles, place, held)

        workers.each(-(self.tiles // -BLOCK), transform)
        # Patches are read for each group, so that a group should have some filters.
        group = max(1, min(max(PANELS, CACHED // a_panel), self.panels // threads()))

        def filters(i: int, scratch: Scratch) -> None:
            first = i * group
            panels, products = min(group, self.panels - first), scratch.address(a_panel * group)
            self.multiply(at, held, first, panels, patches, products)
            self.finish(at, 0, self.tiles, held, first, panels, products)

        workers.each(-(self.panels // -group), filters)
