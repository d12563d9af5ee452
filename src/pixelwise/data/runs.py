"""COCO's run lengths: how many pixels off, then on, then off, column by column; both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def mask_of(segmentation: Mapping[str, Any], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of ``{"size": [h, w], "counts": [...] or "..."}``, (h, w).

    Raises:
        ValueError: another size than the picture's, or counts that do not fill it.
    """
    if segmentation.get("size") != list(size):
        what = segmentation.get("size")
        raise ValueError(f"run lengths of size {what}, expected {list(size)} as the picture has")
    counts = segmentation.get("counts")
    runs = counts_of(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise ValueError("run lengths that are no whole numbers from 0 on")
    height, width = size
    if sum(runs) != height * width:
        raise ValueError(f"run lengths that fill {sum(runs)} of {height * width} pixels")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def counts_of(text: str) -> list[int]:
    """The counts in COCO's compressed form (``rleToString`` in cocoapi's maskApi.c).

    Digits of 5 bits from the lowest on, each as a character from ``0`` (48) on: bit 6 says that
    another follows, bit 5 of the last one is the sign. From the fourth on they are differences to
    the count before last.

    Raises:
        ValueError: other characters, or it ends within a number.
    """
    counts: list[int] = []
    number, shift = 0, 0
    for letter in text:
        digit = ord(letter) - 48
        if not 0 <= digit < 64 or shift > 60:
            raise ValueError(f"run lengths with a strange letter, {letter!a}")
        number |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            number -= (digit & 16) << shift - 4  # the sign bit stands for all above it
            counts.append(number + counts[-2] if len(counts) > 2 else number)
            number, shift = 0, 0
    if shift:
        raise ValueError("run lengths that end within a number")
    return counts


def runs_of(mask: NDArray[np.bool_]) -> list[int]:
    """The counts of a mask (h, w)."""
    column = mask.T.ravel()
    edges = np.flatnonzero(column[1:] != column[:-1]) + 1
    counts = np.diff(np.concatenate([[0], edges, [column.size]])).tolist()
    return [0, *counts] if column[0] else counts


def text_of(counts: Sequence[int]) -> str:
    """Counts in the compressed form that ``counts_of`` reads."""
    letters = []
    for i, count in enumerate(counts):
        number = count - counts[i - 2] if i > 2 else count
        while True:
            digit, number = number & 31, number >> 5
            more = number != (-1 if digit & 16 else 0)
            letters.append(chr(48 + digit + 32 * more))
            if not more:
                break
    return "".join(letters)
