"""The published geometry of pytorch-fcn's nets (wkentaro/pytorch-fcn, torchfcn/models), in numbers.

Pad 100 on conv1_1, 2x2 pools that round up, fc6 7x7 without pad, Dropout2d, deconvolutions without
bias, crops that begin at 19, 27 and 31, 5 and 9. At once, pool4 and pool3 are multiplied by 0.01
and 0.0001 in the code, so that its state dict has the names of the staged net. Nothing of ours is
in here; ``narrow`` divides the trunk's channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCKS = {1: (64, 64), 2: (128, 128), 3: (256,) * 3, 4: (512,) * 3, 5: (512,) * 3}
# upsampling by 2 first, then by the rest; the last crop
LAST = {32: ("upscore", 64, 19), 16: ("upscore16", 32, 27), 8: ("upscore8", 16, 31)}


class TorchFcn(nn.Module):
    """FCN32s, FCN16s, FCN8s, and FCN8sAtOnce."""

    def __init__(self, stride: int, classes: int, narrow: int, *, at_once: bool = False) -> None:
        super().__init__()
        self.stride, self.factors = stride, (0.01, 0.0001) if at_once else (1, 1)
        before = 3
        for i, block in BLOCKS.items():
            for j, channels in enumerate(block, 1):
                pad = 100 if (i, j) == (1, 1) else 1
                self.add_module(f"conv{i}_{j}", nn.Conv2d(before, channels // narrow, 3, 1, pad))
                before = channels // narrow
        self.pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        self.fc6 = nn.Conv2d(before, 4096 // narrow, 7)
        self.fc7 = nn.Conv2d(4096 // narrow, 4096 // narrow, 1)
        self.drop = nn.Dropout2d()
        self.score_fr = nn.Conv2d(4096 // narrow, classes, 1)
        if stride < 32:
            self.score_pool4 = nn.Conv2d(512 // narrow, classes, 1)
            self.upscore2 = nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        if stride < 16:
            self.score_pool3 = nn.Conv2d(256 // narrow, classes, 1)
            self.upscore_pool4 = nn.ConvTranspose2d(classes, classes, 4, 2, bias=False)
        name, kernel, self.offset = LAST[stride]
        self.last = name
        up = nn.ConvTranspose2d(classes, classes, kernel, stride, bias=False)
        self.add_module(name, up)
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                _bilinear(module.weight.data)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W), BGR less the mean, to scores (N, K, H, W)."""
        height, width = x.shape[-2:]
        pools = {}
        for i, block in BLOCKS.items():
            for j in range(1, len(block) + 1):
                x = self.get_submodule(f"conv{i}_{j}")(x).relu()
            x = pools[i] = self.pool(x)
        x = self.drop(self.fc6(x).relu())
        x = self.score_fr(self.drop(self.fc7(x).relu()))
        if self.stride < 32:
            x = self.upscore2(x)
            x = x + _cut(self.score_pool4(pools[4] * self.factors[0]), 5, *x.shape[-2:])
        if self.stride < 16:
            x = self.upscore_pool4(x)
            x = x + _cut(self.score_pool3(pools[3] * self.factors[1]), 9, *x.shape[-2:])
        return _cut(self.get_submodule(self.last)(x), self.offset, height, width)


def _cut(x: Tensor, at: int, height: int, width: int) -> Tensor:
    return x[:, :, at : at + height, at : at + width]


def _bilinear(weight: Tensor) -> None:
    """1 - |i - centre| / factor along each axis, from every class to itself."""
    k = weight.shape[-1]
    ramp = 1 - (torch.arange(k) - (k - 1) / 2).abs() / ((k + 1) // 2)
    weight.zero_()
    for i in range(len(weight)):
        weight[i, i] = torch.outer(ramp, ramp)
