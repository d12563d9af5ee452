"""Mean field as a layer that trains with a net.

Zheng et al.: Conditional Random Fields as Recurrent Neural Networks (2015). As there, the kernels'
weights (one for each class) and the compatibility are learned, their deviations are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from pixelwise.crf.lattice import build, features
from pixelwise.crf.mean_field import REACH, each
from pixelwise.crf.messages import smoothing
from pixelwise.crf.parameters import PRESETS, DenseCrf
from pixelwise.errors import UsageError


class MeanField(nn.Module):
    """A few steps of mean field; before training those of ``crf``, with Potts' compatibility.

    Five steps are enough in training (the paper, section 6), ten in use: ``steps`` may be changed.
    """

    def __init__(self, classes: int, crf: DenseCrf = PRESETS["deeplab"], *, steps: int = 5) -> None:
        super().__init__()
        self.crf, self.steps = crf, steps
        self.appearance = nn.Parameter(torch.full((classes,), float(crf.appearance)))
        self.smoothness = nn.Parameter(torch.full((classes,), float(crf.smoothness)))
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
        made = [self._refined(s, i.detach()) for s, i in zip(scores, images, strict=True)]
        return torch.stack(made)

    def _refined(self, scores: Tensor, image: Tensor) -> Tensor:
        near, alike = _smoothness(scores, self.crf), _appearance(scores, image, self.crf)
        classes = (-1, 1, 1)
        made = scores
        for _ in range(self.steps):
            shares = made.softmax(0)
            heard = self.smoothness.view(classes) * near(shares)
            heard = heard + self.appearance.view(classes) * alike(shares)
            made = scores - torch.einsum("ij,jhw->ihw", self.compatibility, heard)
        return made


@dataclass(frozen=True)
class _Lines:
    """D^-1/2 K D^-1/2 over positions: matrices from the left, and from the right."""

    down: list[Tensor]
    across: list[Tensor]

    def __call__(self, shares: Tensor) -> Tensor:
        for matrix in self.down:
            shares = matrix @ shares
        for matrix in self.across:
            shares = shares @ matrix.T
        return shares


@dataclass(frozen=True)
class _Lattice:
    """D^-1/2 K D^-1/2 over positions and colours, in operations that torch can go back through."""

    corners: Tensor
    """(d + 1, H * W): of each pixel, in the table of all."""
    shares: Tensor
    """(d + 1, H * W, 1)."""
    beside: list[Tensor]
    """For each direction (2, M): of each corner those on both sides."""

    def __call__(self, given: Tensor) -> Tensor:
        pixels = given.flatten(1).T
        table = pixels.new_zeros(self.beside[0].shape[1], pixels.shape[1])
        for corner, share in zip(self.corners, self.shares, strict=True):
            table = table.index_add(0, corner, share * pixels)
        for after, before in self.beside:
            table = table + 0.5 * (table[after] + table[before])
        parts = zip(self.corners, self.shares, strict=True)
        return sum(share * table[corner] for corner, share in parts).T.reshape(given.shape)


@dataclass(frozen=True)
class _Pairs:
    """As ``_Lattice``, of all pairs of pixels."""

    kernel: Tensor

    def __call__(self, given: Tensor) -> Tensor:
        return (given.flatten(1) @ self.kernel).reshape(given.shape)


def _smoothness(scores: Tensor, crf: DenseCrf) -> _Lines:
    reach = math.inf if crf.is_exact(scores[0].numel()) else REACH
    lines = [smoothing(n, crf.smoothness_xy, reach, 1.0) for n in scores.shape[1:]]
    down, across = ([torch.from_numpy(m).to(scores) for m in line] for line in lines)
    return _Lines(down, across)


def _appearance(scores: Tensor, image: Tensor, crf: DenseCrf) -> _Lattice | _Pairs:
    picture = np.ascontiguousarray(image.permute(1, 2, 0).cpu().numpy())
    if crf.is_exact(scores[0].numel()):
        points = torch.from_numpy(features(picture, crf.appearance_xy, crf.appearance_rgb))
        kernel = torch.cdist(points.to(scores), points.to(scores)).square().mul(-0.5).exp()
        norm = kernel.sum(1).rsqrt()
        return _Pairs(norm * kernel * norm[:, None])
    rows = [0, picture.shape[0]]
    built = build(picture, crf.appearance_xy, crf.appearance_rgb, 1.0, rows, each)
    corners = torch.from_numpy(built.spread.columns[built.corners].T.astype(np.int64))
    beside = [
        torch.from_numpy(b.columns.reshape(-1, 3).T[1:].astype(np.int64)) for b in built.blurs
    ]
    shares = torch.from_numpy(built.shares.T.copy()).to(scores)[..., None]
    return _Lattice(corners.to(scores.device), shares, [b.to(scores.device) for b in beside])
