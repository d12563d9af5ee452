"""All that is minimised of a head of classes: losses of its pixels, and of regions beside them.

A loss of pixels is a sum over them, which the step's divisor has made a mean already: micro-batches
and processes equal one large batch. A loss of regions looks at a batch as a whole; each has its
own, and their mean is added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from pixelwise.losses.borders import border_weights, boundary_loss
from pixelwise.losses.cross_entropy import cross_entropy, focal, pixel_weights
from pixelwise.losses.mining import hardest
from pixelwise.losses.overlap import lovasz_softmax, soft_dice, soft_jaccard
from pixelwise.losses.settings import Loss

REGIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "jaccard": soft_jaccard,
    "dice": soft_dice,
    "lovasz": lovasz_softmax,
    "boundary": boundary_loss,
}
"""By the setting that is its factor, a function of scores (N, K, H, W) and labels (N, H, W)."""


def loss_of_classes(
    aim: Loss, scores: Tensor, labels: Tensor, weights: Tensor, batches: int
) -> Tensor:
    """The loss of a micro-batch as it counts in that of its step.

    Args:
        aim: which losses, with their factors.
        scores: (N, K, H, W), any float type.
        labels: (N, H, W) class ids; void is left out.
        weights: (N, K) what a pixel of each class counts in each picture: its class's weight by
            the step's divisor.
        batches: over so many the losses of regions are averaged.

    Returns:
        A scalar float32; 0, with zero gradient, when every pixel is void.
    """
    losses, by_pixel = cross_entropy(scores, labels), pixel_weights(labels, weights)
    if aim.hard < 1:
        by_pixel = hardest(losses, by_pixel, aim.hard, aim.hard_below)
    if aim.border:
        by_pixel = by_pixel * border_weights(labels, aim.border)
    if aim.focal:
        losses = focal(losses, aim.focal)
    total = aim.cross_entropy * (by_pixel * losses).sum()
    for name, factor in aim.regions.items():
        total = total + factor / batches * REGIONS[name](scores, labels)
    return total
