"""Momentum p on batches of k pictures is momentum p^(1/k) on single ones (PAMI, section 4.2).

In this sense: let a batch's gradient be the sum over its k pictures. Then each picture moves the
weights by lr / (1 - p) times its gradient in the end, and what is still to come of that shrinks by
p with each batch. Online, with momentum q = p^(1/k) and the rate lr (1 - q) / (1 - p), the end is
the same and what is to come shrinks by q^k = p over as many pictures. Both are exact. The paths
differ by what lies within a batch: there q has begun to forget and p has not.
"""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

P, K = 0.9, 20
Q = P ** (1 / K)


def test_the_numbers_of_the_paper() -> None:
    """0.9 for twenty is 0.99475 for one; the heavy 0.99 is a batch momentum of 0.818."""
    assert round(Q, 5) == 0.99475
    assert round(0.99**K, 3) == 0.818


def moved(gradients: Tensor, lr: float, momentum: float) -> Tensor:
    """Where SGD takes a weight that begins at zero, step by step."""
    weight = nn.Parameter(torch.zeros((), dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=lr, momentum=momentum)
    path = []
    for gradient in gradients:
        weight.grad = gradient.clone()
        optimizer.step()
        path.append(weight.detach().clone())
    return torch.stack(path)


def test_each_picture_moves_as_far_and_what_is_to_come_fades_as_fast() -> None:
    """Gradients that do not depend on the weights; after a hundred batches there are none."""
    torch.manual_seed(0)
    pictures = torch.zeros(250 * K, dtype=torch.float64)
    pictures[: 100 * K] = torch.randn(100 * K, dtype=torch.float64)
    batches = moved(pictures.view(-1, K).sum(1), 0.1, P)
    online = moved(pictures, 0.1 * (1 - Q) / (1 - P), Q)[K - 1 :: K]
    end = -0.1 / (1 - P) * pictures.sum()
    assert batches[-1].item() == pytest.approx(end.item(), rel=1e-7)
    assert online[-1].item() == pytest.approx(end.item(), rel=1e-7)
    for path in (batches, online):
        left = end - path[99:150]
        torch.testing.assert_close(left[1:] / left[:-1], torch.full_like(left[1:], P))


def train(
    net: nn.Module, pictures: Tensor, truth: Tensor, k: int, lr: float, momentum: float
) -> Tensor:
    """The summed loss, k pictures a step; the weights afterwards as one vector."""
    net = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=momentum)
    for x, y in zip(pictures.split(k), truth.split(k), strict=True):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y, reduction="sum").backward()
        optimizer.step()
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def test_a_small_net_goes_the_same_way() -> None:
    """Two convolutions, 800 pictures in a fixed order, in float64: 1.1 % of what was moved apart.

    With p itself online, at a rate that moves as far for each picture, 14 %: what ten batches
    hold back is then there at once.
    """
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 1)).double()
    pictures = torch.randn(40 * K, 2, 7, 7, dtype=torch.float64)
    mixed = F.avg_pool2d(pictures, 3, 1)
    truth = (mixed[:, 0] > 0).long() + (mixed[:, 1] > 0.1).long()
    start = torch.cat([p.detach().flatten() for p in net.parameters()])
    batches = train(net, pictures, truth, K, 1e-5, P)
    online = train(net, pictures, truth, 1, 1e-5 * (1 - Q) / (1 - P), Q)
    same = train(net, pictures, truth, 1, 1e-5, P)
    distance = (batches - start).norm()
    assert (online - batches).norm() < 0.02 * distance
    assert (same - batches).norm() > 0.1 * distance
