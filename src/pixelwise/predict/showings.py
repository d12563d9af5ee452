"""The scores of a picture that was shown to a net once or several times.

Of several showings (zooms, the mirror image) the mean counts. It is taken for a few classes at a
time, each upsampled, brought to the picture's size and compared with the best so far: labels need
the memory of some maps (H, W), however many classes there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.runner import STRIP, ScoreMap


@dataclass(frozen=True)
class Showing:
    """One head's scores of a picture at one size."""

    maps: tuple[ScoreMap, ...]
    """Of the picture and, if it was asked for, of its mirror image."""
    top: int
    """Where the picture begins in the maps: there may be a border around it."""
    left: int
    size: tuple[int, int]
    """(h, w) of the picture as it was shown, or of a coarse map, which is taken whole."""

    def scores(self, first: int, last: int, size: tuple[int, int]) -> Tensor:
        """(last - first, *size) float32: the scores of these classes, mirrored and brought back."""
        height, width = self.size
        plain, *other = (
            scores.classes(first, last)[0].narrow(1, self.top, height).narrow(2, self.left, width)
            for scores in self.maps
        )
        mean = (plain + other[0].flip(2)) / 2 if other else plain
        if size == self.size:
            return mean
        return F.interpolate(mean[None], size, mode="bilinear", align_corners=False)[0]


@dataclass(frozen=True)
class Showings:
    """One head's scores of a picture: the mean over its showings."""

    each: tuple[Showing, ...]
    size: tuple[int, int]
    """(H, W) of the picture, or of the coarse map."""

    @property
    def classes(self) -> int:
        """K."""
        return self.each[0].maps[0].shape[1]

    def scores(self, first: int = 0, last: int | None = None) -> Tensor:
        """(last - first, H, W) float32: the mean scores of these classes, of all by default."""
        last = self.classes if last is None else last
        parts = (showing.scores(first, last, self.size) for showing in self.each)
        return reduce(torch.add, parts) / len(self.each)

    def labels(self) -> Tensor:
        """(H, W): ``scores().argmax(0)``, without holding them; uint8, or int32 for K > 255."""
        showing = self.each[0]
        if len(self.each) == len(showing.maps) == 1 and showing.size == self.size:
            labels = showing.maps[0].labels()[0]  # the runner's own way, in strips of rows
            return labels.narrow(0, showing.top, self.size[0]).narrow(1, showing.left, self.size[1])
        # As many classes at a time as a strip of the largest showing has room for, or one.
        step = max(1, STRIP // max(m.shape[2] * m.shape[3] for s in self.each for m in s.maps))
        highest: Tensor | float = -torch.inf
        labels = self.each[0].maps[0].cells.new_zeros((), dtype=torch.long)
        for first in range(0, self.classes, step):
            scores, best = self.scores(first, min(first + step, self.classes)).max(0)
            better = scores > highest  # not >=: the first of equals is kept
            labels = torch.where(better, best + first, labels)
            highest = torch.where(better, scores, highest)
        return labels.to(torch.uint8 if self.classes <= 255 else torch.int32)
