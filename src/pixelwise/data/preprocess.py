"""From uint8 pixels to what a net was trained on; stored with its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import ModelError

FORM = "expected order (rgb or bgr), scale, and mean and std for each channel"


@dataclass(frozen=True)
class Preprocess:
    """(pixel * scale - mean) / std, channel by channel, in the order the net expects."""

    order: Literal["rgb", "bgr"]
    scale: float
    mean: tuple[float, ...]
    """In the net's order of channels."""
    std: tuple[float, ...]

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(H, W, C) uint8 to (C, H, W) float32, contiguous."""
        planes = image[..., ::-1] if self.order == "bgr" else image
        factor = (self.scale / np.asarray(self.std)).astype(np.float32)
        offset = (np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32)
        out = np.empty((image.shape[2], *image.shape[:2]), np.float32)
        np.multiply(planes.transpose(2, 0, 1), factor[:, None, None], out=out)
        out -= offset[:, None, None]
        return out

    def mean_pixel(self) -> NDArray[np.uint8]:
        """The (C,) uint8 pixel, in the picture's order, that comes out nearest to zero."""
        mean = np.asarray(self.mean) / self.scale
        pixel = mean[::-1] if self.order == "bgr" else mean
        rounded: NDArray[np.uint8] = pixel.round().clip(0, 255).astype(np.uint8)
        return rounded

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint's header."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Preprocess:
        """What ``as_dict`` gave.

        Raises:
            ModelError: M002 fields are missing or strange.
        """
        try:
            order, scale = values["order"], float(values["scale"])
            mean = tuple(float(v) for v in values["mean"])
            std = tuple(float(v) for v in values["std"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            told = f"the preprocessing {dict(values)}"[:300]
            raise ModelError("M002", f"{told} is not complete", FORM) from error
        finite = all(math.isfinite(v) for v in (scale, *mean, *std))
        sized = len(mean) == len(std) and all(s > 0 for s in std)
        if order not in ("rgb", "bgr") or not finite or not sized:
            raise ModelError("M002", f"the preprocessing {dict(values)} makes no sense", FORM)
        return Preprocess(order, scale, mean, std)


# VOC's mean in BGR, for all Caffe nets (fact sheet 3.1); 0..255, no deviation.
CAFFE = Preprocess("bgr", 1.0, (104.00699, 116.66877, 122.67892), (1.0, 1.0, 1.0))
# torchvision's ImageNet weights.
IMAGENET = Preprocess("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PUBLISHED = {"caffe": CAFFE, "imagenet": IMAGENET}
"""By the name that ``nets.catalog`` gives a trunk's weights."""


def standard(mean: Sequence[float], std: Sequence[float]) -> Preprocess:
    """Zero mean and unit deviation for data of its own kind.

    Args:
        mean: (C,) of the pixels, 0..255, in the picture's order.
        std: (C,) likewise.
    """
    deviations = tuple(max(float(s), 1.0) for s in std)
    return Preprocess("rgb", 1.0, tuple(float(m) for m in mean), deviations)
