"""How sure a net is, and how often it is right (Guo et al., On Calibration, ICML 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of the calibration error, as Guo et al. have them
STEPS = 20  # thresholds of the risk over coverage: 0, 0.05, ...
FINE = BINS * STEPS  # both are made of whole ones


@dataclass(frozen=True, eq=False)
class Confidence:
    """Pixels by the probability of the class that they were given."""

    table: NDArray[np.float64]
    """(3, FINE): how many, the sum of their probabilities, how many are right; of the probabilities
    from i / FINE to (i + 1) / FINE."""

    def __add__(self, other: Confidence) -> Confidence:
        return Confidence(self.table + other.table)

    @property
    def error(self) -> float:
        """Expected calibration error: mean of |accuracy - probability| over pixels, by bin."""
        count, sums, right = self.table.reshape(3, BINS, -1).sum(2)
        return float(np.abs(right - sums).sum() / max(count.sum(), 1))

    def as_dict(self) -> dict[str, Any]:
        """The error, the reliability diagram, and what a threshold leaves (risk over coverage)."""
        count, sums, right = (x.tolist() for x in self.table.reshape(3, BINS, -1).sum(2))
        kept, _, hits = self.table.reshape(3, STEPS, -1).sum(2)[:, ::-1].cumsum(1)[:, ::-1].tolist()
        reliability = [
            {"probability": p / n, "accuracy": r / n, "pixels": int(n)}
            for n, p, r in zip(count, sums, right, strict=True)
            if n
        ]
        risk = [
            {"threshold": i / STEPS, "coverage": n / kept[0], "accuracy": r / n}
            for i, (n, r) in enumerate(zip(kept, hits, strict=True))
            if n
        ]
        return {"calibration_error": self.error, "reliability": reliability, "risk_coverage": risk}


def confidence(probability: NDArray[Any], right: NDArray[np.bool_]) -> Confidence:
    """Of pixels (n,): the probabilities of their classes, and whether these are the true ones."""
    cells = np.clip(probability * FINE, 0, FINE - 1).astype(np.intp)
    rows = [np.bincount(cells, x, FINE) for x in (None, probability, right)]
    return Confidence(np.array(rows, np.float64))


def temperature(scores: NDArray[Any], truth: NDArray[Any]) -> float:
    """What to divide scores (n, K) by, so that the true classes (n,) are likeliest.

    The likelihood is convex in 1 / T: Newton's steps, halved until it grows, within 0.01 to 100.
    """
    scores = np.asarray(scores, np.float64) - np.max(scores, 1, keepdims=True)
    own, factor = np.take_along_axis(scores, truth[:, None].astype(np.intp), 1)[:, 0], 1.0

    def loss(factor: float) -> tuple[float, float, float]:
        """Mean, first and second derivative."""
        powers = np.exp(factor * scores)
        total = powers.sum(1)
        mean, square = ((powers * scores**n).sum(1) / total for n in (1, 2))
        values = (np.log(total) - factor * own, mean - own, square - mean**2)
        return tuple(float(x.mean()) for x in values)  # type: ignore[return-value]

    for _ in range(50):  # a handful suffices
        value, slope, curvature = loss(factor)
        step = slope / max(curvature, 1e-12)
        while (best := min(max(factor - step, 0.01), 100.0)) != factor and loss(best)[0] > value:
            step /= 2
        if abs(best - factor) < 1e-6:
            break
        factor = best
    return 1 / factor
