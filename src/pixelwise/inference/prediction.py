"""What a prediction is: label map, classes, colours, and pictures of them on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pixelwise import images, labels

if TYPE_CHECKING:
    from PIL.Image import Image

Palette = Sequence[tuple[int, int, int]]


@dataclass(frozen=True)
class Prediction:
    """The labels of one picture.

    Attributes:
        image: (H, W, 3) uint8, what was looked at.
        labels: (H, W) uint8 class ids (uint16 for more than 255 classes).
        classes: K names.
        palette: K colours.
        probabilities: (K, H, W) float32 softmax, or None when they were not asked for.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    probabilities: NDArray[np.float32] | None = None

    @property
    def overlay(self) -> Image:
        """The picture under the classes' colours, with a legend, as a PIL image."""
        return images.to_image(self.overlay_array())

    def overlay_array(self) -> NDArray[np.uint8]:
        """``overlay`` as an (H', W', 3) uint8 array; the legend stands beside the picture."""
        palette = np.asarray(self.palette, np.uint8)
        covered = labels.overlay(self.image, self.labels, palette)
        present = [int(i) for i in np.unique(self.labels)]
        return images.draw_legend(covered, [self.classes[i] for i in present], palette[present])

    @property
    def mask(self) -> Image:
        """The label map in colour, as a PIL image."""
        return images.to_image(labels.colour(self.labels, np.asarray(self.palette, np.uint8)))

    def areas(self) -> dict[str, float]:
        """Share of the picture by class, for the classes that occur."""
        ids, pixels = np.unique(self.labels, return_counts=True)
        return {
            self.classes[int(i)]: float(n / self.labels.size)
            for i, n in zip(ids, pixels, strict=True)
        }
