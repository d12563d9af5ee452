"""One count of pixels by (true class, predicted class); every score is read off it.

The fcn reference does the same with ``fast_hist`` (score.py): counts are added over the whole set,
never averaged over images. Here a guess that names no class is an error, not a dropped pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from pixelwise.errors import DataError, UsageError
from pixelwise.labels import VOID

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]

_CHUNK = 2**30  # pixels per compiled call: its tables are 32-bit


def confusion(truth: npt.ArrayLike, guess: npt.ArrayLike, num_classes: int) -> Counts:
    """Count pixels by (true class, predicted class).

    Args:
        truth: label map of any shape and integer type; 255 is void and is not counted. Strided and
            read-only arrays are fine; uint8 is the fast path.
        guess: label map of the same shape; 0..K-1 where the truth is not void, anything elsewhere.
        num_classes: K.

    Returns:
        (K, K) int64; rows are truth, columns are guesses.

    Raises:
        DataError: shapes differ (D013), or a counted pixel names no class (D012).

    >>> confusion([[0, 1], [1, 255]], [[0, 1], [0, 9]], 2)
    array([[1, 0],
           [1, 1]])
    """
    if num_classes < 1:
        raise UsageError("U002", f"{num_classes} classes cannot be counted (expected 1 or more)")
    truth, guess = _label_map(truth, "truth"), _label_map(guess, "guess")
    if truth.shape != guess.shape:
        raise DataError(
            "D013",
            f"truth is {_size(truth)} but guess is {_size(guess)} (expected one size)",
            "resize the guess with nearest neighbour, or score the maps they were made for",
        )
    truth, guess = truth.reshape(-1), guess.reshape(-1)
    if num_classes <= VOID and truth.dtype == guess.dtype == np.uint8:
        return _count_bytes(truth, guess, num_classes)
    return _count_any(truth, guess, num_classes)


def _count_bytes(truth: Labels, guess: Labels, num_classes: int) -> Counts:
    """The compiled way; both (P,) uint8."""
    counts = np.zeros((num_classes + 1, 256), np.int64)
    for start in range(0, truth.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        counts += _kernel()(
            np.ascontiguousarray(truth[part]), np.ascontiguousarray(guess[part]), num_classes
        )
    named = np.ascontiguousarray(counts[:num_classes, :num_classes])
    complete = named.sum() == counts[:num_classes].sum()
    # Row K mixes void with values that name no class; counting 255 tells them apart.
    if not complete or (num_classes < VOID and counts[-1].sum() != np.count_nonzero(truth == VOID)):
        _refuse(truth, guess, num_classes)
    return named


def _count_any(truth: Labels, guess: Labels, num_classes: int) -> Counts:
    """The plain way for wider integers and for more than 255 classes; both (P,)."""
    counted = truth != VOID
    rows, columns = truth[counted], guess[counted]
    if _strange(rows, num_classes).any() or _strange(columns, num_classes).any():
        _refuse(truth, guess, num_classes)
    pairs = rows.astype(np.int64) * num_classes + columns.astype(np.int64)
    counts = np.bincount(pairs, minlength=num_classes**2)
    return counts.astype(np.int64).reshape(num_classes, num_classes)


@cache
def _kernel() -> Callable[[Labels, Labels, int], Counts]:
    """``count_pairs`` compiled; numba is imported on first use and keeps its result on disk."""
    from numba import njit

    from pixelwise.metrics.counting import count_pairs

    try:
        return njit(nogil=True, cache=True)(count_pairs)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return njit(nogil=True)(count_pairs)  # type: ignore[no-any-return]


def _label_map(values: npt.ArrayLike, role: str) -> Labels:
    array = np.asarray(values)
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if array.dtype.kind not in "iu":
        hint = "take the argmax over classes first, or read the map with `pixelwise.pictures`"
        raise DataError("D012", f"{role} holds {array.dtype} (expected whole numbers)", hint)
    return array


def _strange(values: Labels, num_classes: int) -> npt.NDArray[np.bool_]:
    strange: npt.NDArray[np.bool_] = (values < 0) | (values >= num_classes) | (values == VOID)
    return strange


def strange_values(values: Labels, num_classes: int) -> str:
    """Values that name no class, the commonest first, as `9 on 3 px, 7 on 2 px`; empty if none.

    Args:
        values: whole numbers at counted pixels.
        num_classes: K; 255 names no class whatever K is.
    """
    strange, pixels = np.unique(values[_strange(values, num_classes)], return_counts=True)
    order = np.argsort(-pixels, kind="stable")[:5]
    listed = ", ".join(f"{strange[i]} on {pixels[i]} px" for i in order)
    return listed + (f" and {strange.size - 5} more values" if strange.size > 5 else "")


def _refuse(truth: Labels, guess: Labels, num_classes: int) -> None:
    """Raise D012 about the values on counted pixels that name no class."""
    counted, classes = truth != VOID, f"expected 0..{num_classes - 1}"
    if listed := strange_values(truth[counted], num_classes):
        message = f"the truth has values that name no class: {listed} ({classes}, or {VOID})"
        hint = "map the raw values to classes first; `pixelwise data inspect` shows them"
        raise DataError("D012", message, hint)
    if listed := strange_values(guess[counted], num_classes):
        message = f"the guess has values that name no class: {listed} ({classes})"
        hint = f"void ({VOID}) is no class to predict; check the number of classes"
        raise DataError("D012", message, hint)
    raise AssertionError("counts are incomplete although every value names a class")


def _size(array: Labels) -> str:
    return "x".join(str(n) for n in array.shape) or "one value"
