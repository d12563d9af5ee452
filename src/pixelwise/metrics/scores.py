"""The four numbers of the FCN paper and the table of classes, read off a confusion count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelwise.errors import UsageError
from pixelwise.metrics.confusion import Counts


@dataclass(frozen=True)
class Scores:
    """The four numbers of the FCN paper (CVPR 2015, section 5), in [0, 1]; NaN without a pixel."""

    pixel_accuracy: float
    """Pixels named rightly, of all that are not void."""
    mean_accuracy: float
    """Mean over classes of the share of a class's pixels that were found."""
    mean_iu: float
    """Mean over classes of intersection over union."""
    frequency_weighted_iu: float
    """Intersection over union, weighted by the class's share of the truth."""

    def as_dict(self) -> dict[str, float | None]:
        """The four as plain data; None where there was no pixel to count."""
        return {name: _number(value) for name, value in vars(self).items()}


@dataclass(frozen=True)
class ClassRow:
    """One class: how much of it there is, how much was guessed, how well they meet."""

    name: str
    truth_pixels: int
    """Pixels of the class in the truth."""
    guess_pixels: int
    """Pixels given to the class, where the truth is not void."""
    accuracy: float | None
    """Share of the class's pixels that were found; None when the truth has none."""
    iu: float | None
    """Intersection over union; None when the truth has no pixel of the class."""
    reason: str
    """Why a number is None, else empty."""


def scores(counts: npt.ArrayLike) -> Scores:
    """Summarise a confusion count; a class absent from the truth is left out (paper, footnote 10).

    Args:
        counts: (K, K) whole numbers; rows are truth, columns are guesses.

    >>> scores([[1, 0], [1, 1]])  # doctest: +ELLIPSIS
    Scores(pixel_accuracy=0.666..., mean_accuracy=0.75, mean_iu=0.5, frequency_weighted_iu=0.5)
    """
    table = square(counts)
    hits, truth, guess = table.diagonal().astype(float), table.sum(1), table.sum(0)
    total, seen = truth.sum(), truth > 0
    if not total:
        return Scores(math.nan, math.nan, math.nan, math.nan)
    iu = hits[seen] / (truth + guess - hits)[seen]
    return Scores(
        pixel_accuracy=float(hits.sum() / total),
        mean_accuracy=float((hits[seen] / truth[seen]).mean()),
        mean_iu=float(iu.mean()),
        frequency_weighted_iu=float((truth[seen] * iu).sum() / total),
    )


def per_class(counts: npt.ArrayLike, names: Sequence[str]) -> tuple[ClassRow, ...]:
    """One row per class, in class order; what cannot be said is None with the reason beside it.

    Args:
        counts: (K, K) whole numbers; rows are truth, columns are guesses.
        names: K class names.
    """
    table = square(counts)
    if len(names) != len(table):
        raise UsageError("U002", f"{len(names)} class names for {len(table)} classes were given")
    triples = zip(table.diagonal(), table.sum(1), table.sum(0), strict=True)
    return tuple(
        _row(name, int(h), int(t), int(g)) for name, (h, t, g) in zip(names, triples, strict=True)
    )


def square(counts: npt.ArrayLike) -> Counts:
    """``counts`` as a (K, K) int64 array, or ``UsageError``."""
    table = np.asarray(counts)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or table.dtype.kind not in "iu":
        raise UsageError(
            "U002",
            f"a confusion count is a square of whole numbers, not {table.dtype} {table.shape}",
            "make it with `pixelwise.confusion(truth, guess, num_classes)`",
        )
    return table.astype(np.int64, copy=False)


def _row(name: str, hits: int, truth: int, guess: int) -> ClassRow:
    if truth:
        return ClassRow(name, truth, guess, hits / truth, hits / (truth + guess - hits), "")
    guesses = f"predicted on {guess} px" if guess else "never predicted"
    return ClassRow(name, truth, guess, None, None, f"not in this truth; {guesses}")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
