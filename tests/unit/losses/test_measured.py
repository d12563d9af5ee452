"""Losses of numbers and of edges, by hand; their gradients by differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pixelwise.losses.cross_entropy import pixel_weight
from pixelwise.losses.measured import measured_loss
from pixelwise.losses.sampling import sampled
from pixelwise.nets.catalog import spec
from pixelwise.nets.kinds import EDGE, Kind

NAN = math.nan
METRES = Kind("numbers", centre=(4.0,), spread=(2.0,))
SCORES = torch.tensor([[[[0.0, 1.0, -1.0]]]])
LABELS = torch.tensor([[[[4.0, 8.0, NAN]]]])


def test_differences_count_on_the_scale_of_scores_and_void_does_not() -> None:
    """Labels are at 0 and 2 of the scores' scale; the third is not known."""
    assert measured_loss(SCORES, LABELS, METRES, "l1").tolist() == [1.0]
    assert measured_loss(SCORES, LABELS * 1.0, METRES, "l2").tolist() == [1.0]
    metres_as_feet = Kind("numbers", centre=(4 / 0.3048,), spread=(2 / 0.3048,))
    feet = measured_loss(SCORES, LABELS / 0.3048, metres_as_feet, "l1")
    assert feet.item() == pytest.approx(1.0, abs=1e-5)
    assert pixel_weight(LABELS) == 2


def test_half_of_an_error_in_scale_is_forgiven() -> None:
    """Eigen et al. 2014, equation 4; where all is twice too far, d is log 2."""
    kind = Kind("numbers", log=True, centre=(0.0,), spread=(1.0,))
    truth = torch.tensor([[[[1.0, 2.0, 4.0, NAN]]], [[[1.0, 1.0, 1.0, 1.0]]]])
    scores = torch.stack([(2 * truth[0]).log().nan_to_num(7.0), truth[1].log()])
    loss = measured_loss(scores, truth, kind, "log")
    d = math.log(2)
    assert loss.tolist() == pytest.approx([3 * d * d - 0.5 * (3 * d) ** 2 / 3, 0.0], abs=1e-6)


def test_edges_and_what_is_none_weigh_the_same_in_each_picture() -> None:
    """One edge in four: it weighs 3/4, each of the three others 1/4 (HED, equation 2)."""
    truth = torch.tensor([[[[1.0, 0.0, 0.0, 0.0, NAN]]]])
    scores = torch.tensor([[[[2.0, -1.0, 0.0, 3.0, 9.0]]]])
    p = 1 / (1 + np.exp(-scores[0, 0, 0].numpy().astype(float)))
    by_hand = -0.75 * np.log(p[0]) - 0.25 * np.log(1 - p[1:4]).sum()
    assert measured_loss(scores, truth, EDGE, "l1").item() == pytest.approx(by_hand, rel=1e-6)


@pytest.mark.parametrize(
    "kind", [METRES, EDGE, Kind("numbers", log=True, centre=(1,), spread=(2,))]
)
@pytest.mark.parametrize("form", ["l2", "log"])
def test_gradients_are_those_of_differences_and_void_has_none(kind: Kind, form) -> None:
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(2, 1, 3, 4, generator=rng, requires_grad=True)
    labels = torch.rand(2, 1, 3, 4, generator=rng) + 0.5
    labels = (labels > 1).float() if kind == EDGE else labels
    labels[0, 0, 1] = NAN
    measured_loss(scores, labels, kind, form).sum().backward()
    assert scores.grad is not None
    assert not scores.grad[0, 0, 1].any()
    step = 1e-2
    for place in [(0, 0, 0, 2), (1, 0, 2, 3)]:
        moved = []
        for sign in (1, -1):
            other = scores.detach().clone()
            other[place] += sign * step
            moved.append(measured_loss(other, labels, kind, form).sum().item())
        slope = (moved[0] - moved[1]) / (2 * step)
        assert scores.grad[place].item() == pytest.approx(slope, abs=2e-3)


def test_an_all_void_picture_has_no_loss() -> None:
    void = torch.full((1, 1, 2, 2), NAN)
    for kind in (METRES, EDGE):
        scores = torch.ones(1, 1, 2, 2, requires_grad=True)
        measured_loss(scores, void, kind, "log").sum().backward()
        assert scores.grad is not None
        assert not scores.grad.any()


def test_numbers_that_are_not_drawn_are_void() -> None:
    net, numbers = spec("fcn8s-tiny", classes=1), torch.ones(2, 1, 40, 40)
    rngs = [np.random.default_rng(i) for i in range(2)]
    kept = sampled(numbers, 0.5, rngs, net=net, unit="pixel")
    expected = [np.random.default_rng(i).random((40, 40)) < 0.5 for i in range(2)]
    assert np.array_equal(kept.isfinite().numpy()[:, 0], expected)
