"""Distances against the slower obvious way and scipy; what is made of them, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from pixelwise.losses.borders import border_weights, boundary_loss, distances

VOID = 255


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (40, 7), (37, 52)])
def test_distances_are_scipys_up_to_their_reach(shape: tuple[int, int]) -> None:
    marks = np.random.default_rng(0).random((3, *shape)) < 0.01
    marks[0] = False
    marks[1, 0, 0] = True
    made = distances(torch.from_numpy(marks), 12)
    assert (made[0] == 12).all()
    for mine, mask in zip(made[1:], marks[1:], strict=True):
        if mask.any():
            exact = ndimage.distance_transform_edt(~mask)
            np.testing.assert_allclose(mine, np.minimum(exact, 12), rtol=1e-6)


def test_a_border_weighs_most_on_both_of_its_sides() -> None:
    """Two columns of each class: the inner two touch, the outer two are one pixel away."""
    labels = torch.tensor([[[0, 0, 1, 1]]], dtype=torch.uint8)
    far = 1 + 10 * math.exp(-1 / 50)
    assert border_weights(labels, 10).flatten().tolist() == pytest.approx([far, 11, 11, far])


def test_far_from_borders_and_where_void_begins_all_weigh_one() -> None:
    labels = torch.zeros(1, 4, 60, dtype=torch.uint8)
    labels[..., :2], labels[..., 30:] = 1, VOID
    weights = border_weights(labels, 10)
    assert (weights[0, 0, 22:] - 1).abs().max() < 0.004
    assert (border_weights(torch.full_like(labels, VOID), 10) < 1.004).all()


def by_hand(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """Kervadec's map, pixel by pixel: to the class outside of it, less 1 to others within.

    Distances are at most 20 pixels, and in units of that.
    """
    chances, means = scores.softmax(1), []
    for chance, truth in zip(chances.tolist(), labels.tolist(), strict=True):
        places = [(y, x) for y, row in enumerate(truth) for x, k in enumerate(row) if k != VOID]
        classes = {truth[y][x] for y, x in places}
        total = 0.0
        for k in classes if len(classes) > 1 else ():
            for y, x in places:
                mine = truth[y][x] == k
                to = [math.dist((y, x), p) for p in places if (truth[p[0]][p[1]] == k) != mine]
                far = min(20, *to)
                total += chance[k][y][x] * (1 - far if mine else far) / 20
        means.append(total / max(1, len(places)))
    return sum(means) / len(means)


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    """Of three pictures one has one class alone, and one is void."""
    torch.manual_seed(0)
    scores = torch.randn(3, 4, 5, 6, dtype=torch.float64)
    labels = torch.randint(0, 3, (3, 5, 6), dtype=torch.uint8)
    labels[0, 0, :], labels[1], labels[2] = VOID, 2, VOID
    return scores, labels


def test_the_boundary_loss_equals_sums_by_hand(case) -> None:
    scores, labels = case
    labels[1, 1] = 0
    assert boundary_loss(scores, labels).item() == pytest.approx(by_hand(scores, labels), abs=1e-7)


def test_beyond_twenty_pixels_no_distance_grows() -> None:
    torch.manual_seed(0)
    labels = torch.zeros(1, 2, 70, dtype=torch.uint8)
    labels[..., :30], labels[..., 68:] = 1, VOID
    scores = torch.randn(1, 2, 2, 70, dtype=torch.float64)
    assert boundary_loss(scores, labels).item() == pytest.approx(by_hand(scores, labels), abs=1e-7)


def test_its_gradient_is_that_of_small_changes_and_void_has_none(case) -> None:
    scores, labels = case
    assert torch.autograd.gradcheck(lambda s: boundary_loss(s, labels), scores.requires_grad_())
    boundary_loss(scores.float(), labels).backward()
    assert scores.grad is not None
    assert not scores.grad[1:].any()
    assert not scores.grad[0, :, 0].any()
    assert scores.grad[0, :, 1:].any()


def test_pictures_count_alike_however_they_are_divided(case) -> None:
    scores, labels = case
    parts = [boundary_loss(scores[i : i + 1], labels[i : i + 1]).item() for i in range(3)]
    assert boundary_loss(scores, labels).item() == pytest.approx(sum(parts) / 3)
