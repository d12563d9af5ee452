"""Losses of heads that give numbers: distances on the scale of their scores, and HED's of edges."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.losses.settings import Form
from pixelwise.nets.kinds import EDGES, Kind

INVARIANT = 0.5  # of the error in scale, that is forgiven (Eigen et al. 2014, equation 4)


def measured_loss(scores: Tensor, labels: Tensor, kind: Kind, form: Form) -> Tensor:
    """(N,) loss of each picture, summed over its known values.

    Both are (N, P, H, W); in labels NaN is void. Of numbers ``d`` is their difference on the scale
    of scores, where units do not matter: |d|, its square, or (log) the sum of squares less half the
    square of the sum over the count. Of edges it is the sigmoid's cross-entropy, an edge weighted
    by the picture's share of what is none, and the reverse (Xie and Tu 2015, equation 2).
    """
    known, each = labels.isfinite(), (1, 2, 3)
    count = known.sum(each).clamp_min(1)
    if kind.kind == EDGES:
        truth = labels.where(known, 0)
        none = (1 - truth.sum(each) / count)[:, None, None, None]
        weights = torch.where(truth > 0, none, 1 - none) * known
        loss = F.binary_cross_entropy_with_logits(scores.float(), truth, weights, reduction="none")
        return loss.sum(each)
    centre, spread = (labels.new_tensor(row).view(-1, 1, 1) for row in (kind.centre, kind.spread))
    wanted = ((labels.log() if kind.log else labels) - centre) / spread
    apart = (scores.float() - wanted).where(known, 0)
    if form == "l1":
        return apart.abs().sum(each)
    shared = apart.sum(each).square() / count if form == "log" else 0
    return apart.square().sum(each) - INVARIANT * shared
