"""Which parameters suit a net: a coordinate search that is asked for what to try next."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from pixelwise.crf.parameters import PRESETS, DenseCrf

NAMES = ("appearance_rgb", "appearance", "appearance_xy", "smoothness", "smoothness_xy")
FACTORS = (2.0, 2.0**0.5)  # on a parameter; below that, scores of 20 pictures differ by chance
LEAST, MOST = 0.1, 1e4  # within what ``DenseCrf`` takes
# Beside the presets one that only mends what is small; it was the best of eight on CamVid.
STARTS = (*PRESETS.values(), DenseCrf(2.0, 20.0, 8.0, 1.0, 1.0))


def coordinate_search(
    starts: Sequence[DenseCrf] = STARTS, factors: Sequence[float] = FACTORS
) -> Generator[DenseCrf, float, DenseCrf]:
    """Gives what to try, is sent its score, and returns the best when no step makes it better.

    Of the starts the best is taken; then each parameter is multiplied and divided by the first
    factor as long as that helps, until no step helps; then by the next factor. The same scores
    lead along the same way.
    """
    scores = dict[DenseCrf, float]()
    for start in starts:
        scores[start] = yield start
    best = max(starts, key=scores.__getitem__)  # the first of equals
    for factor in factors:
        stuck = 0
        while stuck < len(NAMES):
            for name in NAMES:
                before = best
                for way in (factor, 1 / factor):
                    while (trial := moved(best, name, way)) != best:
                        if trial not in scores:
                            scores[trial] = yield trial
                        if scores[trial] <= scores[best]:
                            break
                        best = trial
                stuck = stuck + 1 if best == before else 0
                if stuck == len(NAMES):
                    break
    return best


def moved(crf: DenseCrf, name: str, factor: float) -> DenseCrf:
    """With one parameter times ``factor``, to three digits, within its range."""
    value = float(f"{getattr(crf, name) * factor:.3g}")
    changes: dict[str, Any] = {name: min(max(value, LEAST), MOST)} if value else {}
    return replace(crf, **changes)
