"""Losses of whole regions: what mean IU and mean Dice lose, with probabilities for guesses."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.labels import VOID
from pixelwise.losses.cross_entropy import widened


def soft_jaccard(scores: Tensor, labels: Tensor) -> Tensor:
    """1 - IU, averaged over the classes in the labels, counted in probabilities over the batch.

    A class's intersection is the probability that its pixels give it; its union is the probability
    that all pixels give it, and what its own pixels give to others (Rahman and Wang 2016). Of sure
    guesses the loss is 1 - mean IU.

    Args:
        scores: (N, K, H, W), any float type; the loss is computed in float32 or wider.
        labels: (N, H, W) class ids; void is left out.

    Returns:
        A scalar in 0..1; 0, with zero gradient, when every pixel is void.
    """
    hits, guessed, pixels = _sums(scores, labels)
    return _mean_loss(hits, guessed + pixels - hits, pixels).to(widened(scores).dtype)


def soft_dice(scores: Tensor, labels: Tensor) -> Tensor:
    """1 - Dice, as ``soft_jaccard``: of each class 2 hits / (pixels + guessed).

    Milletari et al. 2016 square the probabilities of the divisor; here, as is usual since, not.
    """
    hits, guessed, pixels = _sums(scores, labels)
    return _mean_loss(2 * hits, guessed + pixels, pixels).to(widened(scores).dtype)


def lovasz_softmax(scores: Tensor, labels: Tensor) -> Tensor:
    """The Lovasz extension of 1 - IU, averaged over the classes in the labels, over the batch.

    Each error 1 - p or p counts by how much it lowers its class's IU where larger errors have gone
    before (Berman et al. 2018, equations 8 and 9, algorithm 1). Arguments and ends as
    ``soft_jaccard``.
    """
    known = labels != VOID
    chances = widened(scores).softmax(1).movedim(1, -1)[known]
    truth, losses = labels[known], [0 * chances.sum()]
    present = truth.bincount().nonzero().flatten().tolist()
    for k in present:
        own = truth == k
        errors, order = torch.where(own, 1 - chances[:, k], chances[:, k]).sort(descending=True)
        # IU without the largest errors: differences of neighbours need more than single precision.
        missed = own[order].cumsum(0).double()
        wrong = torch.arange(1, len(own) + 1, device=own.device) - missed
        lost = 1 - (missed[-1] - missed) / (missed[-1] + wrong)
        steps = lost.diff(prepend=lost.new_zeros(1)).to(errors.dtype)
        losses.append((errors * steps).sum())
    return torch.stack(losses).sum() / max(1, len(present))


def _sums(scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(K,) probabilities that its own pixels give a class, and that all give it; its pixels."""
    scores = widened(scores)
    known = labels != VOID
    truth = labels.where(known, 0).long()
    pixels = labels.flatten().bincount(minlength=VOID + 1)[: scores.shape[1]]
    known = known.to(scores.dtype)
    chances = scores.softmax(1)
    of_truth = chances.gather(1, truth[:, None])[:, 0] * known
    # Many small numbers: in single precision their sum would be off, and at 2 ** 24 stand still.
    zeros = torch.zeros_like(pixels, dtype=torch.float64)
    hits = zeros.index_add(0, truth.flatten(), of_truth.flatten().double())
    guessed = (chances * known[:, None]).sum(3).double().sum((0, 2))
    return hits, guessed, pixels


def _mean_loss(part: Tensor, whole: Tensor, pixels: Tensor) -> Tensor:
    """The mean of 1 - part / whole over the classes that have pixels; 0 where none has."""
    present = pixels > 0
    share = (part / whole.where(present, 1)).where(present, 1)
    return (1 - share).sum() / present.sum().clamp_min(1)
