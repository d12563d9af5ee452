"""Which pixels are hard, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from pixelwise.losses.mining import hardest


def losses(*chances: float) -> torch.Tensor:
    """(1, 2, 2): -log of each pixel's probability of its class."""
    return -torch.tensor(chances, dtype=torch.float64).log().view(1, 2, 2)


ONES = torch.ones(1, 2, 2, dtype=torch.float64)
FOUR = losses(0.9, 0.2, 0.5, 0.7)


@pytest.mark.parametrize(
    ("share", "below", "kept"),
    [
        (1.0, 0.0, [1, 1, 1, 1]),
        (0.5, 0.0, [0, 2, 2, 0]),  # the two worst stand for four
        (0.3, 0.0, [0, 2, 2, 0]),  # 1.2 of four pixels: at least so many
        (0.25, 0.0, [0, 4, 0, 0]),
        (0.25, 0.6, [0, 2, 2, 0]),  # 0.5 is less than 0.6
        (0.25, 0.1, [0, 4, 0, 0]),  # none is, and the worst counts all the same
        (0.25, 0.95, [1, 1, 1, 1]),
    ],
)
def test_the_worst_pixels_stand_for_all(share: float, below: float, kept: list[int]) -> None:
    assert hardest(FOUR, ONES, share, below).flatten().tolist() == pytest.approx(kept)


def test_void_is_never_hard_and_counts_in_no_share() -> None:
    weights = ONES.clone()
    weights[0, 0, 1] = 0  # the worst
    made = hardest(FOUR, weights, 1 / 3)
    assert made.flatten().tolist() == pytest.approx([0, 0, 3, 0])
    least = ONES.clone().flatten()
    least[FOUR.flatten().argmin()] = 0
    made = hardest(FOUR, least.view_as(ONES), 1 / 3)  # one of three, not two of four
    assert made.flatten().tolist() == pytest.approx([0, 3, 0, 0])


def test_a_picture_weighs_what_it_did_by_its_classes_weights() -> None:
    weights = torch.tensor([[[3.0, 1.0], [4.0, 2.0]]], dtype=torch.float64)
    assert hardest(FOUR, weights, 0.5).flatten().tolist() == pytest.approx([0, 2, 8, 0])


def test_pictures_are_mined_each_by_itself() -> None:
    easy = losses(0.99, 0.98, 0.97, 0.96)
    both = hardest(torch.cat([FOUR, easy]), ONES.repeat(2, 1, 1), 0.25)
    assert both.flatten(1).tolist() == [[0, 4, 0, 0], [0, 0, 0, 4]]


def test_equal_losses_all_count_and_a_picture_of_void_none() -> None:
    alike = torch.full((1, 2, 2), math.log(3))
    assert torch.equal(hardest(alike, torch.ones(1, 2, 2), 0.25), torch.ones(1, 2, 2))
    assert not hardest(alike, torch.zeros(1, 2, 2), 0.25).any()
