"""Label maps as numbers and as colours: void, class lists, palettes, overlays. No files here."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOID = 255
"""Not labelled: left out of losses and scores, never predicted."""

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
"""PASCAL VOC, fact sheet 3.2."""

CAMVID_COLOURS = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
"""CamVid as SegNet's authors grouped and coloured it; their label 11 is void."""
CAMVID_CLASSES, CAMVID_PALETTE = tuple(CAMVID_COLOURS), tuple(CAMVID_COLOURS.values())

SPECTRAL = 10
"""Bands from which on a picture is a spectrum, and not a few inputs behind each other."""
SAMPLED = 10**6  # pixels that a stretch is found from at most

Labels = NDArray[np.uint8] | NDArray[np.uint16]
Image = NDArray[np.uint8]


def void_of(labels: NDArray[Any]) -> float:
    """What stands for nothing known: of class ids ``VOID``, of numbers NaN."""
    return math.nan if labels.dtype.kind == "f" else VOID


def default_names(count: int) -> tuple[str, ...]:
    """What classes are called that nobody has named."""
    return tuple(f"class {i}" for i in range(count))


def voc_palette(length: int = 256) -> Image:
    """The VOC colours: the bits of a label are dealt to R, G, B in turn, from the highest bit down.

    Returns:
        (length, 3) uint8; entry 255 is (224, 224, 192), the colour of void.
    """
    index = np.arange(length)
    colours = np.zeros((length, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            taken = (index >> (3 * bit + channel)) & 1
            colours[:, channel] |= (taken << (7 - bit)).astype(np.uint8)
    return colours


def distinct_palette(length: int) -> Image:
    """Well separated colours for classes that came without: golden-ratio hues, three tones.

    Returns:
        (length, 3) uint8, the same for every call.
    """
    tones = ((0.62, 0.90), (0.80, 0.65), (0.42, 0.98))  # saturation, value
    hues = [(0.58 + i * 0.61803398875) % 1.0 for i in range(length)]  # the golden ratio, less 1
    colours = [colorsys.hsv_to_rgb(hue, *tones[i % 3]) for i, hue in enumerate(hues)]
    return (np.array(colours).reshape(length, 3) * 255).round().astype(np.uint8)


def colours_for(
    count: int, given: Sequence[tuple[int, int, int]] = ()
) -> tuple[tuple[int, int, int], ...]:
    """A colour for each of ``count`` classes: the given ones if they suffice, else made ones.

    21 classes are taken for VOC's.
    """
    made = voc_palette if count == len(VOC_CLASSES) else distinct_palette
    palette = given[:count] if len(given) >= count else made(count).tolist()
    return tuple((int(r), int(g), int(b)) for r, g, b in palette)


def full_palette(palette: Image) -> Image:
    """256 entries: the colours of K <= 256 classes, black, and void's pale yellow at the end."""
    full = np.zeros((256, 3), np.uint8)
    full[VOID] = (224, 224, 192)
    full[: len(palette)] = palette
    return full


def colour(labels: Labels, palette: Image) -> Image:
    """Label ids (H, W) as colours (H, W, 3); void and ids beyond K as in ``full_palette``."""
    table = full_palette(palette) if len(palette) <= 256 else palette
    return table[np.minimum(labels, len(table) - 1)]


def overlay(
    image: Image,
    labels: Labels,
    palette: Image,
    *,
    opacity: float = 0.5,
    untinted: Sequence[int] = (),
) -> Image:
    """A picture under its labels' colours; void shows the picture alone.

    Args:
        image: (H, W, 3) uint8, as is what comes out.
        labels: (H, W) uint8, or uint16, where 255 is a class like others.
        palette: (K, 3) uint8.
        opacity: of the colours, in [0, 1].
        untinted: ids whose pixels show the picture alone too.
    """
    bare = np.isin(labels, [*untinted, *([VOID] if labels.dtype == np.uint8 else [])])
    share = np.where(bare[..., None], 0.0, opacity).astype(np.float32)
    mixed = image * (1 - share) + colour(labels, palette) * share
    rounded: Image = mixed.round().astype(np.uint8)
    return rounded


def three_bands(image: NDArray[Any], shown: Sequence[int] = ()) -> Image:
    """What can be seen of a picture (H, W, B): three of its bands, or the first one as grey.

    Args:
        image: of any dtype; what is NaN is black.
        shown: numbers of the bands that are red, green and blue. By default the first three, of
            ``SPECTRAL`` bands and more three that are spread over the spectrum, the last as red.

    Returns:
        (H, W, 3) uint8. Other numbers are stretched, band by band, from the 2nd to the 98th
        hundredth; not colours of 8 bits that lie beside wider bands, such as depth.
    """
    count = image.shape[2]
    if not shown:
        spread = (5 * count // 6, count // 2, count // 6) if count >= SPECTRAL else (0, 1, 2)
        shown = spread if count > 2 else (0, 0, 0)
    seen = image[..., list(shown)]
    if seen.dtype == np.uint8:
        return seen
    if count > 3 and seen.min() >= 0 and seen.max() <= 255 < image.max():
        return seen.astype(np.uint8)
    step = -(-seen.shape[0] * seen.shape[1] // SAMPLED)
    ends = []
    for band in np.moveaxis(seen, 2, 0):
        known = band[np.isfinite(band)][::step]
        ends.append(np.percentile(known, (2, 98)) if known.size else (0, 1))
    low, high = np.array(ends, np.float32).T
    level = (seen - low) * (255 / np.maximum(high - low, 1e-6))
    stretched: Image = np.nan_to_num(level).round().clip(0, 255).astype(np.uint8)
    return stretched


def heat_colours(level: NDArray[np.float32]) -> Image:
    """Blue, cyan, yellow, red for (H, W) of 0 to 1 (the look of the paper's figure 2)."""
    x = np.clip(level, 0, 1)[..., None] * 4
    centres = np.array([3.0, 2.0, 1.0], np.float32)  # where red, green and blue are fullest
    ramps: Image = (255 * np.clip(1.5 - np.abs(x - centres), 0, 1)).round().astype(np.uint8)
    return ramps


def ends_of(numbers: NDArray[Any]) -> tuple[float, float]:
    """The lowest and the highest of numbers; NaN aside."""
    known = numbers[np.isfinite(numbers)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)


def shown_numbers(numbers: NDArray[Any], ends: tuple[float, float] | None = None) -> Image:
    """(H, W, 3): three planes as colours, else the first as heat between ``ends``; NaN black."""
    low, high = ends or ends_of(numbers)
    level = (numbers - low) / max(high - low, 1e-9)
    if numbers.shape[2] == 3:
        return (255 * np.nan_to_num(level).clip(0, 1)).round().astype(np.uint8)
    known = np.isfinite(level[..., :1])
    return np.where(known, heat_colours(np.nan_to_num(level[..., 0])), 0).astype(np.uint8)


def number_legend(ends: tuple[float, float], unit: str) -> tuple[list[str], Image]:
    """Names and colours of five numbers from end to end, as ``shown_numbers`` has them."""
    names = [f"{value:.3g} {unit}" for value in np.linspace(*ends, 5)]
    return names, heat_colours(np.linspace(0, 1, 5, dtype=np.float32)[None])[0]


def heat_map(image: Image, share: NDArray[np.float32]) -> Image:
    """A probability map over its picture, (H, W, 3): blue is none, red its highest value.

    Args:
        image: (H, W, 3) uint8, which is seen in grey.
        share: (H, W) in [0, 1].
    """
    # Below one in a thousand nothing is drawn red: it would make much of noise.
    level = np.asarray(share, np.float32) / max(float(share.max()), 1e-3)
    grey = image.mean(axis=2, keepdims=True)
    mixed: Image = (0.45 * grey + 0.55 * heat_colours(level)).round().clip(0, 255).astype(np.uint8)
    return mixed
