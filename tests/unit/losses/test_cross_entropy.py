"""The loss against Caffe's definition, written out by hand."""

import math

import pytest
import torch

from pixelwise.losses.cross_entropy import cross_entropy, focal, pixel_weight, pixel_weights


def by_hand(scores: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """-log softmax of the true class, pixel by pixel; void left out."""
    found = []
    for n, y, x in torch.cartesian_prod(*(torch.arange(d) for d in labels.shape)).tolist():
        label = int(labels[n, y, x])
        if label != 255:
            column = scores[n, :, y, x].tolist()
            top = sum(math.exp(v) for v in column)
            found.append(-math.log(math.exp(column[label]) / top))
    return found


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    scores = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 4, 5), dtype=torch.uint8)
    labels[0, 0, :] = 255
    return scores, labels


def test_sum_is_the_sum_over_pixels_that_are_not_void(case) -> None:
    assert cross_entropy(*case).sum().item() == pytest.approx(sum(by_hand(*case)))


def test_mean_divides_by_the_pixels_that_count(case) -> None:
    terms = by_hand(*case)
    assert len(terms) == 35
    mean = cross_entropy(*case).sum() / pixel_weight(case[1])
    assert mean.item() == pytest.approx(sum(terms) / 35)


def test_weights_count_in_numerator_and_divisor(case) -> None:
    scores, labels = case
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    known = [int(v) for v in labels.flatten() if v != 255]
    terms = by_hand(scores, labels)
    wanted = sum(weights[k].item() * t for k, t in zip(known, terms, strict=True))
    divisor = sum(weights[k].item() for k in known)
    assert pixel_weight(labels, weights).item() == pytest.approx(divisor)
    assert weighted(scores, labels, weights) == pytest.approx(wanted)


def test_of_300_classes_255_alone_is_void() -> None:
    labels = torch.tensor([[[0, 254, 255], [256, 299, 255]]], dtype=torch.int16)
    scores = torch.zeros(1, 300, 2, 3, dtype=torch.float64)
    assert pixel_weight(labels) == 4
    assert (cross_entropy(scores, labels) > 0).tolist() == (labels != 255).tolist()
    weights = torch.arange(300.0)
    assert pixel_weights(labels, weights).tolist() == [[[0, 254, 0], [256, 299, 0]]]
    assert pixel_weight(labels, weights) == 254 + 256 + 299


def weighted(scores: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> float:
    return (pixel_weights(labels, weights) * cross_entropy(scores, labels)).sum().item()


def test_each_picture_may_have_weights_of_its_own(case) -> None:
    scores, labels = case
    weights = torch.tensor([[1.0, 2.0, 0.5], [0.0, 3.0, 1.0]])
    apart = [weighted(scores[i : i + 1], labels[i : i + 1], weights[i]) for i in (0, 1)]
    assert weighted(scores, labels, weights) == pytest.approx(sum(apart))


def test_the_focal_loss_by_hand(case) -> None:
    """(1 - p) ** gamma of each pixel's -log p; gamma 0 is cross-entropy."""
    for gamma in (0.0, 0.5, 2.0):
        wanted = sum((1 - math.exp(-t)) ** gamma * t for t in by_hand(*case))
        assert focal(cross_entropy(*case), gamma).sum().item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_the_focal_loss_has_the_gradient_of_small_changes(case, gamma: float) -> None:
    scores, labels = case
    assert torch.autograd.gradcheck(
        lambda s: focal(cross_entropy(s, labels), gamma), scores.requires_grad_()
    )


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_a_pixel_that_is_sure_has_a_focal_loss_of_nothing_and_a_finite_gradient(gamma) -> None:
    scores = torch.tensor([200.0, 0.0]).view(1, 2, 1, 1).requires_grad_()
    focal(cross_entropy(scores, torch.zeros(1, 1, 1)), gamma).sum().backward()
    assert scores.grad is not None
    assert scores.grad.abs().max() == 0


def test_a_batch_of_void_costs_nothing_and_teaches_nothing() -> None:
    scores = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = cross_entropy(scores, torch.full((1, 2, 2), 255, dtype=torch.uint8)).sum()
    loss.backward()
    assert loss.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_zero_scores_cost_log_k_a_pixel() -> None:
    """Fact sheet 11.7: 500x375 pixels of 21 classes give 570,848."""
    labels = torch.zeros(1, 375, 500, dtype=torch.uint8)
    loss = cross_entropy(torch.zeros(1, 21, 375, 500), labels).sum()
    assert loss.item() == pytest.approx(187_500 * math.log(21), rel=1e-6)
    assert round(187_500 * math.log(21)) == 570_848


def test_half_precision_scores_are_summed_in_single() -> None:
    scores = torch.zeros(1, 4, 200, 200, dtype=torch.bfloat16)
    loss = cross_entropy(scores, torch.zeros(1, 200, 200, dtype=torch.uint8)).sum()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(40_000 * math.log(4), rel=1e-5)
