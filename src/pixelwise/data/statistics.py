"""Counts over a split: pixels by class, pictures by class, mean and deviation of the channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import raise_all
from pixelwise.data.sample import Item, Sample
from pixelwise.errors import DataError
from pixelwise.labels import VOID

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """What a split holds."""

    classes: tuple[str, ...]
    images: int
    pixels: Ints
    """(K,) labelled pixels of each class."""
    images_with: Ints
    """(K,) pictures in which the class occurs."""
    pixels_where_present: Ints
    """(K,) labelled pixels of all pictures in which the class occurs."""
    void: int
    """Pixels that are not labelled."""
    mean: Floats
    """(C,) of the pixels, 0..255, in the picture's order of channels."""
    std: Floats
    """(C,) likewise."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        total = max(1, int(self.pixels.sum()))
        return {
            "images": self.images,
            "void_pixels": self.void,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "classes": [
                {
                    "name": name,
                    "pixels": int(p),
                    "share": int(p) / total,
                    "images": int(n),
                }
                for name, p, n in zip(self.classes, self.pixels, self.images_with, strict=True)
            ],
        }


@dataclass(frozen=True)
class Counts:
    """What one sample adds."""

    labels: Ints
    """(256,) pixels by class id."""
    sums: Floats
    """(C,) of the picture's values."""
    squares: Floats
    """(C,) of their squares."""


def count(sample: Sample) -> Counts:
    """The counts of a sample, by histograms: exact, and faster than sums over floats."""
    pixels = sample.image.reshape(-1, sample.image.shape[2])
    histograms = np.stack([np.bincount(channel, minlength=256) for channel in pixels.T])
    level = np.arange(256.0)
    labels = np.bincount(sample.labels.ravel(), minlength=256).astype(np.int64)
    return Counts(labels, histograms @ level, histograms @ level**2)


def summarise(classes: Sequence[str], counted: Sequence[Counts]) -> Statistics:
    """The statistics of a split from the counts of its samples."""
    labels = np.stack([c.labels for c in counted])
    known = labels[:, : len(classes)]
    present = known > 0
    total = labels.sum()
    mean = np.sum([c.sums for c in counted], axis=0) / total
    square = np.sum([c.squares for c in counted], axis=0) / total
    return Statistics(
        tuple(classes),
        len(counted),
        known.sum(0),
        present.sum(0),
        (known.sum(1)[:, None] * present).sum(0),
        int(labels[:, VOID].sum()),
        mean,
        np.sqrt(np.maximum(square - mean**2, 0)),
    )


def statistics(
    dataset: DataSet, split: str, *, watch: Callable[[], object] = lambda: None
) -> Statistics:
    """Read a whole split and count.

    Args:
        dataset: of ``open_dataset``.
        split: name.
        watch: called after each item.

    Raises:
        DataError: the samples that cannot be read or do not fit, all of them.
    """

    def one(item: Item) -> Counts | DataError:
        try:
            return count(dataset.read(item))
        except DataError as error:
            return error
        finally:
            watch()

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(one, dataset.items(split)))
    raise_all(dataset.root, [e for e in found if isinstance(e, DataError)])
    return summarise(dataset.classes, [c for c in found if isinstance(c, Counts)])
