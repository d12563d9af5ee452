"""The FCN loss: softmax cross-entropy at every pixel that is not void."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.labels import VOID


def cross_entropy(scores: Tensor, labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Pixelwise softmax loss, summed (Caffe's SoftmaxWithLoss, ignore_label 255, normalize false).

    Divided by ``pixel_weight`` of all that is averaged over it is the mean (normalize true).

    Args:
        scores: (N, K, H, W), any float type; the loss is computed in float32 or wider.
        labels: (N, H, W) class ids; void is left out.
        class_weights: (K,) factor on the pixels of each class.

    Returns:
        A scalar; 0, with zero gradient, when every pixel is void.
    """
    scores = scores if scores.dtype == torch.float64 else scores.float()
    weight = None if class_weights is None else class_weights.to(scores.dtype)
    # On a GPU torch adds a loss map in any order within its own sum; its other sums are repeatable.
    how = "none" if scores.is_cuda else "sum"
    target = labels.long()
    loss = F.cross_entropy(scores, target, weight=weight, ignore_index=VOID, reduction=how)
    return loss.sum()


def pixel_weight(labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The divisor of the mean: pixels that are not void, each by its class's weight."""
    known = labels != VOID
    if class_weights is None:
        return known.sum().float()
    return class_weights[labels.where(known, 0).long()].where(known, 0).sum()
