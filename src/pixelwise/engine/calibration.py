"""Which eight bits each map of a plan should hold, from what it held for some pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pixelwise.engine.fusing import Op, Plan
from pixelwise.engine.layout import Maps
from pixelwise.engine.lowering import alike
from pixelwise.engine.numbers import LEVELS, Numbers

SHIFT = 16
"""Bits of a float32 that are dropped: sign, exponent and seven bits of the fraction are left, so
that the numbers of a bin differ by 1/128 at most."""
BINS = 2 ** (32 - SHIFT)
LOOKED_AT = 2**19
"""Numbers of a map that are counted of each picture: rows are left out of larger ones."""
CUTS = np.linspace(1, 0.1, 91)
"""Shares of a map's range that are tried: of VGG's ReLUs the best is about a half."""


@dataclass
class Counts:
    """The values that maps took, by map with memory; called after each computation of a plan."""

    low: dict[str, float] = field(default_factory=dict)
    high: dict[str, float] = field(default_factory=dict)
    bins: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    def __call__(self, op: Op, maps: Maps) -> None:
        """Count what a computation gave."""
        name, cells = maps.layout.plan.place(op.name).source, maps.computed(op)
        if not cells.numel():
            return
        low, high = (float(end) for end in cells.aminmax())
        self.low[name] = min(self.low.get(name, 0.0), low)
        self.high[name] = max(self.high.get(name, 0.0), high)
        rows = cells[:, :: -(cells.numel() // -LOOKED_AT)].contiguous()
        codes = (rows.view(torch.int32) >> SHIFT).bitwise_and_(BINS - 1)
        bins = torch.bincount(codes.flatten(), minlength=BINS).numpy()
        self.bins[name] = self.bins.get(name, 0) + bins

    def numbers(self, plan: Plan) -> dict[str, Numbers]:
        """Eight bits for every map; those between which pooling lies have the same."""
        groups: dict[str, list[str]] = {}
        for name, first in alike(plan).items():
            groups.setdefault(first, []).append(name)
        chosen: dict[str, Numbers] = {}
        for names in groups.values():
            seen = [name for name in names if name in self.bins]
            low, high = min(self.low[n] for n in seen), max(self.high[n] for n in seen)
            bins = sum((self.bins[n] for n in seen), start=np.zeros(BINS, np.int64))
            chosen |= dict.fromkeys(names, closest(bins, low, high))
        return chosen


def closest(bins: NDArray[np.int64], low: float, high: float) -> Numbers:
    """The eight bits with the least mean square error for values from ``low`` to ``high``.

    A few large values are cut off where that makes all steps finer: what is lost at the ends is
    weighed against the steps' own error, a twelfth of their square. Zero is exact and costs none.
    """
    codes = np.arange(BINS, dtype=np.int64)
    values = ((codes << SHIFT) + (1 << (SHIFT - 1))).astype(np.uint32).view(np.float32)
    there = (bins > 0) & np.isfinite(values) & (codes % (BINS // 2) > 0)
    counts, values = bins[there].astype(float), np.clip(values[there].astype(float), low, high)
    best, error = Numbers.between(low, high), np.inf
    for cut in CUTS:
        beyond = values - np.clip(values, cut * low, cut * high)
        step = cut * (high - low) / LEVELS
        now = float(counts[beyond == 0].sum() * step**2 / 12 + (counts * beyond**2).sum())
        if now < error:
            best, error = Numbers.between(float(cut * low), float(cut * high)), now
    return best
