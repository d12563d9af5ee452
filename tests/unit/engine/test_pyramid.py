"""Pyramid pooling by products with matrices is torch's own, forwards and backwards."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from pixelwise.engine import pyramid

SIZES = [(1, 1), (1, 7), (5, 6), (13, 9), (12, 12)]


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "trains_on_gpu", lambda x: x.requires_grad)


def maps(size: tuple[int, int]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, *size, generator=generator, dtype=torch.float64).requires_grad_()


def assert_alike(x: torch.Tensor, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    weights = torch.arange(theirs.numel(), dtype=torch.float64).view_as(theirs) + 1
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
    back = [torch.autograd.grad((y * weights).sum(), x)[0] for y in (ours, theirs)]
    assert torch.allclose(*back, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bins", [1, 2, 3, 6])
def test_means_over_parts_are_those_of_torch(size: tuple[int, int], bins: int) -> None:
    x = maps(size)
    assert_alike(x, pyramid.pool(x, bins=bins), F.adaptive_avg_pool2d(x, bins))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wanted", [(1, 1), (4, 11), (13, 13)])
def test_resized_maps_are_those_of_torch(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    x = maps(size)
    theirs = F.interpolate(x, wanted, mode="bilinear", align_corners=True)
    assert_alike(x, pyramid.resize(x, torch.empty(1, 1, *wanted)), theirs)
