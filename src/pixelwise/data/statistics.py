"""Counts over a split: pixels by class, pictures by class, mean and deviation of the channels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.layouts import DataSet
from pixelwise.data.sample import Item, Reader
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


def statistics(
    dataset: DataSet,
    split: str,
    *,
    read: Reader | None = None,
    watch: Callable[[], object] = lambda: None,
) -> Statistics:
    """Read a whole split and count.

    Args:
        dataset: of ``open_dataset``.
        split: name.
        read: ``dataset.read``, or one that remembers.
        watch: called after each item.

    Raises:
        DataError: the first sample that cannot be read or does not fit.
    """
    items = dataset.items(split)
    k = len(dataset.classes)
    read = read or dataset.read

    def one(item: Item) -> tuple[Ints, Floats, Floats]:
        sample = read(item)
        counts = np.bincount(sample.labels.ravel(), minlength=256).astype(np.int64)
        pixels = sample.image.reshape(-1, sample.image.shape[2])
        histograms = [np.bincount(channel, minlength=256) for channel in pixels.T]
        level = np.arange(256.0)
        sums = np.array([h @ level for h in histograms])
        squares = np.array([h @ level**2 for h in histograms])
        watch()
        return counts, sums, squares

    with ThreadPoolExecutor(2) as pool:
        rows = list(pool.map(one, items))
    counts = np.stack([r[0] for r in rows])
    known = counts[:, :k]
    present = known > 0
    total = counts.sum()
    mean = np.sum([r[1] for r in rows], axis=0) / total
    square = np.sum([r[2] for r in rows], axis=0) / total
    return Statistics(
        dataset.classes,
        len(items),
        known.sum(0),
        present.sum(0),
        (known.sum(1)[:, None] * present).sum(0),
        int(counts[:, VOID].sum()),
        mean,
        np.sqrt(np.maximum(square - mean**2, 0)),
    )
