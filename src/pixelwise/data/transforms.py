"""Random changes of a training sample, picture and labels together, and batches of samples.

What is not known after a change is void in the labels and the mean pixel in the picture, before
colours are changed. Every sample has a generator of its own, so the number of reading threads
changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.preprocess import Preprocess
from pixelwise.data.sample import Sample
from pixelwise.errors import UsageError
from pixelwise.labels import VOID, void_of
from pixelwise.pictures.images import cast, mixed, resize
from pixelwise.settings import Number, Share, Whole, in_one_word, limits, refuse, settings

Array = NDArray[Any]
Factor = Annotated[Number, limits(gt=0, le=16)]


@settings("augment.", noun="recipe setting")
class Augmentation:
    """Random changes of a training sample; labels move along, and what is not known is void."""

    mirror: bool = True
    """Left and right exchanged for half of the samples."""
    scale: Annotated[tuple[Factor, Factor], in_one_word] = (1.0, 1.0)
    """Range of the random size factor (log-uniform); batches of several pictures need crop."""
    jitter: Annotated[Whole, limits(ge=0, le=65536)] = 0
    """Largest random shift in pixels (the paper tried 32)."""
    brightness: Share = 0.0
    """Largest relative change."""
    contrast: Share = 0.0
    """Largest relative change."""
    saturation: Share = 0.0
    """Largest relative change."""
    hue: Annotated[Number, limits(ge=0, le=0.5)] = 0.0
    """Largest turn of the colour circle, in turns."""
    rare: Share = 0.0
    """Probability that a crop is centred on a pixel of a rare class."""
    paste: Share = 0.0
    """Probability that what is of rare classes in another crop is pasted over a crop."""
    noise: Annotated[Number, limits(ge=0, le=16)] = 0.0
    """Deviation of the noise (Gaussian, new at each look) that is added to every number, in that of
    its band over the training pictures."""

    def __post_init__(self) -> None:
        low, high = self.scale
        refuse(low > high and f"augment.scale is {low}, {high}, expected the smaller one first")


def apply(
    sample: Sample,
    augment: Augmentation,
    rng: np.random.Generator,
    *,  # crop and zoom are of all samples, not random, so they are no part of ``augment``
    crop: tuple[int, int] | None = None,
    zoom: float = 1.0,
    rare_classes: Sequence[int] = (),
    fill: NDArray[Any] | None = None,
    deviation: NDArray[Any] | None = None,
) -> Sample:
    """A changed copy of a sample.

    Args:
        sample: picture (H, W, B) and labels, or numbers; those of all heads move alike.
        augment: the random changes.
        rng: of this sample alone.
        crop: height and width of what is cut out; smaller pictures are padded to it.
        zoom: factor on the size of every sample, beside the random one.
        rare_classes: ids of the first head, for ``augment.rare``.
        fill: (B,) for where the picture is not known; default 128.
        deviation: (B,) of the bands, for ``augment.noise``; default 1.

    Returns:
        A sample of exactly ``crop``'s size, or without a crop of the scaled size.

    Raises:
        UsageError: U002 other colours for a picture that is not RGB of 8 bits.
    """
    labels = sample.labels
    fill = np.full(sample.image.shape[2], 128.0) if fill is None else fill
    pixel = cast(fill, sample.image.dtype)
    low, high = (math.log(end * zoom) for end in augment.scale)
    factor = math.exp(rng.uniform(low, high))
    height, width = (max(1, round(n * factor)) for n in labels.shape[:2])
    size = crop or (height, width)
    anchor = _anchor(labels, rare_classes, rng) if rng.random() < augment.rare else None
    top = _start(height, size[0], rng, None if anchor is None else anchor[0] * factor)
    left = _start(width, size[1], rng, None if anchor is None else anchor[1] * factor)
    if augment.jitter:
        down, right = rng.integers(-augment.jitter, augment.jitter + 1, 2).tolist()
        top, left = top + down, left + right
    image, heads = _window(sample, factor, (top, left, *size), pixel)
    if augment.mirror and rng.random() < 0.5:
        image, heads = image[:, ::-1], {head: known[:, ::-1] for head, known in heads.items()}
    image = np.ascontiguousarray(_colours(image, augment, rng))
    if augment.noise:  # last, as its draws are many: what is drawn before them stays as it was
        drawn = rng.standard_normal(image.shape, np.float32)
        scale = augment.noise * (np.ones(image.shape[2]) if deviation is None else deviation)
        image = cast(image + drawn * scale.astype(np.float32), image.dtype)
    return Sample(sample.name, image, {h: np.ascontiguousarray(m) for h, m in heads.items()})


def paste(onto: Sample, source: Sample, classes: Sequence[int]) -> Sample:
    """A copy of ``onto`` over which lies what is of these classes of the first head in ``source``.

    Things of another picture of the same size, as in copy-paste augmentation (Ghiasi et al. 2021),
    but by class: label maps of semantic segmentation do not tell one thing from the next.
    """
    chosen = np.isin(np.arange(VOID + 1), classes)[source.labels]
    image = np.where(chosen[..., None], source.image, onto.image)
    at = {2: chosen, 3: chosen[..., None]}
    heads = {h: np.where(at[m.ndim], source.heads[h], m) for h, m in onto.heads.items()}
    return Sample(onto.name, image, heads)


def _anchor(
    labels: Array, classes: Sequence[int], rng: np.random.Generator
) -> tuple[int, int] | None:
    """A random pixel of a random rare class that occurs."""
    present = [c for c in classes if (labels == c).any()]
    if not present:
        return None
    rows, columns = np.nonzero(labels == present[int(rng.integers(len(present)))])
    i = int(rng.integers(len(rows)))
    return int(rows[i]), int(columns[i])


def _start(have: int, want: int, rng: np.random.Generator, anchor: float | None) -> int:
    """Where a window of ``want`` begins on an axis of ``have``; negative where it is padded."""
    free = have - want
    if anchor is not None and free > 0:
        shift = rng.uniform(-0.25, 0.25) * want  # not always in the very middle
        return int(np.clip(round(anchor - want / 2 + shift), 0, free))
    return int(rng.integers(0, free + 1)) if free >= 0 else -int(rng.integers(0, -free + 1))


def _window(
    sample: Sample, factor: float, window: tuple[int, int, int, int], pixel: NDArray[Any]
) -> tuple[NDArray[Any], dict[str, Array]]:
    """A window (top, left, height, width) of the scaled sample; only that part is ever scaled."""
    image, stored = sample.image, sample.image.shape[:2]
    top, left, height, width = window
    full = tuple(max(1, round(n * factor)) for n in stored)
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = min(full[0], top + height), min(full[1], left + width)
    out = np.empty((height, width, image.shape[2]), image.dtype)
    heads = {head: _all_void((height, width), known) for head, known in sample.heads.items()}
    if (y1 - y0, x1 - x0) != (height, width):
        out[:] = pixel
    if y1 <= y0 or x1 <= x0:  # jitter may push a small picture out of the window
        return out, heads
    sy, sx = stored[0] / full[0], stored[1] / full[1]
    box, size = (x0 * sx, y0 * sy, x1 * sx, y1 * sy), (y1 - y0, x1 - x0)
    place = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
    same = full == stored
    out[place] = image[y0:y1, x0:x1] if same else resize(image, size, box=box)
    for head, labels in sample.heads.items():
        nearest = labels[y0:y1, x0:x1] if same else resize(labels, size, method="nearest", box=box)
        heads[head][place] = nearest
    return out, heads


def _colours(image: NDArray[Any], augment: Augmentation, rng: np.random.Generator) -> NDArray[Any]:
    """Brightness, contrast, saturation and hue as one matrix and an offset."""
    a = augment
    # Drawn in any case, so that switching one change on leaves the others as they were.
    draws = rng.uniform(-1, 1, 4)
    if not (a.brightness or a.contrast or a.saturation or a.hue):
        return image
    if image.shape[2] != 3 or image.dtype != np.uint8:
        raise UsageError(
            "U002",
            f"brightness, contrast, saturation and hue are changed in pictures of 3 bands of "
            f"uint8, the picture has {image.shape[2]} of {image.dtype}",
            "set them to 0, e.g. --set augment.brightness=0",
        )
    bright, contrast = 1 + draws[0] * a.brightness, 1 + draws[1] * a.contrast
    matrix = _saturation(1 + draws[2] * a.saturation) @ _hue(draws[3] * a.hue)
    middle = float(image[::4, ::4].mean())
    offset = bright * middle * (1 - contrast)
    return mixed(image, matrix * (bright * contrast), offset)


def _saturation(factor: float) -> NDArray[np.float64]:
    """Towards (or away from) the luma of ITU-R BT.601."""
    luma = np.tile([0.299, 0.587, 0.114], (3, 1))
    mixed: NDArray[np.float64] = luma + (np.eye(3) - luma) * factor
    return mixed


def _hue(turns: float) -> NDArray[np.float64]:
    """Rotation about the grey axis (Rodrigues)."""
    angle, n = 2 * math.pi * turns, 1 / math.sqrt(3)
    cross = n * np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    along = np.eye(3) * math.cos(angle)
    return along + math.sin(angle) * cross + (1 - math.cos(angle)) / 3


def collate(
    samples: Sequence[Sample], preprocess: Preprocess
) -> tuple[NDArray[np.float32], dict[str, Array]]:
    """A batch; smaller samples are padded at the right and below with the mean and void.

    Returns:
        (N, B, H, W) float32, and by head (N, H, W) uint8, or of numbers (N, P, H, W) float32.
    """
    height, width = (max(s.image.shape[axis] for s in samples) for axis in (0, 1))
    images = np.zeros((len(samples), preprocess.channels, height, width), np.float32)
    size = len(samples), height, width
    heads = {head: _all_void(size, known) for head, known in samples[0].heads.items()}
    for i, sample in enumerate(samples):
        h, w = sample.image.shape[:2]
        images[i, :, :h, :w] = preprocess(sample.image)
        for head, labels in sample.heads.items():
            heads[head][i, :h, :w] = labels
    return images, {h: m if m.ndim == 3 else np.moveaxis(m, 3, 1) for h, m in heads.items()}


def _all_void(size: tuple[int, ...], like: Array) -> Array:
    return np.full((*size, *like.shape[2:]), void_of(like), like.dtype)
