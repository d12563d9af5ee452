"""The fully connected CRF as a function: what is believed of pixels, corrected by the picture.

Kraehenbuehl, Koltun: Efficient Inference in Fully Connected CRFs (2011), with their code's
normalisation: D^-1/2 K D^-1/2, with D the sums of rows, and a pixel among its own neighbours.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pixelwise.crf.parameters import DenseCrf
from pixelwise.crf.sweeps import Floats
from pixelwise.errors import DataError, NumericalError, UsageError, first_few, hxw
from pixelwise.labels import VOID
from pixelwise.machine.memory import failed_allocations

LEAST = 1e-5  # of probabilities, as in pydensecrf: a zero could never be undone


def refine(
    scores: ArrayLike,
    image: ArrayLike,
    crf: DenseCrf | None = None,
    *,
    compatibility: ArrayLike | None = None,
) -> Floats:
    """The marginals of the CRF, (K, H, W) float32 probabilities; on as many threads as torch has.

    Args:
        scores: (K, H, W), probabilities (0 to 1, of sum 1) or else scores before softmax.
        image: (H, W, B) or (H, W), the picture in the units of ``crf.appearance_rgb``.
        crf: the kernels' parameters and the quality; by default the original ones.
        compatibility: (K, K), what two labels cost beside each other (mu; symmetric); else Potts.

    Raises:
        DataError: D013 sizes differ, D018 another number of axes, D015 a picture of no numbers.
        NumericalError: N003 scores that are not finite.
        UsageError: U002 a compatibility of another shape.
        ResourceError: R003 not enough memory.
    """
    from pixelwise.crf.mean_field import mean_field  # numba costs half a second

    given, picture, soft = checked(scores, image)
    costs = None if compatibility is None else np.asarray(compatibility, np.float32)
    if costs is not None and costs.shape != (len(given),) * 2:
        what = f"the compatibility has shape {costs.shape}, expected {(len(given),) * 2}"
        raise UsageError("U002", what, "1 - np.eye(K) is Potts")
    rewards = None if costs is None else -(costs + costs.T) / np.float32(2)
    with failed_allocations("a smaller picture"):
        return mean_field(given, picture, crf or DenseCrf(), rewards, soft=soft)


def checked(scores: ArrayLike, image: ArrayLike) -> tuple[Floats, NDArray[Any], bool]:
    """Scores, the picture (H, W, B), and whether the scores are probabilities; or as ``refine``."""
    given, picture = np.asarray(scores, np.float32), np.asarray(image)
    if given.ndim != 3 or picture.ndim not in (2, 3) or 0 in given.shape + picture.shape:
        shapes = f"scores have shape {given.shape} and the picture {picture.shape}"
        raise DataError("D018", f"{shapes}, expected (K, H, W) and (H, W, B)")
    if given.shape[1:] != picture.shape[:2]:
        sizes = f"scores are {hxw(given.shape[1:])} but the picture is {hxw(picture.shape)} (HxW)"
        raise DataError("D013", f"{sizes}, expected one size")
    if strange := int(np.count_nonzero(~np.isfinite(given))):
        raise NumericalError("N003", f"{strange:,} of the scores are not finite, expected none")
    if picture.dtype.kind not in "uif" or not np.isfinite(picture).all():
        raise DataError("D015", f"the picture is of {picture.dtype}, expected finite numbers")
    # Of float16, sums of many classes miss 1 by a hundredth.
    soft = given.min() >= 0 and np.abs(given.sum(0) - 1).max() < 0.02
    return given, np.atleast_3d(picture), bool(soft)


def believed(labels: NDArray[Any], classes: int, confidence: float = 0.7) -> Floats:
    """Probabilities (K, H, W) of a label map (H, W) with ``confidence``; of void all are alike.

    Raises:
        UsageError: U002 a confidence that is none.
        DataError: D012 a value that names no class.
    """
    if classes < 2 or not 1 / classes < confidence < 1:
        expected = f"expected more than 1/{classes} and less than 1"
        raise UsageError("U002", f"confidence {confidence} of {classes} classes, {expected}")
    void = (labels == VOID) & (labels.dtype == np.uint8)
    if strange := np.unique(labels[~void & ((labels < 0) | (labels >= classes))]).tolist():
        listed = f"values that name no class: {first_few([*map(str, strange)])}"
        what = f"the label map has {listed} (expected 0..{classes - 1}, or {VOID} for void)"
        raise DataError("D012", what, f"--classes {max(strange) + 1}")
    beliefs = np.full((classes, *labels.shape), (1 - confidence) / (classes - 1), np.float32)
    np.put_along_axis(beliefs, np.where(void, 0, labels)[None].astype(np.intp), confidence, 0)
    beliefs[:, void] = 1 / classes
    return beliefs
