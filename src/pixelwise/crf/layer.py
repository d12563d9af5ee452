"""Mean field as a layer that trains with a net.

Zheng et al.: Conditional Random Fields as Recurrent Neural Networks (2015). As there, the kernels'
weights (one for each class) and the compatibility are learned, their deviations are not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.crf.lattice import build, features
from pixelwise.crf.mean_field import REACH, each
from pixelwise.crf.messages import smoothing
from pixelwise.crf.parameters import PRESETS, DenseCrf
from pixelwise.errors import UsageError

Kernel = Callable[[Tensor], Tensor]


class MeanField(nn.Module):
    """A few steps of mean field; before training those of ``crf``, with Potts' compatibility.

    Five steps are enough in training (the paper, section 6), ten in use: ``steps`` may be changed.
    """

    def __init__(self, classes: int, crf: DenseCrf = PRESETS["deeplab"], *, steps: int = 5) -> None:
        super().__init__()
        self.crf, self.steps = crf, steps
        self.appearance = nn.Parameter(torch.full((classes, 1, 1), float(crf.appearance)))
        self.smoothness = nn.Parameter(torch.full((classes, 1, 1), float(crf.smoothness)))
        self.compatibility = nn.Parameter(1 - torch.eye(classes))

    def forward(self, scores: Tensor, images: Tensor) -> Tensor:
        """Scores before softmax, (N, K, H, W), corrected by the pictures.

        Args:
            scores: (N, K, H, W), before softmax.
            images: (N, B, H, W), in the units of ``crf.appearance_rgb``; they get no gradient.

        Raises:
            UsageError: U002 the sizes differ, or the number of classes.
        """
        wanted = (len(scores), len(self.appearance), *images.shape[2:])
        if tuple(scores.shape) != wanted:
            raise UsageError("U002", f"scores are {(*scores.shape,)}, expected {wanted}")
        return torch.stack([self._refined(*pair) for pair in zip(scores, images, strict=True)])

    def _refined(self, scores: Tensor, image: Tensor) -> Tensor:
        near, alike = smoothness(scores, self.crf), appearance(scores, image, self.crf)
        made = scores
        for _ in range(self.steps):
            shares = made.softmax(0)
            heard = self.smoothness * near(shares) + self.appearance * alike(shares)
            made = scores - torch.einsum("ij,jhw->ihw", self.compatibility, heard)
        return made


def smoothness(scores: Tensor, crf: DenseCrf) -> Kernel:
    """D^-1/2 K D^-1/2 over positions, for maps like ``scores`` (K, H, W)."""
    reach = math.inf if crf.is_exact(scores[0].numel()) else REACH
    lines = [smoothing(n, crf.smoothness_xy, reach, 1.0) for n in scores.shape[1:]]
    down, across = ([torch.from_numpy(step).to(scores) for step in line] for line in lines)

    def smoothed(shares: Tensor) -> Tensor:
        for step in down:
            shares = step @ shares
        for step in across:
            shares = shares @ step.T
        return shares

    return smoothed


def appearance(scores: Tensor, image: Tensor, crf: DenseCrf) -> Kernel:
    """As ``smoothness``, over positions and colours; of operations that torch goes back through."""
    picture = np.ascontiguousarray(image.detach().permute(1, 2, 0).cpu().numpy())
    if crf.is_exact(scores[0].numel()):
        points = torch.from_numpy(features(picture, crf.appearance_xy, crf.appearance_rgb))
        pairs = torch.cdist(points.to(scores), points.to(scores)).square().mul(-0.5).exp()
        norm = pairs.sum(1).rsqrt()
        pairs = norm * pairs * norm[:, None]
        return lambda given: (given.flatten(1) @ pairs).reshape(given.shape)
    rows = [0, len(picture)]
    built = build(picture, crf.appearance_xy, crf.appearance_rgb, 1.0, rows, each)
    corners = torch.from_numpy(built.spread.columns[built.corners].T).long().to(scores.device)
    shares = torch.from_numpy(built.shares.T).to(scores)[..., None]
    triples = [torch.from_numpy(blur.columns.reshape(-1, 3).T) for blur in built.blurs]
    beside = [triple[1:].long().to(scores.device) for triple in triples]

    def filtered(given: Tensor) -> Tensor:
        pixels = given.flatten(1).T
        table = pixels.new_zeros(beside[0].shape[1], pixels.shape[1])
        made = torch.zeros_like(pixels)
        for corner, share in zip(corners, shares, strict=True):
            table = table.index_add(0, corner, share * pixels)
        for after, before in beside:
            table = table + 0.5 * (table[after] + table[before])
        for corner, share in zip(corners, shares, strict=True):
            made = made + share * table[corner]
        return made.T.reshape(given.shape)

    return filtered
