from __future__ import annotations

import numpy as np
import pytest

from brute_force import agreement, beliefs, marginals, picture
from pixelwise.crf.dense import refine
from pixelwise.crf.lattice import features
from pixelwise.crf.mean_field import each
from pixelwise.crf.pairs import Pairs
from pixelwise.crf.parameters import DenseCrf


@pytest.mark.parametrize(("labels", "size"), [(2, (48, 64)), (21, (40, 50)), (3, (1, 130))])
def test_exact_is_brute_force(labels: int, size: tuple[int, int]) -> None:
    image, p = picture(*size), beliefs(labels, *size)
    crf = DenseCrf(10, 60, 10, 3, 3, 10, "exact")
    true = marginals(p, image, (10, 60, 10), (3, 3), 10)
    made = refine(p, image, crf)
    assert agreement(made, true) >= 0.9995  # ties within float32
    assert np.abs(made - true).mean() < 1e-6


def test_small_pictures_are_exact_by_themselves_and_large_ones_fast() -> None:
    crf = DenseCrf()
    assert crf.is_exact(64 * 64)
    assert not crf.is_exact(375 * 500)
    assert DenseCrf(quality="0.01").is_exact(375 * 500)


def test_a_smaller_tolerance_is_nearer_to_exact() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    image[:, :30] //= 4
    p = beliefs(5, 40, 60)
    true = marginals(p, image, (10, 60, 10), (3, 3), 10)
    errors, kept = [], []
    for quality in ("0.9", "0.1", "0.001"):
        crf = DenseCrf(10, 60, 10, 3, 3, 10, quality)
        errors.append(np.abs(refine(p, image, crf) - true).mean())
        pairs = Pairs(features(image, 60, 10), crf.tolerance, each)
        kept.append(sum(map(len, pairs.near)))
    assert errors[0] > errors[1] > errors[2]
    assert kept[0] < kept[1] < kept[2]
    assert errors[2] < 1e-4


def test_a_full_compatibility_by_hand() -> None:
    # Two pixels of one colour far apart: without smoothness each hears itself and the other.
    image = np.zeros((1, 2, 3), np.uint8)
    p = np.array([[[0.6, 0.2]], [[0.4, 0.8]]], np.float32)
    costs = [[0.0, 2.0], [2.0, 1.0]]
    crf = DenseCrf(1, 1e5, 20, 0, 3, 1, "exact")
    heard = np.full(2, 0.5) @ p.reshape(2, 2).T  # each row of the kernel is 1/2, 1/2
    energy = -np.log(p.reshape(2, 2)) + (heard @ np.array(costs))[:, None]
    share = np.exp(-energy) / np.exp(-energy).sum(0)
    made = refine(p, image, crf, compatibility=costs)
    assert np.abs(made.reshape(2, 2) - share).max() < 1e-6
