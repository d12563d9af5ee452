"""What pixels say to each other: to corners of lattices and cells of their rows, and from there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from pixelwise.crf.lattice import Lattice
from pixelwise.crf.sweeps import LANES, SWEEP_FACTS, Floats, Matrix, sparse, sweep
from pixelwise.engine.vectors import FLOAT

Bands = Callable[[int, Callable[[int, int], object], int], None]  # count, work, numbers of each
Update = Callable[[int, int, int, bool], Floats]
"""Of a part, from its first row to its last; marginals (rows * W, padded) where they are wanted."""


class Messages:
    """The kernels of a picture: lattices, and a smoothing of its columns and rows."""

    def __init__(
        self, lattices: list[Lattice], down: list[Floats], across: list[Floats], padded: int
    ) -> None:
        """``down`` and ``across`` as ``smoothing`` gives them."""
        self.padded, self.width, self.cells = padded, across[-1].shape[0], across[-1].shape[1]
        self.edges = np.cumsum([0, *(lattice.edges[-1] for lattice in lattices)]).tolist()
        self.lattices = lattices
        self.said, self.heard = np.zeros((2, self.edges[-1], padded), np.float32)
        size = down[-1].shape[0] * self.cells
        self.cells_said, self.cells_heard = np.zeros((2, size, padded), np.float32)
        # A narrow kernel has one step: then a pixel says to its own cell what it has to say.
        say = across[0].T if len(across) > 1 else np.eye(*across[0].shape, dtype=np.float32)
        self.up, self.down = sparse(across[-1]), sparse(say)
        pixels = down[-1].shape[0] * self.width
        seated = [e.corners + np.int32(a) for e, a in zip(lattices, self.edges, strict=False)]
        self.corners = np.hstack([np.empty((pixels, 0), np.int32), *seated])
        self.shares = np.hstack([np.empty((pixels, 0), np.float32), *(e.shares for e in lattices)])
        self.passes = list[tuple[int, Callable[[int, int], None], int]]()
        for each, a, b in zip(lattices, self.edges, self.edges[1:], strict=False):
            steps = [each.gather, *each.blurs, each.spread]
            self._lead(steps, self.said[a:b], self.heard[a:b], 1)
        if self.cells:
            self._lead([*map(sparse, down)], self.cells_said, self.cells_heard, self.cells)

    def _lead(self, steps: Sequence[Matrix], source: Floats, target: Floats, inner: int) -> None:
        """Products one after the other; each number of rows stands for ``inner`` of an array."""
        rows = [len(step.starts) - 1 for step in steps]
        size = max(rows[:-1], default=0) * inner, self.padded
        tables = np.zeros(size, np.float32), np.zeros(size, np.float32)
        for i, (count, step) in enumerate(zip(rows, steps, strict=True)):
            out = target if i == len(steps) - 1 else tables[i % 2]
            self.passes.append((count, step.times(source, out, inner), inner * self.padded))
            source = out

    def pass_on(self, bands: Bands) -> None:
        """What was said is heard."""
        for count, work, numbers in self.passes:
            bands(count, work, numbers)

    def sweep(self, start: Floats, own: Floats, rewards: Floats | None) -> Update:
        """See ``sweeps.sweep``."""
        arrays = {
            **{"start": start, "own": own, "corners": self.corners, "shares": self.shares},
            **{"heard": self.heard, "said": self.said, "cells_heard": self.cells_heard},
            **{"cells_said": self.cells_said, "rewards": own if rewards is None else rewards},
            **self.up.arrays("up_"),
            **self.down.arrays("down_"),
        }
        given = {name: array.ctypes.data for name, array in arrays.items()}
        given |= {"width": self.width, "cells": self.cells, "labels": len(arrays["rewards"])}
        given["start_step"] = FLOAT * self.padded * (start.size > self.padded)
        facts = np.array([given[name] for name in SWEEP_FACTS], np.int64)
        sides = self.corners.shape[1]
        update = sweep(self.padded // LANES, sides, rewards is not None)

        def work(part: int, first: int, last: int, whole: bool) -> Floats:
            for each, seat in zip(self.lattices, self.edges, strict=False):
                self.said[seat + each.edges[part] : seat + each.edges[part + 1]] = 0
            self.cells_said[first * self.cells : last * self.cells] = 0
            made = np.empty(((last - first if whole else 1) * self.width, self.padded), np.float32)
            step = FLOAT * self.padded * self.width * whole
            update(facts.ctypes.data, first, last, made.ctypes.data - first * step, step)
            return made

        return work


def smoothing(length: int, deviation: float, reach: float, factor: float) -> list[Floats]:
    """A Gaussian D^-1/2 K D^-1/2 times ``factor`` of a line of pixels: the matrices of its steps.

    A Gaussian of half the variance to cells a few pixels apart, and the same back, is K as far as
    it reaches. A narrow one is one step, and one of no weight leads over no cells.
    """
    if not factor:
        return [np.zeros((length, 0), np.float32)]
    places = np.arange(length)[:, None]
    # A deviation apart, cells make a kernel that changes by up to 1.4 % between them; in labels
    # after ten iterations that is not seen (docs/crf.md).
    step = 0 if math.isinf(reach) else int(deviation)
    if step < 2:
        apart = np.abs(places - np.arange(length)) / deviation
        kernel = np.exp(-0.5 * apart**2) * (apart <= reach)
        norm = kernel.sum(1) ** -0.5
        return [(factor * kernel * norm * norm[:, None]).astype(np.float32)]
    rim = step * math.ceil(reach * deviation / math.sqrt(2) / step)
    apart = (places - np.arange(-rim, length + rim, step)) / deviation
    half = np.exp(-(apart**2)) * (np.abs(apart) <= reach / math.sqrt(2))
    half = half[:, half.any(0)]
    half *= (factor / (half @ half.sum(0))[:, None]) ** 0.5
    return [half.T.astype(np.float32), half.astype(np.float32)]
