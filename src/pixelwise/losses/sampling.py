"""Loss sampling, by which whole pictures train as patches do (paper, section 3.4 and figure 5).

A fully convolutional net computes the gradients of all patches of a picture at once: one for each
cell of its coarsest scores. A batch of random patches is therefore a random choice among the terms
of the loss. Terms that are not chosen become void in the labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pixelwise.labels import VOID
from pixelwise.losses.settings import Unit
from pixelwise.nets.net import Net


def nearest_cells(net: Net, pixels: int) -> NDArray[np.intp]:
    """(``pixels``,): along an axis, the cell of the net's coarsest scores nearest to each pixel.

    Halfway between two it is the later one, so that cells inside have as many pixels each as the
    stride is long.
    """
    cell = net.sights[net.top].map
    position = (np.arange(pixels) - float(cell.shift)) / float(cell.scale)
    last = net.sizes(pixels)[net.top] - 1
    nearest: NDArray[np.intp] = np.floor(position + 0.5).clip(0, last).astype(np.intp)
    return nearest


def sampled(
    labels: Tensor, keep: float, generators: Sequence[np.random.Generator], *, net: Net, unit: Unit
) -> Tensor:
    """Labels of which each unit is kept with probability ``keep``; the others are void.

    Each is decided by itself, as the paper ignores each final-layer cell with probability 1 - p.

    Args:
        labels: (N, H, W) uint8 of whole pictures, or numbers (N, P, H, W).
        keep: the probability p.
        generators: one for each picture.
        net: whose cells are drawn.
        unit: a cell, that is all pixels nearest to it, or a pixel.
    """
    sides = labels.shape[-2:]
    rows, columns = (nearest_cells(net, n) if unit == "cell" else np.arange(n) for n in sides)
    cells = (int(rows[-1]) + 1, int(columns[-1]) + 1)
    chosen = [(rng.random(cells) < keep)[rows[:, None], columns] for rng in generators]
    out = ~torch.from_numpy(np.stack(chosen)).to(labels.device)
    numbers = labels.is_floating_point()
    return labels.masked_fill(out[:, None] if numbers else out, math.nan if numbers else VOID)
