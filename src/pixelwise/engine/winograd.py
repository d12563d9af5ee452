"""Convolutions of stride 1 by Winograd's algorithm, in float32 (``kernels.py``)."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.engine import kernels
from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op
from pixelwise.engine.layout import Maps, apart
from pixelwise.engine.operations import Work, given, spans_of
from pixelwise.engine.points import Points, points
from pixelwise.engine.telling import Told, limits, padded_bias, strides
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
    """A convolution's weights at the points, for one group."""

    def __init__(self, weights: Weights, op: Op) -> None:
        layer = op.layer
        assert isinstance(layer, Conv)
        self.points = points(OUTPUTS[layer.kernel], layer.kernel)
        self.groups, self.filters = layer.groups, layer.width // layer.groups
        self.channels = weights.kernel.shape[1]
        self.row = apart(self.channels)
        panel = processor().panel
        self.panels = -(self.filters // -panel)
        parts = torch.split(weights.kernel, self.filters)
        self.kernels = [_at_points(part, self.points, panel) for part in parts]
        self.bias = padded_bias(weights, self.groups, self.panels * panel)
        self.limits = limits(op)

    def told(
        self, cells: tuple[Tensor, Tensor, Tensor | None], group: int, size: tuple[int, int]
    ) -> Told:
        """What the kernels are told of source, target and what is added, of (H, W) outputs."""
        source, target, added = cells
        return Told(
            {
                **strides("source", source, group * self.channels),
                **strides("target", target, group * self.filters),
                **strides("added", added, group * self.filters),
                "channels": self.channels,
                "patch_row": FLOAT * self.row,
                "height": size[0],
                "width": size[1],
                "tiles_wide": -(size[1] // -self.points.m),
                "weights": self.kernels[group].data_ptr(),
                "panels": self.panels,
                "bias": self.bias[group].data_ptr(),
                "filters": self.filters,
                "limits": self.limits.data_ptr(),
            }
        )


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
    rows, columns = spans_of(op, maps)
    (source,), target = given(op, maps), maps.computed(op)
    added = maps.cut(op.added, rows, columns) if op.added else None
    m = weights.points.m
    size = rows.length, columns.length
    tall, wide = (-(n // -m) for n in size)
    parts = [
        _Part(op, weights, weights.told(cells, g, size), wide * tall)
        for cells in zip(
            source, target, added if added is not None else [None] * len(source), strict=True
        )
        for g in range(weights.groups)
    ]

    def work() -> None:
        for part in parts:
            part.carry_out(workers)

    return work


class _Part:
    """One picture's, one group's share."""

    def __init__(self, op: Op, weights: Transformed, told: Told, tiles: int) -> None:
        self.weights, self.tiles, self.told = weights, tiles, told
        n2, filters = weights.points.n**2, weights.panels * processor().panel
        self.by_filters = n2 * tiles * weights.channels <= SHARED and filters >= FEW_TILES * tiles
        self.block = tiles if self.by_filters else self._block()
        self.tall = kernels.tall(self.block)
        self.held = -(self.block // -self.tall) * self.tall
        self.transform = kernels.transform(weights.points)
        self.multiply = kernels.multiply(n2, self.tall, narrow=kernels.narrow(weights.filters))
        self.finish = kernels.finish(weights.points, added=bool(op.added), pool=bool(op.pool))

    def carry_out(self, workers: Workers) -> None:
        if self.by_filters:
            self._by_filters(workers)
            return
        w, n2, held = self.weights, self.weights.points.n**2, self.held

        def job(i: int, scratch: Scratch) -> None:
            first = i * self.block
            tiles = min(self.block, self.tiles - first)
            patches = scratch.address(n2 * (w.row + w.panels * processor().panel) * held)
            products = patches + FLOAT * n2 * held * w.row
            rows = -(tiles // -self.tall) * self.tall
            self.transform(self.told.at, first, tiles, patches, rows)
            self.multiply(self.told.at, rows, 0, w.panels, patches, products)
            self.finish(self.told.at, first, tiles, rows, 0, w.panels, products)

        workers.each(-(self.tiles // -self.block), job)

    def _block(self) -> int:
        """Tiles of a block: as many as their weights are worth, alike for all threads."""
        w, count = self.weights, threads()
        filters = w.panels * processor().panel
        worth = w.channels * filters // (WEIGHTS_BY_PATCHES * (w.channels + filters))
        wanted = BLOCK * max(1, -(worth // -BLOCK))
        turns = -(self.tiles // -(count * wanted))
        return -(self.tiles // -(count * turns))

    def _by_filters(self, workers: Workers) -> None:
        w, held, panel = self.weights, self.held, processor().panel
        n2 = w.points.n**2
        patches = workers.shared(n2 * held * w.row)

        def transform(i: int, _: Scratch) -> None:
            first = i * BLOCK
            at = patches + FLOAT * first * w.row
            self.transform(self.told.at, first, min(BLOCK, self.tiles - first), at, held)

        workers.each(-(self.tiles // -BLOCK), transform)
        # Patches are read for each group, so that a group should have some filters.
        group = max(PANELS, CACHED // (n2 * held * panel))
        group = max(1, min(group, w.panels // threads()))

        def filters(i: int, scratch: Scratch) -> None:
            first = i * group
            panels = min(group, w.panels - first)
            products = scratch.address(n2 * held * panel * panels)
            self.multiply(self.told.at, held, first, panels, patches, products)
            self.finish(self.told.at, 0, self.tiles, held, first, panels, products)

        workers.each(-(w.panels // -group), filters)
