"""Losses of regions against sums by hand, mean IU, and a peer."""

import math

import pytest
import torch

from pixelwise.losses.overlap import lovasz_softmax, soft_dice, soft_jaccard
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores as scores_of
from smp import smp_module


@pytest.fixture
def case() -> tuple[torch.Tensor, torch.Tensor]:
    """Class 3 of 4 is in no label."""
    torch.manual_seed(0)
    scores = 2 * torch.randn(2, 4, 5, 6, dtype=torch.float64)
    labels = torch.randint(0, 3, (2, 5, 6), dtype=torch.uint8)
    labels[0, 0, :] = 255
    return scores, labels


each_loss = pytest.mark.parametrize("loss", [soft_jaccard, soft_dice, lovasz_softmax])


def by_hand(scores: torch.Tensor, labels: torch.Tensor, dice: bool = False) -> float:
    """Pixel by pixel: what is given to a class rightly, and what is given or owed to it."""
    chances = scores.softmax(1)
    places = map(tuple, torch.cartesian_prod(*map(torch.arange, labels.shape)).tolist())
    known = [p for p in places if int(labels[p]) != 255]
    found = []
    for k in sorted({int(labels[p]) for p in known}):
        both = either = 0.0
        for n, y, x in known:
            chance = chances[n, k, y, x].item()
            mine = int(labels[n, y, x]) == k
            both += chance if mine else 0
            either += 1 if mine else chance
        found.append(1 - (2 * both / (either + both) if dice else both / either))
    return sum(found) / len(found)


def test_equals_sums_by_hand(case) -> None:
    assert soft_jaccard(*case).item() == pytest.approx(by_hand(*case), abs=1e-12)


def test_dice_equals_sums_by_hand(case) -> None:
    assert soft_dice(*case).item() == pytest.approx(by_hand(*case, dice=True), abs=1e-12)


def test_of_200_classes_those_that_are_not_in_the_labels_are_left_out(case) -> None:
    scores = torch.cat([case[0], torch.randn(2, 196, 5, 6, dtype=torch.float64)], dim=1)
    labels = case[1].where(case[1] < 3, 0)
    assert soft_jaccard(scores, labels).item() == pytest.approx(by_hand(scores, labels))


def test_two_pixels_of_each_class_by_hand() -> None:
    """2x2: class 0 above at 0.8 and 0.6, class 1 below at 0.9 and 0.5."""
    chances = torch.tensor([[0.8, 0.6], [0.1, 0.5]], dtype=torch.float64)
    scores = torch.stack([chances, 1 - chances]).log()[None]
    labels = torch.tensor([[[0, 0], [1, 1]]], dtype=torch.uint8)
    jaccard = [1 - 1.4 / 2.6, 1 - 1.4 / 2.6]  # 1.4 hits; two pixels own it, 0.6 are given beside
    assert soft_jaccard(scores, labels).item() == pytest.approx(sum(jaccard) / 2)
    assert soft_dice(scores, labels).item() == pytest.approx(1 - 2 * 1.4 / 4)
    # Errors of class 0 as they fall, 0.5 (not its own), 0.4, 0.2 (its own), 0.1: IU falls from 1
    # to 2/3, 1/3, 0, 0. Of class 1: 0.5 (its own), 0.4, 0.2, 0.1 (its own): 1/2, 1/3, 1/4, 0.
    zero = (0.5 + 0.4 + 0.2) / 3
    one = 0.5 / 2 + 0.4 / 6 + 0.2 / 12 + 0.1 / 4
    assert lovasz_softmax(scores, labels).item() == pytest.approx((zero + one) / 2)


@each_loss
def test_of_one_class_the_mean_is_its_own_loss(case, loss) -> None:
    """IU and Dice of a class that all pixels have; its Lovasz loss is the mean of errors."""
    scores, labels = case[0], torch.full_like(case[1], 2)
    share = scores.softmax(1)[:, 2].mean().item()
    wanted = 1 - 2 * share / (1 + share) if loss is soft_dice else 1 - share
    assert loss(scores, labels).item() == pytest.approx(wanted)


@each_loss
def test_void_is_without_influence(case, loss) -> None:
    scores, labels = case
    wild = scores.clone()
    wild[0, :, 0] = 50 * torch.randn(4, 6, dtype=torch.float64)
    assert loss(wild, labels).item() == pytest.approx(loss(scores, labels).item(), abs=1e-12)


@pytest.mark.parametrize("loss", [soft_jaccard, lovasz_softmax])
def test_of_sure_guesses_it_is_one_less_mean_iu(case, loss) -> None:
    """Among classes of the truth, as ``mean_iu`` counts them; guesses of others cost as well."""
    scores, labels = case
    guess = scores.argmax(1)
    sure = 1e4 * torch.nn.functional.one_hot(guess, 4).movedim(3, 1).double()
    counted = confusion(labels.numpy(), guess.numpy().astype("uint8"), 4)
    wanted = scores_of(counted).mean_iu
    assert (guess == 3).any()
    assert wanted is not None
    assert loss(sure, labels).item() == pytest.approx(1 - wanted, abs=1e-12)


@each_loss
def test_gradients_are_those_of_small_changes(case, loss) -> None:
    scores, labels = case
    assert torch.autograd.gradcheck(lambda s: loss(s, labels), scores.requires_grad_())


@each_loss
def test_a_batch_of_void_costs_nothing_and_teaches_nothing(loss) -> None:
    scores = torch.randn(1, 3, 2, 2, requires_grad=True)
    made = loss(scores, torch.full((1, 2, 2), 255, dtype=torch.uint8))
    made.backward()
    assert made.item() == 0
    assert scores.grad is not None
    assert not scores.grad.any()


@each_loss
def test_half_precision_scores_are_summed_in_single(case, loss) -> None:
    scores, labels = case
    made = loss(scores.bfloat16(), labels)
    assert made.dtype == torch.float32
    assert made.item() == pytest.approx(loss(scores, labels).item(), abs=5e-3)


def test_very_large_batches_are_summed_to_the_end() -> None:
    """Halves added one by one in single precision would stand still at 2 ** 23."""
    side = 4200
    labels = torch.zeros(1, side, side, dtype=torch.uint8)
    with torch.no_grad():
        loss = soft_jaccard(torch.zeros(1, 2, side, side), labels)
    assert loss.item() == pytest.approx(0.5, abs=1e-4)


def test_large_batches_of_equal_chances_lose_nothing() -> None:
    """Two million times one chance that no binary fraction equals: the sums have closed forms."""
    height, width = 1024, 2048
    scores = torch.zeros(1, 4, height, width)
    scores[:, 0] = 1
    labels = torch.zeros(1, height, width, dtype=torch.uint8)
    labels[:, height // 2 :] = 1
    first, other = math.e / (math.e + 3), 1 / (math.e + 3)
    ious = [0.5 * p / (p + 0.5 - 0.5 * p) for p in (first, other)]
    assert soft_jaccard(scores, labels).item() == pytest.approx(1 - sum(ious) / 2, abs=1e-6)


def test_equals_segmentation_models_pytorch(case) -> None:
    """Which knows no void, and counts classes that no label has as learned."""
    peer = smp_module("losses.jaccard").JaccardLoss("multiclass")
    scores, labels = case[0].float(), case[1].where(case[1] != 255, 0)
    theirs = peer(scores, labels.long()).item()
    assert soft_jaccard(scores, labels).item() == pytest.approx(theirs * 4 / 3, abs=1e-6)
