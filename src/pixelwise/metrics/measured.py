"""How well numbers and edges are met: sums over pictures, and what is read off them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.nets.kinds import EDGES

Floats = NDArray[np.float64]
NEAR = 1.25  # of a ratio, and its second and third power (Eigen et al. 2014, table 1: delta)
TOLERANCE = 0.0075  # of the diagonal: how far off an edge may be found (Martin et al. 2004)
LEVELS = 256  # thresholds that a picture of 8 bits tells apart


@dataclass(frozen=True)
class Measures:
    """What is said of a head of numbers or edges."""

    values: Mapping[str, float]
    lead: float  # the greater the better
    sentence: str
    beside: str  # what a guess that has learned nothing would get

    def as_dict(self) -> dict[str, float | None]:
        """Plain data; None for what cannot be said."""
        return {k: v if math.isfinite(v) else None for k, v in self.values.items()}


def number_sums(truth: NDArray[Any], guess: NDArray[Any]) -> Floats:
    """Sums over the known values of (H, W, P) float32; NaN in the truth is void."""
    known = np.isfinite(truth)
    y, x = truth[known].astype(np.float64), guess[known].astype(np.float64)
    off, above = np.abs(x - y), y > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(x > 0, np.maximum(x / y, y / x), np.inf)[above]
    relative, logs = off[above] / y[above], np.log(ratio)
    near = [(ratio < NEAR**power).sum() for power in (1, 2, 3)]
    sums = y.size, y.sum(), (y**2).sum(), (off**2).sum(), off.sum(), above.sum()
    return np.array([*sums, relative.sum(), (relative * off[above]).sum(), (logs**2).sum(), *near])


def number_measures(sums: Floats) -> Measures:
    """As Eigen et al. 2014, table 1, and the variance explained; NaN for what cannot be said.

    What is relative to the truth is over its values above 0; rmse_log wants guesses above 0 too.
    """
    count, total, squares, error, off, above, relative, weighted, logs, *near = sums.tolist()
    n, m = count or math.nan, above or math.nan
    variance = max(squares / n - (total / n) ** 2, 0.0)
    explained = 1 - error / n / variance if variance else math.nan
    values = {"rmse": math.sqrt(error / n), "mean_error": off / n}
    values |= {"absolute_relative": relative / m, "squared_relative": weighted / m}
    values |= {"rmse_log": math.sqrt(logs / m), "explained": explained}
    values |= {f"delta_{power}": count / m for power, count in enumerate(near, start=1)}
    text = f"RMSE {values['rmse']:.4g}, {100 * explained:.1f} % of the variance"
    text += f", {100 * values['delta_1']:.1f} % within {NEAR} times" if above else ""
    alone = f"the mean alone would get RMSE {math.sqrt(variance):.4g}"
    # In the same order above -1, with which runs begin.
    lead = explained if explained >= 0 else explained / (1 - explained)
    return Measures(values, lead, text, alone)


def edge_sums(truth: NDArray[Any], guess: NDArray[Any]) -> Floats:
    """(3 * LEVELS,) pixels by probability: of guesses, of guesses near an edge, near each edge.

    Near is within ``TOLERANCE`` along rows and columns, at least a pixel: both maps are dilated. No
    pair is one to one, and guesses are not thinned: F is more than Martin et al. would give.
    """
    known, edge = np.isfinite(truth[..., 0]), truth[..., 0] > 0
    level = np.where(known, guess[..., 0] * (LEVELS - 1), 0).round().astype(np.uint8)
    reach = max(1, round(TOLERANCE * math.hypot(*known.shape)))
    counted = level[known], level[known & dilated(edge, reach)], dilated(level, reach)[edge]
    return np.concatenate([np.bincount(part, minlength=LEVELS) for part in counted]).astype(float)


def dilated(values: NDArray[Any], reach: int) -> NDArray[Any]:
    """(H, W): the highest within ``reach`` pixels along rows and columns."""
    for _ in range(2):  # along the other axis of the transpose the second time
        padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
        values = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, 0).max(-1).T
    return values


def edge_measures(sums: Floats) -> Measures:
    """Precision and recall where F is best, by one threshold for all pictures (ODS)."""
    guessed, near, found = sums.reshape(3, LEVELS)[:, ::-1].cumsum(1)[:, ::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = near / guessed, found / found[0]
        f = np.nan_to_num(2 * precision * recall / (precision + recall))
    best = int(f[1:].argmax()) + 1  # at 0 every pixel is an edge
    rows = {"f": f, "precision": precision, "recall": recall}
    values = {name: float(row[best]) for name, row in rows.items()}
    text = "F {f:.3f} (precision {precision:.3f}, recall {recall:.3f})".format(**values)
    values |= {"threshold": best / (LEVELS - 1), "f_everywhere": float(f[0])}
    return Measures(values, values["f"], text, f"edges everywhere would get F {f[0]:.3f}")


SUMS: dict[str, Callable[[NDArray[Any], NDArray[Any]], Floats]]
SUMS = {"numbers": number_sums, EDGES: edge_sums}
SIZES = {"numbers": 12, EDGES: 3 * LEVELS}
MEASURES: dict[str, Callable[[Floats], Measures]]
MEASURES = {"numbers": number_measures, EDGES: edge_measures}
