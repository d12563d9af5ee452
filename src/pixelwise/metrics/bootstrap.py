"""How far a score would move with other images of the same kind: percentile bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.errors import UsageError, unknown_name
from pixelwise.metrics.protocols import Tallies, tallies

Floats = npt.NDArray[np.float64]

_BLOCK = 2**22  # weights drawn at once: 32 MB however many images there are


@dataclass(frozen=True)
class Interval:
    """From ``low`` to ``high`` lies the score of ``level`` of all redrawn sets of images."""

    low: float
    high: float
    level: float = 0.95


def bootstrap(
    per_image: npt.ArrayLike,
    *,
    statistic: str = "mean_iu",
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap over images (Efron 1979): images are drawn with replacement.

    Images, not pixels, are drawn, because the pixels of one image are not independent. What it
    cannot know: neighbouring frames of a video are not independent either; the interval is then
    too narrow.

    Args:
        per_image: (N, K, K) whole numbers, one confusion count per image.
        statistic: ``mean_iu`` (classes absent from a draw's truth are left out) or
            ``pixel_accuracy``.
        draws: how many sets of N images are drawn.
        seed: same seed, same interval.
        level: share of the draws inside the interval.
    """
    if statistic not in _STATISTICS:
        raise unknown_name("bootstrap statistic", statistic, list(_STATISTICS))
    if draws < 1 or not 0 < level < 1:
        message = f"{draws} draws at level {level} make no interval (expected 1 or more, 0 to 1)"
        raise UsageError("U002", message)
    tally = tallies(per_image)
    values = _redrawn(tally, _STATISTICS[statistic], draws, np.random.default_rng(seed))
    values = values[np.isfinite(values)]  # a draw of images that are void all over has no score
    if not values.size:
        raise UsageError("U002", "no image has a pixel that counts, so there is no interval")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def _redrawn(
    tally: Tallies,
    statistic: Callable[[Floats, Floats, Floats], Floats],
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """The statistic of each draw; a draw is a weight per image, so it is one matrix product."""
    n, k = tally.hits.shape
    if not n:
        return np.empty(0)
    sums = np.concatenate([tally.hits, tally.truth, tally.guess], axis=1).astype(np.float64)
    values = []
    for start in range(0, draws, max(1, _BLOCK // n)):
        block = min(max(1, _BLOCK // n), draws - start)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=block).astype(np.float64)
        hits, truth, guess = np.split(weights @ sums, [k, 2 * k], axis=1)
        values.append(statistic(hits, truth, guess))
    return np.concatenate(values)


def _mean_iu(hits: Floats, truth: Floats, guess: Floats) -> Floats:
    """(D, K) sums to (D,) scores by the paper's rule."""
    seen = truth > 0
    iu = np.divide(hits, truth + guess - hits, out=np.zeros_like(hits), where=seen)
    return _share(iu.sum(1), seen.sum(1))


def _pixel_accuracy(hits: Floats, truth: Floats, guess: Floats) -> Floats:  # noqa: ARG001
    return _share(hits.sum(1), truth.sum(1))


def _share(part: Floats, whole: npt.NDArray[Any]) -> Floats:
    """``part / whole``; NaN for 0/0."""
    share: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share


_STATISTICS = {"mean_iu": _mean_iu, "pixel_accuracy": _pixel_accuracy}
