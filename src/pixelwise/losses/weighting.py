"""Class weights from pixel counts; the paper found them unnecessary, rare things may differ."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Scheme = Literal["none", "median", "enet", "sqrt", "inverse", "effective"]


def class_weights(
    pixels: NDArray[np.int64], in_images: NDArray[np.int64], scheme: Scheme
) -> NDArray[np.float32]:
    """A factor for each class; 0 for classes that never occur.

    Args:
        pixels: (K,) pixels of each class over the training split.
        in_images: (K,) pixels of all images in which the class occurs.
        scheme: ``none``: 1; ``median``: median frequency / frequency (Eigen and Fergus 2015: a
            class's frequency counts only images that contain it); ``enet``: 1 / ln(1.02 + share)
            (Paszke et al. 2016, section 5.2); ``sqrt``: 1 / sqrt(share), mildest of the three;
            ``inverse``: 1 / share; ``effective``: (1 - beta) / (1 - beta ** pixels) (Cui et al.
            2019, equation 2) with beta = 1 - 1 / (an equal share of the pixels): frequent
            classes weigh nearly alike, rare ones as by ``inverse``. Cui's betas, 0.9 to 0.9999,
            are of pictures; of millions of pixels they would weigh all classes alike.

    Returns:
        (K,) weights scaled so that the average pixel weighs 1: the loss keeps its size.
    """
    present = pixels > 0
    share = pixels / max(1, pixels.sum())
    weights = present.astype(np.float64)
    match scheme:
        case "median":
            frequency = pixels[present] / in_images[present]
            weights[present] = np.median(frequency) / frequency
        case "enet":
            weights[present] = 1 / np.log(1.02 + share[present])
        case "sqrt":
            weights[present] = 1 / np.sqrt(share[present])
        case "inverse":
            weights[present] = 1 / share[present]
        case "effective":  # beta ** pixels, in the limit of many: exp(-pixels / equal share)
            weights[present] = 1 / -np.expm1(-len(pixels) * share[present])
        case "none":
            return weights.astype(np.float32)
    scaled: NDArray[np.float64] = weights / max(float((weights * share).sum()), 1e-12)
    return scaled.astype(np.float32)
