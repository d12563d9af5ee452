"""The hot loop of confusion counting, in plain Python; ``confusion.py`` compiles it by numba."""

from __future__ import annotations

from typing import Any

import numpy as np

TABLES = 4  # neighbours are mostly equal; separate tables keep one count from waiting for the last


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
