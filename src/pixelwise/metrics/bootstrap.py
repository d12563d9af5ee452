"""How far a score would move with other images of the same kind: percentile bootstrap."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pixelwise.errors import UsageError, unknown_name
from pixelwise.metrics.scores import Floats, Tallies, mean_iu, share, tallies

Statistic = Callable[[Tallies], Floats]
"""(D, K) tallies of D redrawn sets to (D,) scores, NaN without a pixel."""

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
    tally = tallies(per_image, per_image=True)
    values = _redrawn(tally, _STATISTICS[statistic], draws, np.random.default_rng(seed))
    values = values[np.isfinite(values)]  # a draw of images that are void all over has no score
    if not values.size:
        raise UsageError("U002", "no image has a pixel that counts, so there is no interval")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level)


def _redrawn(tally: Tallies, statistic: Statistic, draws: int, rng: np.random.Generator) -> Floats:
    """The statistic of each draw; a draw is a weight per image, so it is one matrix product."""
    n = len(tally.hits)
    if not n:
        return np.empty(0)
    sums = np.concatenate(tally, axis=1).astype(np.float64)
    step = max(1, _BLOCK // n)
    values = []
    for start in range(0, draws, step):
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(step, draws - start))
        redrawn = np.split(weights.astype(np.float64) @ sums, 3, axis=1)
        values.append(statistic(Tallies(*redrawn)))
    return np.concatenate(values)


_STATISTICS: dict[str, Statistic] = {
    "mean_iu": mean_iu,
    "pixel_accuracy": lambda tally: share(tally.hits.sum(1), tally.truth.sum(1)),
}
