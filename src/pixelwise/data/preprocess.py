"""From pixels to what a net was trained on; stored with its weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
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

    Of the bands of ``log`` the pixel's natural logarithm takes its place: depth, whose logarithm
    the paper's colour-depth net sees. It has none where it is missing (0, or below): there, and
    where a number is NaN, the net is shown the mean, as it is beyond the border of a picture that
    training pads.

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
    log: tuple[Annotated[Exact, limits(ge=0)], ...] = ()
    """Which bands' natural logarithm is taken, by number in the net's order."""
    given: Annotated[Exact, limits(ge=0)] = 0
    """Bands of the picture, where ``order`` names some of them; else 0."""
    components: tuple[tuple[Number, ...], ...] = ()
    """What the net is shown in place of bands: sums of them, a row of factors each."""

    def __post_init__(self) -> None:
        m, s, order = len(self.mean), len(self.std), self.order
        ordered = not self.given if isinstance(order, str) else len({*order}) == len(order) == m
        within = isinstance(order, str) or all(0 <= b < self.bands_given for b in order)
        refuse(
            m != s and f"preprocess.mean is for {m} bands, preprocess.std for {s}",
            not (ordered and within)
            and f"preprocess.order is {order}, expected each of {m} bands once",
            not self.scale and "preprocess.scale is 0, which leaves nothing of a picture",
            *(f"preprocess.log names band {b} of {m}" for b in self.log if b >= m),
            any(len(row) != m for row in self.components)
            and f"preprocess.components has rows of other lengths than {m} bands",
        )

    @property
    def bands_given(self) -> int:
        """How many bands pictures have."""
        return self.given or len(self.mean)

    @property
    def channels(self) -> int:
        """How many the net is shown."""
        return len(self.components or self.mean)

    def __call__(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """(H, W, B) to (C, H, W) float32, contiguous; C is B unless bands were chosen.

        Raises:
            DataError: D018 another number of bands, D015 another dtype than ``values`` has.
        """
        if image.shape[2:] != (self.bands_given,):
            taken = f"(H, W, {self.bands_given})"
            message = f"the picture has shape {image.shape}, the net takes {taken}"
            raise DataError("D018", message, "use a model trained on pictures of this kind")
        if self.values == "8-bit" and image.dtype != np.uint8:
            message = f"the picture is of {image.dtype}, the net takes uint8, 0 to 255"
            raise DataError("D015", message, "use a model trained on stored values")
        # One multiplication and one subtraction for each pixel: two passes over memory.
        planes = image.transpose(2, 0, 1)[self.bands()]
        factor = (self.scale / np.asarray(self.std)).astype(np.float32)
        offset = (np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32)
        out = np.empty((len(self.mean), *image.shape[:2]), np.float32)
        np.multiply(planes, factor[:, None, None], out=out)
        out -= offset[:, None, None]
        for band in self.log:
            self._logarithm(planes[band], out[band], band)
        if self.values == "gaps":
            out[np.isnan(out)] = 0
        if self.components:
            out = np.tensordot(np.asarray(self.components, np.float32), out, 1)
        return out

    def _logarithm(self, plane: NDArray[Any], out: NDArray[np.float32], band: int) -> None:
        known = plane > 0
        out[...] = 0
        out[known] = (
            np.log(plane[known], dtype=np.float32) * self.scale - self.mean[band]
        ) / self.std[band]

    def mean_pixel(self) -> NDArray[np.float64]:
        """The (B,) numbers, in the picture's order, that come out as zero."""
        pixel = np.zeros(self.bands_given)
        own = np.asarray(self.mean) / self.scale
        own[list(self.log)] = np.exp(own[list(self.log)])
        pixel[self.bands()] = own
        return pixel

    def bands(self) -> slice | list[int]:
        """Index of the picture's bands that gives the net's."""
        if isinstance(self.order, tuple):
            return list(self.order)
        return slice(None, None, -1 if self.order == "bgr" else 1)


