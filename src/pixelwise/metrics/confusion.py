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

from pixelwise.errors import DataError, UsageError, first_few
from pixelwise.labels import VOID

Counts = npt.NDArray[np.int64]
Labels = npt.NDArray[Any]

_CHUNK = 2**30  # pixels per compiled call: its tables are 32-bit
TABLES = 4  # neighbours are mostly equal; separate tables keep one count from waiting for the last


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
        message = f"truth is {_size(truth)} but guess is {_size(guess)} (expected one size)"
        hint = "resize the guess with nearest neighbour, or score the maps they were made for"
        raise DataError("D013", message, hint)
    truth, guess = truth.reshape(-1), guess.reshape(-1)
    if num_classes <= VOID and truth.dtype == guess.dtype == np.uint8:
        return _count_bytes(truth, guess, num_classes)
    return _count_any(truth, guess, num_classes)


def _count_bytes(truth: Labels, guess: Labels, num_classes: int) -> Counts:
    """The compiled way; both (P,) uint8."""
    counts = np.zeros((num_classes + 1, 256), np.int64)
    for start in range(0, truth.size, _CHUNK):
        part = slice(start, start + _CHUNK)
        pair = np.ascontiguousarray(truth[part]), np.ascontiguousarray(guess[part])
        counts += compiled(count_pairs)(*pair, num_classes)
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
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` as machine code; numba is imported on first use and keeps its result on disk."""
    from numba import njit

    try:
        return njit(nogil=True, cache=True)(function)  # type: ignore[no-any-return]
    except RuntimeError:  # neither the package's folder nor the user's cache folder is writable
        return njit(nogil=True)(function)  # type: ignore[no-any-return]


def count_pairs(truth: Any, guess: Any, num_classes: int) -> Any:
    """Count pixels by (true class, predicted value) in one pass without a branch.

    Args:
        truth: (P,) uint8, contiguous.
        guess: (P,) uint8, contiguous, P < 2**32.
        num_classes: K, at most 255.

    Returns:
        (K + 1, 256) int64; row K holds every true value that names no class, void among them.
    """
    tables = np.zeros((TABLES, (num_classes + 1) * 256), np.uint32)
    first, second, third, fourth = tables[0], tables[1], tables[2], tables[3]
    last = np.uint32(num_classes)
    whole = truth.size - truth.size % TABLES
    for i in range(0, whole, TABLES):
        first[min(np.uint32(truth[i]), last) * np.uint32(256) + guess[i]] += np.uint32(1)
        second[min(np.uint32(truth[i + 1]), last) * np.uint32(256) + guess[i + 1]] += np.uint32(1)
        third[min(np.uint32(truth[i + 2]), last) * np.uint32(256) + guess[i + 2]] += np.uint32(1)
        fourth[min(np.uint32(truth[i + 3]), last) * np.uint32(256) + guess[i + 3]] += np.uint32(1)
    for i in range(whole, truth.size):
        first[min(np.uint32(truth[i]), last) * np.uint32(256) + guess[i]] += np.uint32(1)
    total = np.empty(tables.shape[1], np.int64)
    for i in range(total.size):
        total[i] = np.int64(first[i]) + second[i] + third[i] + fourth[i]
    return total.reshape((num_classes + 1, 256))


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
    order = np.argsort(-pixels, kind="stable")
    return first_few([f"{strange[i]} on {pixels[i]} px" for i in order])


def _refuse(truth: Labels, guess: Labels, num_classes: int) -> None:
    """Raise D012 about the values on counted pixels that name no class."""
    named = f"expected 0..{num_classes - 1}"
    raw = "map the raw values to classes first; `pixelwise data inspect` shows them"
    void = f"void ({VOID}) is no class to predict; check the number of classes"
    roles = (("truth", truth, f"{named}, or {VOID}", raw), ("guess", guess, named, void))
    for role, values, expected, hint in roles:
        if listed := strange_values(values[truth != VOID], num_classes):
            message = f"the {role} has values that name no class: {listed} ({expected})"
            raise DataError("D012", message, hint)
    raise AssertionError("counts are incomplete although every value names a class")


def _size(array: Labels) -> str:
    return "x".join(str(n) for n in array.shape) or "one value"
