"""The loss of coarse scores against that of ``losses/`` on whole maps, in double precision."""

import math

import pytest
import torch

from pixelwise.engine.kernels import unavailable
from pixelwise.engine.modules import FixedUpsampling
from pixelwise.engine.runner import ScoreMap
from pixelwise.engine.score_loss import score_loss
from pixelwise.engine.upsampling import Window
from pixelwise.losses.of_classes import loss_of_classes
from pixelwise.losses.settings import Loss
from pixelwise.nets.layers import Upsample

pytestmark = pytest.mark.skipif(bool(unavailable()), reason=unavailable())

# Kernel, stride and rim of an upsampling; cells; classes; first row and column, and size, wanted.
CASES = {
    "even": ((8, 4, "hold"), (5, 7), 3, (2, 2), (20, 28)),
    "odd": ((3, 2, "fade"), (4, 6), 5, (0, 1), (9, 11)),
    "wide": ((4, 2, "hold"), (3, 40), 2, (1, 1), (6, 79)),
    "released": ((64, 32, "fade"), (3, 3), 21, (19, 19), (70, 65)),
    "many classes": ((16, 8, "hold"), (2, 3), 150, (4, 4), (16, 23)),
    "not upsampled": (None, (6, 19), 4, (0, 0), (6, 19)),
}


def case(name: str, dtype: torch.dtype) -> tuple[ScoreMap, torch.Tensor, torch.Tensor]:
    """Scores of two pictures, labels with void and without the last class, weights by picture."""
    by, cells, classes, corner, size = CASES[name]
    draw = torch.Generator().manual_seed(0)
    scores = 3 * torch.randn(2, classes, *cells, generator=draw)
    scores = scores.contiguous(memory_format=torch.channels_last).to(dtype).requires_grad_()
    labels = torch.randint(0, classes - 1, (2, *size), generator=draw).to(torch.uint8)
    labels[0, :2], labels[1, :, -1] = 255, 255
    weights = torch.rand(2, classes, generator=draw) + 0.5
    up = by and FixedUpsampling(Upsample("up", ("x",), by[0], by[1], edge=by[2]))
    return ScoreMap(scores, up and up.to(dtype), Window(*corner, *size)), labels, weights


def whole_maps(scores: ScoreMap, labels: torch.Tensor, weights: torch.Tensor, aim: Loss):
    """As ``losses/`` has it."""
    whole = scores.cells
    if scores.upsampling:
        pad = scores.window.left - scores.window.top
        like = torch.empty(0, 0, scores.window.height, scores.window.width + pad)
        scores.upsampling.offset = scores.window.top
        whole = scores.upsampling(whole, like)[..., pad:]
    return loss_of_classes(aim, whole, labels, weights, 1)


@pytest.mark.parametrize(("jaccard", "dice"), [(0.0, 0.0), (2.0, 0.0), (0.5, 3.0)])
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_are_those_of_whole_maps(name: str, jaccard: float, dice: float) -> None:
    ours, labels, weights = case(name, torch.float32)
    theirs, *_ = case(name, torch.float64)
    made = score_loss(ours, labels, weights, jaccard, dice)
    expected = whole_maps(theirs, labels, weights.double(), Loss(jaccard=jaccard, dice=dice))
    assert made.item() == pytest.approx(expected.item(), rel=1e-6)
    (0.5 * made).backward()
    (0.5 * expected).backward()
    assert ours.cells.grad is not None
    assert theirs.cells.grad is not None
    largest = theirs.cells.grad.abs().max().item()
    torch.testing.assert_close(
        ours.cells.grad.double(), theirs.cells.grad, rtol=0, atol=2e-6 * largest
    )


def test_half_precision_is_widened_and_its_gradient_rounded_once() -> None:
    half, labels, weights = case("even", torch.bfloat16)
    single = ScoreMap(half.cells.detach().float().requires_grad_(), half.upsampling, half.window)
    for scores in (half, single):
        score_loss(scores, labels, weights, 1.0).backward()
    assert half.cells.grad is not None
    assert single.cells.grad is not None
    assert torch.equal(half.cells.grad, single.cells.grad.bfloat16())


def test_the_number_of_threads_changes_no_bit() -> None:
    threads, made = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            scores, labels, weights = case("even", torch.float32)
            loss = score_loss(scores, labels, weights, 1.0)
            loss.backward()
            made.append((loss.item(), scores.cells.grad))
    finally:
        torch.set_num_threads(threads)
    assert made[0][0] == made[1][0]
    assert torch.equal(made[0][1], made[1][1])


def test_a_batch_of_void_costs_nothing_and_teaches_nothing() -> None:
    scores, labels, weights = case("even", torch.float32)
    loss = score_loss(scores, torch.full_like(labels, 255), weights, 1.0, 1.0)
    loss.backward()
    assert loss.item() == 0
    assert scores.cells.grad is not None
    assert not scores.cells.grad.any()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_scores_that_are_not_finite_give_a_loss_that_is_none(value: float) -> None:
    scores, labels, weights = case("even", torch.float32)
    with torch.no_grad():
        scores.cells[1, 1, 2, 3] = value
    assert math.isnan(score_loss(scores, labels, weights, 0.0).item())


def test_a_class_far_behind_costs_its_distance() -> None:
    """Its probability is below the smallest number, its logarithm is not."""
    cells = torch.zeros(1, 2, 3, 3)
    cells[:, 1] = -300
    scores = ScoreMap(cells, None, Window(0, 0, 3, 3))
    labels = torch.ones(1, 3, 3, dtype=torch.uint8)
    assert score_loss(scores, labels, torch.ones(1, 2), 0.0).item() == pytest.approx(2700)
