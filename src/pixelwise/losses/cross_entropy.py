"""The FCN loss: softmax cross-entropy at every pixel that is not void, summed or normalised."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.labels import VOID

Reduction = Literal["mean", "sum"]


def cross_entropy(
    scores: Tensor,
    labels: Tensor,
    *,
    reduction: Reduction = "mean",
    class_weights: Tensor | None = None,
) -> Tensor:
    """Pixelwise softmax loss (Caffe's SoftmaxWithLoss with ignore_label 255).

    Args:
        scores: (N, K, H, W), any float type; the loss is computed in float32 or wider.
        labels: (N, H, W) class ids; void is left out.
        reduction: ``sum`` over pixels (Caffe's ``normalize: false`` at batch 1, the heavy regime),
            or ``mean`` over the pixels that count, by their weights (``normalize: true``).
        class_weights: (K,) factor on the pixels of each class.

    Returns:
        A scalar; 0, with zero gradient, when every pixel is void.
    """
    scores = scores if scores.dtype == torch.float64 else scores.float()
    labels = labels.long()
    if class_weights is not None:
        class_weights = class_weights.to(scores.dtype)
    total = F.cross_entropy(
        scores, labels, weight=class_weights, ignore_index=VOID, reduction="sum"
    )
    if reduction == "sum":
        return total
    return total / pixel_weight(labels, class_weights).clamp_min(1e-12)


def pixel_weight(labels: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The divisor of the normalised loss: pixels that are not void, each by its class's weight."""
    known = labels != VOID
    if class_weights is None:
        return known.sum().float()
    return class_weights[labels.where(known, 0).long()].where(known, 0).sum()
