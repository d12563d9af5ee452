"""How well edges are met: boundary IU, and mean IU in bands around the edges of the truth.

Mean IU hides them: most pixels of a picture lie far from any edge. Boundary IU (Cheng et al., CVPR
2021) compares the rims of what is named, of a width that grows with the picture. The bands
("trimaps", Kohli et al., IJCV 2009, as the papers of the dense CRF plot them) keep the pixels whose
distance to another label of the truth is at most so many pixels. Distances are Chebyshev's: those
of a square window that grows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.errors import DataError
from pixelwise.labels import VOID
from pixelwise.metrics.confusion import compiled, strange_values
from pixelwise.metrics.scores import mean_iu, tallies

WIDTHS = (1, 2, 5, 10, 20)
"""Of the bands, in pixels, as far as such plots go (Krähenbühl and Koltun, 2011)."""
SHARE = 0.02
"""Width of a rim by the picture's diagonal (Cheng et al.): 12 pixels of 375x500."""


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Counts near edges, over one picture or many."""

    rims: NDArray[np.int64]
    """(K, 3): pixels of each class's rim in both maps, in the truth, in the guess."""
    bands: NDArray[np.int64]
    """(W, K, K): confusion counts within each of ``WIDTHS``; rows truth, columns guess."""

    def __add__(self, other: Boundaries) -> Boundaries:
        return Boundaries(self.rims + other.rims, self.bands + other.bands)

    @property
    def per_class(self) -> NDArray[np.float64]:
        """(K,) boundary IU; NaN of a class that has no rim in the truth."""
        both, truth, guess = self.rims.T.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(truth > 0, both / (truth + guess - both), np.nan)

    @property
    def boundary_iu(self) -> float:
        """Mean over the classes of the truth; NaN without one."""
        values = self.per_class
        return float(np.nanmean(values)) if np.isfinite(values).any() else math.nan

    @property
    def trimap_iu(self) -> dict[int, float]:
        """Mean IU by the paper's rule within each width of band; NaN where there is no edge."""
        means = mean_iu(tallies(self.bands, per_image=True))
        return dict(zip(WIDTHS, map(float, means), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON; None for what cannot be said."""
        known = {w: v if math.isfinite(v) else None for w, v in self.trimap_iu.items()}
        mean = self.boundary_iu if math.isfinite(self.boundary_iu) else None
        return {"boundary_iu": mean, "trimap_iu": {str(w): v for w, v in known.items()}}


def boundaries(
    truth: NDArray[Any], guess: NDArray[Any], num_classes: int, *, lossy: bool = False
) -> Boundaries:
    """Count near the edges of one picture.

    Args:
        truth: (H, W) class ids, 255 void; void is not counted, and the rim of what it touches
            begins there, in both maps.
        guess: (H, W) class ids where the truth is not void.
        num_classes: K.
        lossy: the guess may hold void, which counts as a label that no truth has.

    Raises:
        DataError: D012 a counted pixel names no class.
    """
    named = truth != VOID
    if not lossy and (
        listed := strange_values(np.stack([truth[named], guess[named]]), num_classes)
    ):
        what = f"values that name no class: {listed} (expected 0..{num_classes - 1})"
        raise DataError("D012", what, "map the raw values to classes first")
    wide = np.promote_types(truth.dtype, guess.dtype)
    seen = np.where(named, guess, truth).astype(wide)
    rim = max(1, round(SHARE * math.hypot(*truth.shape)))
    far = compiled(distances)(np.ascontiguousarray(truth))
    near = compiled(distances)(np.ascontiguousarray(seen))
    sizes = np.array(WIDTHS, np.int64)
    rims, bands = compiled(_counted)(truth, seen, far, near, rim, sizes, num_classes)
    return Boundaries(rims, bands.cumsum(0))


def distances(labels: Any) -> Any:
    """(H, W) int32 to the nearest pixel of another label: 1 beside one, 2**30 if there is none.

    Two passes: a pixel further in is one further than the nearest of its eight neighbours.
    """
    height, width = labels.shape
    far = np.full((height + 2, width + 2), 1 << 30, np.int32)
    for y in range(height):
        for x in range(width):
            for v, u in ((y, x + 1), (y + 1, x - 1), (y + 1, x), (y + 1, x + 1)):
                if v < height and 0 <= u < width and labels[v, u] != labels[y, x]:
                    far[y + 1, x + 1] = far[v + 1, u + 1] = 1
    for y in range(1, height + 1):
        for x in range(1, width + 1):
            above = min(far[y - 1, x - 1], far[y - 1, x], far[y - 1, x + 1], far[y, x - 1])
            far[y, x] = min(far[y, x], above + 1)
    for y in range(height, 0, -1):
        for x in range(width, 0, -1):
            below = min(far[y + 1, x - 1], far[y + 1, x], far[y + 1, x + 1], far[y, x + 1])
            far[y, x] = min(far[y, x], below + 1)
    return np.minimum(far[1 : height + 1, 1 : width + 1], 1 << 30)


def _counted(
    truth: Any, guess: Any, far: Any, near: Any, rim: int, widths: Any, num_classes: int
) -> Any:
    """Rims (K, 3), and confusion counts (W, K, K) of what each width adds to the one before."""
    height, width = truth.shape
    rims = np.zeros((num_classes, 3), np.int64)
    bands = np.zeros((widths.size, num_classes, num_classes), np.int64)
    for y in range(height):
        for x in range(width):
            of, said = truth[y, x], guess[y, x]
            if of == VOID:
                continue
            edge = min(y + 1, x + 1, height - y, width - x)  # beyond a picture there is no class
            outer = min(far[y, x], edge) <= rim
            inner = min(near[y, x], edge) <= rim
            rims[of, 1] += outer
            rims[said, 2] += inner
            rims[of, 0] += outer and inner and of == said
            for i in range(widths.size):
                if far[y, x] <= widths[i]:
                    bands[i, of, said] += 1
                    break
    return rims, bands
