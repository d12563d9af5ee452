"""Counts over a split: pixels by class, pictures by class, mean and deviation of the channels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.sample import Sample
from pixelwise.errors import DataError
from pixelwise.labels import VOID

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ClassCounts:
    """The labels of one head over a split."""

    classes: tuple[str, ...]
    pixels: Ints
    """(K,) labelled pixels of each class."""
    images_with: Ints
    """(K,) pictures in which the class occurs."""
    pixels_where_present: Ints
    """(K,) labelled pixels of all pictures in which the class occurs."""
    void: int
    """Pixels that are not labelled."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        total = max(1, int(self.pixels.sum()))
        rows = zip(self.classes, self.pixels.tolist(), self.images_with.tolist(), strict=True)
        return {
            "void_pixels": self.void,
            "classes": [
                {"name": name, "pixels": pixels, "share": pixels / total, "images": images}
                for name, pixels, images in rows
            ],
        }


@dataclass(frozen=True)
class Statistics:
    """What a split holds."""

    images: int
    heads: Mapping[str, ClassCounts]
    """By head."""
    mean: Floats
    """(B,) of the pixels, in the picture's order of bands."""
    std: Floats
    """(B,) likewise."""
    dtype: str = "uint8"
    """Of the pictures."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data; the labels of the first head, and of several each one's under ``heads``."""
        heads = {name: counted.as_dict() for name, counted in self.heads.items()}
        return {
            "images": self.images,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            **next(iter(heads.values())),
            **({"heads": heads} if len(heads) > 1 else {}),
        }


@dataclass(frozen=True)
class Counts:
    """What one sample adds."""

    heads: Mapping[str, Ints]
    """By head (256,) pixels by class id."""
    sums: Floats
    """(B,) of the picture's values."""
    squares: Floats
    """(B,) of their squares."""
    pixels: Ints
    """(B,) that have a value."""
    dtype: str
    """Of the picture."""

    @property
    def kind(self) -> str:
        """As `3 bands of uint8`."""
        return f"{len(self.sums)} bands of {self.dtype}"


def count(sample: Sample) -> Counts:
    """The counts of a sample; of 8 bits by histograms: exact, and faster than sums over floats."""
    bands = sample.image.reshape(-1, sample.image.shape[2]).T
    if bands.dtype == np.uint8:
        histograms = np.stack([np.bincount(band, minlength=256) for band in bands])
        level = np.arange(256.0)
        sums, squares, pixels = histograms @ level, histograms @ level**2, histograms.sum(1)
    else:
        known = [band[~np.isnan(band)].astype(np.float64) for band in bands]
        sums, squares = (np.array([(b**power).sum() for b in known]) for power in (1, 2))
        pixels = np.array([len(band) for band in known])
    heads = {h: np.bincount(_ids(m).ravel(), minlength=256) for h, m in sample.heads.items()}
    return Counts(heads, sums, squares, pixels, str(bands.dtype))


def _ids(labels: NDArray[Any]) -> NDArray[Any]:
    """Class ids; of numbers the place of each plane where it is known, else void."""
    planes = np.arange(labels.shape[-1])
    return labels if labels.ndim == 2 else np.where(np.isfinite(labels), planes, VOID)


def refuse_mixed(kinds: Mapping[Path, str]) -> Iterator[DataError]:
    """A problem where pictures do not all have the same ``Counts.kind``."""
    by_kind = {kind: path for path, kind in kinds.items()}
    if len(by_kind) > 1:
        files = " and ".join(f"{path} has {kind}" for kind, path in list(by_kind.items())[:2])
        hint = "keep pictures of one kind, or convert the others"
        yield DataError("D018", f"{files}; expected the same of all pictures", hint)


def summarise(classes: Mapping[str, Sequence[str]], counted: Sequence[Counts]) -> Statistics:
    """The statistics of a split, with these classes by head, from the counts of its samples."""
    none = np.zeros((1, VOID + 1), np.int64)  # there may be no sample
    labels = {head: np.vstack([none, *(c.heads[head] for c in counted)]) for head in classes}
    total = np.maximum(np.sum([c.pixels for c in counted], axis=0), 1)
    mean = np.sum([c.sums for c in counted], axis=0) / total
    square = np.sum([c.squares for c in counted], axis=0) / total
    return Statistics(
        images=len(counted),
        heads={head: _class_counts(names, labels[head]) for head, names in classes.items()},
        mean=mean,
        std=np.sqrt(np.maximum(square - mean**2, 0)),  # rounding may leave a flat band below 0
        dtype=counted[0].dtype if counted else "uint8",
    )


def _class_counts(classes: Sequence[str], labels: Ints) -> ClassCounts:
    """From (N, 256) pixels by sample and class id."""
    known = labels[:, : len(classes)]
    present = known > 0
    return ClassCounts(
        classes=tuple(classes),
        pixels=known.sum(0),
        images_with=present.sum(0),
        pixels_where_present=(known.sum(1)[:, None] * present).sum(0),
        void=int(labels[:, VOID].sum()),
    )
