"""What kernels are told of a convolution, in the order in which they read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pixelwise.engine.folding import Weights
from pixelwise.engine.fusing import Op
from pixelwise.engine.kernels import FACTS
from pixelwise.engine.vectors import FLOAT


class Told:
    """Whole numbers in memory; ``at`` is their address. What they point to is kept alive."""

    def __init__(
        self, facts: Mapping[str, int], *owners: object, names: Sequence[str] = FACTS
    ) -> None:
        self._owners = owners
        self._numbers = np.array([facts.get(name, 0) for name in names], np.int64)
        self.at: int = self._numbers.ctypes.data


def strides(name: str, cells: Tensor | None, channel: int, step: int = 1) -> dict[str, int]:
    """Address and bytes from row to row and cell to cell of (H, W, C), of every ``step``-th."""
    if cells is None:
        return {}
    return {
        name: cells.data_ptr() + FLOAT * channel,
        f"{name}_row": FLOAT * step * cells.stride(0),
        f"{name}_cell": FLOAT * step * cells.stride(1),
    }


def padded_bias(weights: Weights, groups: int, length: int) -> Tensor:
    """(groups, length): each group's, zero behind."""
    own = weights.bias.view(groups, -1)
    padded = torch.zeros(groups, length, dtype=torch.float32)
    padded[:, : own.shape[1]] = own
    return padded


def limits(op: Op) -> Tensor:
    """The ReLU's, infinite where there is none."""
    none = op.ceiling is None
    return torch.tensor([-np.inf, np.inf] if none else [0.0, op.ceiling], dtype=torch.float32)
