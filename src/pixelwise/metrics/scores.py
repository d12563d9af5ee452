"""The four numbers of the FCN paper and the table of classes, read off a confusion count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pixelwise.errors import UsageError

Numbers = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class Tallies(NamedTuple):
    """What every score needs of confusion counts, each (K,) or (N, K): all else cancels."""

    hits: Numbers
    """Pixels of a class named rightly."""
    truth: Numbers
    """Pixels of a class in the truth."""
    guess: Numbers
    """Pixels given to a class, where the truth is not void."""

    def added(self, axis: int | None = 0) -> Tallies:
        """Over the images (axis 0), over the classes of each image (1), or over both (None)."""
        return Tallies(*(part.sum(axis) for part in self))


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

    @property
    def lead(self) -> float:
        """By which the best weights are known."""
        return self.mean_iu

    @property
    def sentence(self) -> str:
        """The two that are told while training."""
        return (
            f"mean IU {100 * self.mean_iu:.1f} %, pixel accuracy {100 * self.pixel_accuracy:.1f} %"
        )

    def as_dict(self) -> dict[str, float | None]:
        """The four as plain data; None where there was no pixel to count."""
        return {k: value if math.isfinite(value) else None for k, value in vars(self).items()}


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


@dataclass(frozen=True)
class Majority:
    """What giving every pixel to the largest class of the truth would score.

    What is not above it has learned nothing.
    """

    name: str
    """Of the class; the first of several with as much."""
    scores: Scores

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"class": self.name, **self.scores.as_dict()}

    def sentence(self) -> str:
        """What it gets, beside a net's own scores; nothing without a pixel of truth."""
        known = not math.isnan(self.scores.mean_iu)
        own = self.scores.sentence
        return f"the largest class alone ({self.name}) would get {own}" if known else ""


def majority(counts: npt.ArrayLike, names: Sequence[str]) -> Majority:
    """What the largest class alone would get, from the truth in a confusion count.

    Args:
        counts: (K, K) whole numbers; rows are truth, columns are guesses.
        names: K class names.
    """
    truth = tallies(counts).truth
    largest = int(truth.argmax())
    constant = np.zeros((len(truth), len(truth)), np.int64)
    constant[:, largest] = truth
    return Majority(names[largest], scores(constant))


def scores(counts: npt.ArrayLike) -> Scores:
    """Summarise a confusion count; a class absent from the truth is left out (paper, footnote 10).

    Args:
        counts: (K, K) whole numbers; rows are truth, columns are guesses.

    >>> scores([[1, 0], [1, 1]])  # doctest: +ELLIPSIS
    Scores(pixel_accuracy=0.666..., mean_accuracy=0.75, mean_iu=0.5, frequency_weighted_iu=0.5)
    """
    return scores_of(tallies(counts))


def scores_of(tally: Tallies) -> Scores:
    """The four numbers of (K,) tallies."""
    seen = tally.truth > 0
    hits, truth, ius = tally.hits[seen], tally.truth[seen], iu(tally)[seen]
    total = truth.sum()
    if not total:
        return Scores(math.nan, math.nan, math.nan, math.nan)
    return Scores(
        pixel_accuracy=float(hits.sum() / total),
        mean_accuracy=float((hits / truth).mean()),
        mean_iu=float(ius.mean()),
        frequency_weighted_iu=float((truth * ius).sum() / total),
    )


def kappa(counts: npt.ArrayLike) -> float:
    """Agreement beyond chance (Cohen, 1960): (observed - expected) / (1 - expected).

    ``counts`` are (K, K), rows truth; NaN without a pixel, or where one class is all of both.
    """
    tally = tallies(counts)
    total = float(tally.truth.sum())
    chance = float(tally.truth.astype(float) @ tally.guess) / max(total, 1.0)
    return (float(tally.hits.sum()) - chance) / (total - chance) if total > chance else math.nan


def per_class(counts: npt.ArrayLike, names: Sequence[str]) -> tuple[ClassRow, ...]:
    """One row per class, in class order; what cannot be said is None with the reason beside it.

    Args:
        counts: (K, K) whole numbers; rows are truth, columns are guesses.
        names: K class names.
    """
    tally = tallies(counts)
    if len(names) != len(tally.truth):
        message = f"{len(names)} class names for {len(tally.truth)} classes were given"
        raise UsageError("U002", message)
    return tuple(_row(name, *map(int, sums)) for name, *sums in zip(names, *tally, strict=True))


def tallies(counts: npt.ArrayLike, *, per_image: bool = False) -> Tallies:
    """Hits, truth and guess as int64.

    Args:
        counts: (K, K) whole numbers, rows are truth; (N, K, K) if ``per_image``.

    Raises:
        UsageError: the counts are of another shape or type (U002).
    """
    table = np.asarray(counts)
    if per_image:
        what, hint = "counts per image are (N, K, K)", "for one count of a whole set: counts[None]"
    else:
        what = "a confusion count is a square of"
        hint = "make it with `pixelwise.confusion(truth, guess, num_classes)`"
    square = table.ndim == 2 + per_image and table.shape[-1] == table.shape[-2]
    if not square or table.dtype.kind not in "iu":
        message = f"{what} whole numbers, not {table.dtype} {table.shape}"
        raise UsageError("U002", message, hint)
    hits = np.diagonal(table, axis1=-2, axis2=-1).astype(np.int64)
    return Tallies(hits, table.sum(-1, dtype=np.int64), table.sum(-2, dtype=np.int64))


def share(part: npt.ArrayLike, whole: npt.ArrayLike, nothing: float = math.nan) -> Floats:
    """``part / whole``; ``nothing`` stands for 0/0."""
    whole = np.asarray(whole)
    quotient: Floats = np.divide(part, whole, out=np.full(whole.shape, nothing), where=whole > 0)
    return quotient


def iu(tally: Tallies, nothing: float = math.nan) -> Floats:
    """Intersection over union; ``nothing`` for a class that is neither there nor predicted."""
    return share(tally.hits, tally.truth + tally.guess - tally.hits, nothing)


def mean_iu(tally: Tallies) -> Floats:
    """(N,) mean IU of each row of (N, K) over the classes in its own truth; NaN if all is void."""
    seen = tally.truth > 0
    return share(np.where(seen, iu(tally, 0.0), 0.0).sum(1), seen.sum(1))


def _row(name: str, hits: int, truth: int, guess: int) -> ClassRow:
    if truth:
        return ClassRow(name, truth, guess, hits / truth, hits / (truth + guess - hits), "")
    guesses = f"predicted on {guess} px" if guess else "never predicted"
    return ClassRow(name, truth, guess, None, None, f"not in this truth; {guesses}")
