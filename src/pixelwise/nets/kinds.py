"""What a head gives at each pixel: the class of the best score, or numbers made of its scores.

A head's kind is one object: a data set declares it, the net's spec has it among its options, and so
has every checkpoint. Losses, metrics and outputs are chosen by its name.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.settings import Number, limits, settings

EDGES: Final = "edges"
Positive = Annotated[Number, limits(gt=0)]


@settings("kind.")
class Kind:
    """How scores (P, H, W) are understood; of numbers and edges each is a plane of its own."""

    kind: Literal["classes", "numbers", "edges"] = "classes"
    """edges: probabilities, by a sigmoid (Xie and Tu 2015); numbers: on the scale below."""
    step: Positive = 1.0
    """What one count stands for in pictures of these numbers."""
    void: Number | None = None
    """The count that means that nothing is known, as what is not finite does."""
    log: bool = False
    """Scores are of the numbers' logarithms."""
    centre: tuple[Number, ...] = ()
    """By plane the number (or logarithm) of score 0: the mean of the training data."""
    spread: tuple[Positive, ...] = ()
    """By plane what a score of 1 adds: their deviation. So one rate fits all units."""

    @property
    def measured(self) -> bool:
        """Whether it gives numbers, not classes."""
        return self.kind != "classes"

    def numbers(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W, P) float32 of scores (P, H, W)."""
        x = np.moveaxis(scores, 0, -1)
        if self.kind == EDGES:
            return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x), np.float32)
        spread, centre = (np.array(row, np.float32) for row in (self.spread, self.centre))
        x = x * spread + centre
        return np.ascontiguousarray(np.exp(x) if self.log else x)


CLASSES, EDGE = Kind(), Kind(EDGES, step=1 / 255)
