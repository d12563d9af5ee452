"""The FCN loss: softmax cross-entropy at every pixel that is not void."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.labels import VOID


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    """(N, H, W) softmax loss of each pixel, 0 at void (Caffe's SoftmaxWithLoss, ignore_label 255).

    Times ``pixel_weights`` and summed it is Caffe's loss with normalize false; divided by
    ``pixel_weight`` of all that is averaged over it is the mean (normalize true).

    Args:
        scores: (N, K, H, W), any float type; the loss is computed in float32 or wider.
        labels: (N, H, W) class ids.
    """
    # Not summed by torch: on a GPU its own sum of a loss map is in any order.
    return F.cross_entropy(widened(scores), labels.long(), ignore_index=VOID, reduction="none")


def focal(losses: Tensor, gamma: float) -> Tensor:
    """Cross-entropies -log p, each times (1 - p) ** gamma (Lin et al. 2017, equation 4)."""
    # Below one, powers rise without end at 0: where p rounds to 1 nothing is left to learn.
    return losses * (-torch.expm1(-losses)).clamp_min(1e-7) ** gamma


def pixel_weights(labels: Tensor, class_weights: Tensor) -> Tensor:
    """(N, H, W) weight of each pixel's class, 0 at void; (K,) for all pictures or (N, K)."""
    known = labels != VOID
    truth = labels.where(known, 0).long()
    weights = class_weights.expand(len(labels), -1).gather(1, truth.flatten(1))
    return weights.view_as(truth).where(known, 0)


def pixel_weight(labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The divisor of the mean: pixels (or numbers) that are not void, by their classes' weights."""
    if labels.is_floating_point():
        return labels.isfinite().sum().float()
    if class_weights is None:
        return (labels != VOID).sum().float()
    return pixel_weights(labels, class_weights).sum()


def widened(scores: Tensor) -> Tensor:
    """In float32 or wider."""
    return scores if scores.dtype == torch.float64 else scores.float()
