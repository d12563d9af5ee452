"""How far a score would move with other images of the same kind: percentile bootstrap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


@dataclass(frozen=True)
class Difference:
    """By how much the first of two systems is better on the same images."""

    value: float
    """First minus second, over all images."""
    low: float
    high: float
    """Between ``low`` and ``high`` lies the difference on ``level`` of all redrawn sets."""
    first_better: float
    """Share of the redrawn sets on which the first is better; a tie counts as a half."""
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
    rule = _rule(statistic, draws, level)
    tally = tallies(per_image, per_image=True)
    values = _redrawn(tally, rule, draws, np.random.default_rng(seed))
    return Interval(*_ends(values, level), level)


def paired(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    statistic: str = "mean_iu",
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """Percentile bootstrap of the difference of two systems that labelled the same images.

    Both are scored on the same redrawn sets, so that what makes an image hard for both drops out:
    the interval is narrower than those of the two scores suggest. Counts are of the same images in
    the same order; arguments are those of ``bootstrap``.

    Raises:
        UsageError: U002 the truths differ, so these are not the same images.
    """
    one, other = (tallies(counts, per_image=True) for counts in (first, second))
    return paired_runs([one], [other], statistic=statistic, draws=draws, seed=seed, level=level)


def paired_runs(
    first: Sequence[Tallies],
    second: Sequence[Tallies],
    *,
    statistic: str = "mean_iu",
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Difference:
    """As ``paired``, of two systems that were each trained several times: runs are drawn as well.

    A draw takes as many pairs of runs as there are, with replacement, and one set of images that
    all of them are scored on. Of three runs the interval hardly says more than from the worst to
    the best of them; of one run it knows nothing of what another would bring.

    Args:
        first: of each run (N, K) tallies of the same images; the runs are paired in their order.
        second: likewise, as many.
        statistic, draws, seed, level: as of ``bootstrap``.

    Raises:
        UsageError: U002 the truths differ, or the numbers of runs.
    """
    rule = _rule(statistic, draws, level)
    truth = first[0].truth
    same = all(t.truth.shape == truth.shape and (t.truth == truth).all() for t in (*first, *second))
    if len(first) != len(second) or not same:
        message = "two systems were counted against different truths, expected the same images"
        raise UsageError("U002", message, "score both on one split of one data set")
    apart = np.stack(
        [
            _redrawn(one, rule, draws, np.random.default_rng(seed))
            - _redrawn(other, rule, draws, np.random.default_rng(seed))
            for one, other in zip(first, second, strict=True)
        ]
    )
    if len(first) > 1:
        chosen = np.random.default_rng([seed, 1]).integers(len(first), size=(len(first), draws))
        apart = np.take_along_axis(apart, chosen, axis=0)
    apart = apart.mean(0)
    low, high = _ends(apart, level)
    known = apart[np.isfinite(apart)]
    better = float((np.sign(known) / 2 + 0.5).mean())
    whole = [
        np.mean([rule(Tallies(*(part.sum(0)[None] for part in t))) for t in runs])
        for runs in (first, second)
    ]
    return Difference(float(whole[0] - whole[1]), low, high, better, level)


def _rule(statistic: str, draws: int, level: float) -> Statistic:
    if statistic not in _STATISTICS:
        raise unknown_name("bootstrap statistic", statistic, list(_STATISTICS))
    if draws < 1 or not 0 < level < 1:
        message = f"{draws} draws at level {level} make no interval (expected 1 or more, 0 to 1)"
        raise UsageError("U002", message)
    return _STATISTICS[statistic]


def _ends(values: Floats, level: float) -> tuple[float, float]:
    """The ends of the interval; a draw of images that are void all over has no score."""
    known = values[np.isfinite(values)]
    if not known.size:
        raise UsageError("U002", "no image has a pixel that counts, so there is no interval")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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
