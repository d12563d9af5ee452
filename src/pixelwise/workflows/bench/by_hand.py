"""FCN-8s-VGG16 as pytorch-fcn's users have it: its published geometry in torch's own functions.

Pad 100, ceil pools, dense deconvolution kernels, crops, NCHW, a map of all scores; nothing of ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


def tent(classes: int, kernel: int) -> Tensor:
    """Caffe's bilinear filler, one kernel for each pair of classes: zero off the diagonal."""
    f = (kernel + 1) // 2
    c = (kernel - 1) / (2 * f)
    line = torch.tensor([1 - abs(x / f - c) for x in range(kernel)])
    return torch.eye(classes)[:, :, None, None] * torch.outer(line, line)


def by_hand(image: Tensor, w: Mapping[str, Tensor], kernels: list[Tensor]) -> Tensor:
    """(N, 3, H, W) to scores (N, K, H, W).

    Args:
        image: blue, green, red less the mean pixel.
        w: weights and biases by the paper's layer names.
        kernels: ``tent`` of 4, 4 and 16.
    """

    def conv(x: Tensor, name: str, pad: int = 0) -> Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=pad)

    def crop(x: Tensor, at: int, like: Tensor) -> Tensor:
        height, width = like.shape[-2:]
        return x[:, :, at : at + height, at : at + width]

    x, pools = image, {}
    for block, depth in enumerate((2, 2, 3, 3, 3), 1):
        for i in range(1, depth + 1):
            x = F.relu(conv(x, f"conv{block}_{i}", 100 if (block, i) == (1, 1) else 1))
        x = pools[block] = F.max_pool2d(x, 2, 2, ceil_mode=True)
    x = F.relu(conv(F.relu(conv(x, "fc6")), "fc7"))
    x = F.conv_transpose2d(conv(x, "score_fr"), kernels[0], stride=2)
    x = x + crop(conv(pools[4], "score_pool4"), 5, x)
    x = F.conv_transpose2d(x, kernels[1], stride=2)
    x = x + crop(conv(pools[3], "score_pool3"), 9, x)
    return crop(F.conv_transpose2d(x, kernels[2], stride=8), 31, image)
