"""The soft Jaccard loss: what mean IU loses, with probabilities in place of guesses."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelwise.labels import VOID


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
    scores = scores if scores.dtype == torch.float64 else scores.float()
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
    present = pixels > 0
    iu = (hits / (guessed + pixels - hits).where(present, 1)).where(present, 1)
    return ((1 - iu).sum() / present.sum().clamp_min(1)).to(scores.dtype)
