"""The scores of a picture that was shown to a net once or several times.

Of several showings (zooms, the mirror image) the mean counts. It is taken for a few classes at a
time, each upsampled, brought to the picture's size and compared with the best so far: labels need
the memory of some maps (H, W), however many classes there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.runner import STRIP, ScoreMap


@dataclass(frozen=True)
class Showing:
    """One head's scores of a picture, as it was shown once."""

    scores: ScoreMap
    top: int
    """Where the picture begins in the map: there may be a border around it."""
    left: int
    size: tuple[int, int] | None
    """(h, w) of the picture as it was shown; None where the map is coarse and taken whole."""
    mirrored: bool = False

    def part(self, first: int, last: int) -> Tensor:
        """(last - first, h, w) float32: the scores of these classes, mirrored back."""
        scores = self.scores.classes(first, last)[0]
        if self.size is not None:
            scores = scores.narrow(1, self.top, self.size[0]).narrow(2, self.left, self.size[1])
        return scores.flip(2) if self.mirrored else scores


@dataclass(frozen=True)
class Showings:
    """One head's scores of a picture: the mean over its showings.

    Attributes:
        groups: for each size at which the picture was shown, its showings.
        size: (H, W) of the picture.
    """

    groups: tuple[tuple[Showing, ...], ...]
    size: tuple[int, int]

    @property
    def classes(self) -> int:
        """K."""
        return self.groups[0][0].scores.shape[1]

    def part(self, first: int, last: int) -> Tensor:
        """(last - first, H, W) float32: the mean scores of these classes."""
        total: Tensor | None = None
        for group in self.groups:
            scores = _mean([showing.part(first, last) for showing in group])
            if group[0].size not in (None, self.size):
                scores = F.interpolate(
                    scores[None], self.size, mode="bilinear", align_corners=False
                )[0]
            total = scores if total is None else total + scores
        assert total is not None
        return total / len(self.groups)

    def scores(self) -> Tensor:
        """(K, H, W) float32; (K, h, w) of a coarse map."""
        return self.part(0, self.classes)

    def labels(self) -> Tensor:
        """(H, W): ``scores().argmax(0)``, without holding them; uint8, or int32 for K > 255."""
        (first, *more), *others = self.groups
        if not more and not others and first.size in (None, self.size):
            height, width = first.size or first.scores.shape[-2:]
            labels = first.scores.labels()[0]  # the runner's own way, in strips of rows
            return labels[first.top : first.top + height, first.left : first.left + width]
        return self._best()

    def _best(self) -> Tensor:
        spans = self._spans()
        highest, labels = self.part(*next(spans)).max(0)
        for first, last in spans:
            scores, best = self.part(first, last).max(0)
            better = scores > highest  # not >=: the first of equals is kept
            labels = torch.where(better, best + first, labels)
            highest = torch.where(better, scores, highest)
        return labels.to(torch.uint8 if self.classes <= 255 else torch.int32)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """As many classes at a time as a strip of the largest showing has room for, or one."""
        largest = max(s.scores.shape[2] * s.scores.shape[3] for g in self.groups for s in g)
        step = max(1, STRIP // largest)
        for first in range(0, self.classes, step):
            yield first, min(first + step, self.classes)


def _mean(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else (parts[0] + parts[1]) / 2
