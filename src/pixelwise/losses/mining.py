"""Hard-pixel mining: the part of a picture that is worst predicted stands for all of it."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def hardest(losses: Tensor, weights: Tensor, share: float, below: float = 0.0) -> Tensor:
    """(N, H, W) weights by which a picture's hardest pixels stand for all of it (OHEM).

    Hardest are the ``share`` of its pixels with the largest losses, and all whose class has a
    probability less than ``below``. The others weigh 0; these weigh so much more that the picture
    weighs what it did: however pictures are divided into batches, their mean is the same.

    Args:
        losses: (N, H, W) cross-entropy.
        weights: (N, H, W), 0 where a pixel does not count.
    """
    hard, sure = torch.zeros_like(weights), -math.log(below) if below else math.inf
    for own, weight, kept in zip(losses.detach(), weights, hard, strict=True):
        counted = own[weight > 0]
        if len(counted):
            least = counted.kthvalue(len(counted) - math.ceil(share * len(counted)) + 1).values
            # Equal losses stand or fall together: at first all scores are zero.
            kept.copy_(weight * ((own >= least) | (own > sure)))
    scale = weights.sum((1, 2)) / hard.sum((1, 2)).clamp_min(1e-30)
    return hard * scale[:, None, None]
