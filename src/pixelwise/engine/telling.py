"""What kernels are told of a convolution, in the order in which they read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op
from pixelwise.engine.kernels import FACTS
from pixelwise.engine.layout import Maps
from pixelwise.engine.operations import Work, given
from pixelwise.engine.vectors import processor
from pixelwise.engine.workers import Scratch, Workers
from pixelwise.nets.layers import Conv

Kernel = Callable[..., None]


class Told:
    """Whole numbers in memory; ``at`` is their address. What they point to is kept alive."""

    def __init__(self, facts: Mapping[str, int], *owners: object) -> None:
        self._owners = owners
        self._numbers = np.array([facts.get(name, 0) for name in FACTS], np.int64)
        self.at: int = self._numbers.ctypes.data


def shares(op: Op, maps: Maps, groups: int = 1) -> Iterator[tuple[int, tuple[Tensor, ...]]]:
    """By picture and group, the group and what it reads, makes, and adds if any: (H, W, C)."""
    all_cells = [*given(op, maps), maps.computed(op)]
    if op.added:
        all_cells.append(maps.cut(op.added, *maps.layout.made(op)))
    for picture in zip(*all_cells, strict=True):
        parts = (cells.chunk(groups, dim=2) for cells in picture)
        yield from enumerate(zip(*parts, strict=True))


def places(cells: tuple[Tensor, ...], step: int = 1) -> dict[str, int]:
    """Addresses of ``shares``, and bytes from row to row and cell to cell.

    Of the source those to every ``step``-th.
    """
    facts: dict[str, int] = {}
    for name, own in zip(("source", "target", "added"), cells, strict=False):
        by = own.element_size() * (step if name == "source" else 1)
        facts |= {name: own.data_ptr(), f"{name}_row": by * own.stride(0)}
        facts[f"{name}_cell"] = by * own.stride(1)
    return facts


def limits(op: Op) -> Tensor:
    """The ReLU's, infinite where there is none."""
    none = op.ceiling is None
    return torch.tensor([-np.inf, np.inf] if none else [0.0, op.ceiling], dtype=torch.float32)


class Panels:
    """A convolution's weights by groups, ``packed`` in panels as tiles of a product read them."""

    def __init__(self, weights: Weights, op: Op, packed: Callable[[Tensor, int], Tensor]) -> None:
        layer, panel = op.layer, processor().panel
        assert isinstance(layer, Conv)
        self.layer, self.filters = layer, layer.width // layer.groups
        self.count, self.limits = -(self.filters // -panel), limits(op)
        self.kernels = [packed(part, panel) for part in torch.split(weights.kernel, self.filters)]
        # Whether the last panel's second vector holds no filter.
        self.narrow = 0 < self.filters % panel <= processor().lanes
        own = weights.bias.view(layer.groups, -1)
        self._bias = F.pad(own, (0, self.count * panel - self.filters))

    def told(self, group: int) -> dict[str, int]:
        """Of one group."""
        return {
            "weights": self.kernels[group].data_ptr(),
            "panels": self.count,
            "bias": self._bias[group].data_ptr(),
            "filters": self.filters,
            "limits": self.limits.data_ptr(),
        }


def handed_out(jobs: Sequence[tuple[Kernel, Told, tuple[int, ...]]], workers: Workers) -> Work:
    """Calls of kernels, each by whoever is free."""

    def job(i: int, _: Scratch) -> None:
        kernel, told, part = jobs[i]
        kernel(told.at, *part)

    return lambda: workers.each(len(jobs), job)
