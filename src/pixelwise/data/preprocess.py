"""From pixels to what a net was trained on; stored with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.pictures.reading import Values
from pixelwise.settings import Exact, Number, limits, refuse, settings

FORM = "expected order (rgb, bgr or numbers of bands), scale, and mean and std for each band"


@settings("preprocess.", code="M002", hint=FORM)
class Preprocess:
    """(pixel * scale - mean) / std, band by band, in the order the net expects.

    ``settings.as_dict`` makes it plain data for a checkpoint's header, ``settings.read`` makes it
    from that (M002 if fields are missing or strange).
    """

    order: Literal["rgb", "bgr"] | tuple[Exact, ...]
    """The picture's bands as they come, in reverse (Caffe's colours), or by their numbers."""
    scale: Number
    mean: tuple[Number, ...]
    """In the net's order of bands."""
    std: tuple[Annotated[Number, limits(gt=0)], ...]
    values: Values = "8-bit"
    """Which numbers the net was trained on, see ``pictures.reading``."""

    def __post_init__(self) -> None:
        m, s = len(self.mean), len(self.std)
        ordered = isinstance(self.order, str) or sorted(self.order) == list(range(m))
        refuse(
            m != s and f"preprocess.mean is for {m} bands, preprocess.std for {s}",
            not ordered and f"preprocess.order is {self.order}, expected each of {m} bands once",
            not self.scale and "preprocess.scale is 0, which leaves nothing of a picture",
        )

    def __call__(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """(H, W, B) to (B, H, W) float32, contiguous.

        Raises:
            DataError: D018 another number of bands, D015 another dtype than ``values`` has.
        """
        if image.shape[2:] != (len(self.mean),):
            message = f"the picture has shape {image.shape}, the net takes (H, W, {len(self.mean)})"
            raise DataError("D018", message, "use a model trained on pictures of this kind")
        if self.values == "8-bit" and image.dtype != np.uint8:
            message = f"the picture is of {image.dtype}, the net takes uint8, 0 to 255"
            raise DataError("D015", message, "use a model trained on stored values")
        # One multiplication and one subtraction for each pixel: two passes over memory.
        planes = image.transpose(2, 0, 1)[self._bands()]
        factor = (self.scale / np.asarray(self.std)).astype(np.float32)
        offset = (np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32)
        out = np.empty((image.shape[2], *image.shape[:2]), np.float32)
        np.multiply(planes, factor[:, None, None], out=out)
        out -= offset[:, None, None]
        return out

    def mean_pixel(self) -> NDArray[np.float64]:
        """The (B,) numbers, in the picture's order, that come out as zero."""
        pixel = np.empty(len(self.mean))
        pixel[self._bands()] = np.asarray(self.mean) / self.scale
        return pixel

    def _bands(self) -> slice | list[int]:
        """Index of the picture's bands that gives the net's."""
        if isinstance(self.order, tuple):
            return list(self.order)
        return slice(None, None, -1 if self.order == "bgr" else 1)


# VOC's mean in BGR, for all Caffe nets (fact sheet 3.1); 0..255, no deviation.
CAFFE = Preprocess("bgr", 1.0, (104.00699, 116.66877, 122.67892), (1.0, 1.0, 1.0))
# torchvision's ImageNet weights.
IMAGENET = Preprocess("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PUBLISHED = {"caffe": CAFFE, "imagenet": IMAGENET}
"""By the name that ``nets.catalog`` gives a trunk's weights."""


def standard(mean: Sequence[float], std: Sequence[float], values: Values = "8-bit") -> Preprocess:
    """Zero mean and unit deviation for pixels of this mean and deviation, each (B,)."""
    # A flat band of 8 bits deviates by less than one level; what float numbers mean is not known.
    least = 1.0 if values == "8-bit" else 0.0
    deviations = tuple(max(float(s), least) or 1.0 for s in std)
    return Preprocess("rgb", 1.0, tuple(float(m) for m in mean), deviations, values)