# VOC's mean in BGR, for all Caffe nets (fact sheet 3.1); 0..255, no deviation.
CAFFE = Preprocess("bgr", 1.0, (104.00699, 116.66877, 122.67892), (1.0, 1.0, 1.0))
# torchvision's ImageNet weights.
IMAGENET = Preprocess("rgb", 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# EfficientNet-Lite's (lite/efficientnet_lite_builder.py: MEAN_RGB 127, STDDEV_RGB 128).
EFFICIENTNET_LITE = Preprocess("rgb", 1.0, (127.0,) * 3, (128.0,) * 3)
# The means of the released layers (nyud_layers.py, siftflow_layers.py; fact sheet 3.1).
NYUD_COLOR = Preprocess("bgr", 1.0, (116.190, 97.203, 92.318), (1.0,) * 3)
# Disparity, height, angle: the files' own order, which Caffe's turn of colours leaves alone.
NYUD_HHA = Preprocess("rgb", 1.0, (132.431, 94.076, 118.477), (1.0,) * 3)
# Of millimetres: 7.844 is the logarithm of 2.55 m. Depth of 16 bits makes all bands such.
NYUD_COLOR_D = Preprocess(
    (2, 1, 0, 3), 1.0, (*NYUD_COLOR.mean, 7.844), (1.0,) * 4, values="stored", log=(3,)
)
NYUD_COLOR_HHA = Preprocess((2, 1, 0, 3, 4, 5), 1.0, (*NYUD_COLOR.mean, *NYUD_HHA.mean), (1.0,) * 6)
SIFTFLOW = Preprocess("bgr", 1.0, (114.578, 115.294, 108.353), (1.0,) * 3)
PUBLISHED = {
    "caffe": CAFFE,
    "imagenet": IMAGENET,
    "efficientnet-lite": EFFICIENTNET_LITE,
    "nyud-color": NYUD_COLOR,
    "nyud-color-d": NYUD_COLOR_D,
    "nyud-hha": NYUD_HHA,
    "nyud-color-hha": NYUD_COLOR_HHA,
    "siftflow": SIFTFLOW,
}
"""By the name that ``nets.catalog`` gives a trunk's weights."""


def joined(parts: Sequence[Preprocess]) -> Preprocess:
    """The preprocessing of a stack of bands, from those of consecutive runs of them."""
    if len(parts) == 1:
        return parts[0]
    order: list[int] = []
    log: list[int] = []
    mean: list[float] = []
    std: list[float] = []
    for part in parts:
        bands = range(len(order), len(order) + len(part.mean))
        log += [bands[i] for i in part.log]
        order += [bands[i] for i in np.arange(len(bands))[part.bands()]]
        # Of every part the scale is 1: (x * s - m) / d is (x - m / s) / (d / s).
        mean += [m / part.scale for m in part.mean]
        std += [d / part.scale for d in part.std]
    return Preprocess(tuple(order), 1.0, tuple(mean), tuple(std), "stored", tuple(log))


def with_components(
    shown: Preprocess, count: int, samples: Iterable[tuple[NDArray[Any], NDArray[np.bool_]]]
) -> Preprocess:
    """The ``count`` principal components of what ``shown`` gives, in place of its bands.

    They are those of the pixels that are set in the masks (H, W) beside pictures (H, W, B), so that
    what is judged teaches nothing. Each has zero mean over them and deviates as bands do.
    """
    pixels, sums, products = 0, np.zeros(len(shown.mean)), np.zeros((len(shown.mean),) * 2)
    for image, known in samples:
        spectra = shown(image)[:, known].astype(np.float64)
        pixels += spectra.shape[1]
        sums += spectra.sum(1)
        products += spectra @ spectra.T
    centre = sums / max(pixels, 1)
    covariance = products / max(pixels, 1) - np.outer(centre, centre)
    values, vectors = (part[..., ::-1][..., :count] for part in np.linalg.eigh(covariance))
    usual = np.trace(covariance) / len(centre)
    rows = vectors.T * np.sqrt(usual / np.maximum(values, 1e-12 * usual))[:, None]
    rows *= np.sign(rows[np.arange(count), np.abs(rows).argmax(1)])[:, None]  # of two ways
    moved = np.asarray(shown.mean) + centre * shown.std
    return replace(shown, mean=tuple(moved.tolist()), components=tuple(map(tuple, rows.tolist())))


_PHOTOS = IMAGENET.std, IMAGENET.scale  # of ImageNet's photos, in levels of 8 bits once divided


def standard(
    mean: Sequence[float],
    std: Sequence[float],
    values: Values = "8-bit",
    *,
    like: Preprocess | None = None,
) -> Preprocess:
    """Zero mean and unit deviation for pixels of this mean and deviation, each (B,).

    ``like`` is what weights for three bands were trained with that are given further ones: the
    deviation is then what photos had there, and the first three bands are in that order.
    """
    # A flat band of 8 bits deviates by less than one level; what float numbers mean is not known.
    least = 1.0 if values == "8-bit" else 0.0
    bands, scale = [*range(len(mean))], 1.0
    if like:
        scale = float(np.mean(np.divide(like.std, like.scale) / np.divide(*_PHOTOS)))
        bands[:3] = np.array(bands[:3])[like.bands()].tolist()
    means = tuple(float(mean[b]) for b in bands)
    deviations = tuple(scale * (max(float(std[b]), least) or 1.0) for b in bands)
    plain = bands == sorted(bands)
    return Preprocess("rgb" if plain else tuple(bands), 1.0, means, deviations, values)
