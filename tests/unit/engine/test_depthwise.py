"""Depthwise convolutions in bf16: torch's values, and gradients as close as torch's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.engine.build import build
from pixelwise.engine.depthwise import slow_in_half, trained
from pixelwise.engine.winograd_gradients import train_quickly

CHANNELS = 16


def conv(side: int, stride: int, pad: int) -> nn.Conv2d:
    torch.manual_seed(side + stride)
    return nn.Conv2d(CHANNELS, CHANNELS, side, stride, pad, groups=CHANNELS, bias=False)


def picture(height: int, width: int) -> Tensor:
    torch.manual_seed(height)
    x = torch.randn(2, CHANNELS, height, width).bfloat16()
    return x.contiguous(memory_format=torch.channels_last).requires_grad_()


def in_half(module: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return module(x)


@pytest.mark.parametrize("side", [3, 4, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("size", [(9, 12), (12, 11)])
def test_gradients_are_those_of_float64_but_for_rounding(
    side: int, stride: int, pad: int, size: tuple[int, int]
) -> None:
    plain, x = conv(side, stride, pad), picture(*size)
    y = in_half(partial(trained, plain), x)
    towards = torch.randn_like(y)
    found = torch.autograd.grad(y, (x, plain.weight), towards)
    wide_x, wide_w = (t.detach().bfloat16().double().requires_grad_() for t in (x, plain.weight))
    wide_y = F.conv2d(wide_x, wide_w, None, stride, pad, groups=CHANNELS)
    for mine, right in zip(
        found, torch.autograd.grad(wide_y, (wide_x, wide_w), towards.double()), strict=True
    ):
        # One rounding to the 8 bits of bf16 is off by 2**-8 of the number at most.
        assert (mine.double() - right).abs().max() <= 2**-8 * right.abs().max()
    assert [g.dtype for g in found] == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("half", [True, False])
def test_values_are_those_of_torch_bit_for_bit(half: bool) -> None:
    plain, x = conv(5, 2, 2), picture(14, 9).detach()
    module = partial(trained, plain)
    x = x if half else x.float()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        assert torch.equal(module(x), plain(x))
        with torch.no_grad():
            assert torch.equal(module(x), plain(x))


def test_full_precision_has_torchs_gradients_bit_for_bit() -> None:
    plain, x = conv(5, 2, 2), picture(14, 9).detach().float().requires_grad_()
    found = torch.autograd.grad(partial(trained, plain)(x).square().sum(), (x, plain.weight))
    right = torch.autograd.grad(plain(x).square().sum(), (x, plain.weight))
    assert all(torch.equal(a, b) for a, b in zip(found, right, strict=True))


def test_what_is_frozen_gets_no_gradient() -> None:
    plain, x = conv(5, 2, 2), picture(9, 9)
    plain.weight.requires_grad_(False)
    in_half(partial(trained, plain), x).sum().backward()
    assert plain.weight.grad is None
    assert x.grad is not None
    plain.weight.requires_grad_()
    in_half(partial(trained, plain), x.detach()).sum().backward()
    assert plain.weight.grad is not None


def test_it_stands_where_onednn_has_no_kernel_and_nowhere_else() -> None:
    network = build("fcn8s-efficientnetlite0", width=1 / 8)
    train_quickly(network)
    ways = [name for name, conv in network.named_modules() if "forward" in vars(conv)]
    assert {"block4_dwise", "block5_dwise"} <= {*ways}  # strided, wide
    assert "block3_dwise" not in ways
    assert not slow_in_half(nn.Conv2d(8, 8, 5, dilation=2, groups=8, bias=False))
    assert not slow_in_half(nn.Conv2d(8, 8, 5, groups=8, bias=True))
    assert not slow_in_half(nn.Conv2d(8, 16, 5, groups=8, bias=False))
    assert not slow_in_half(nn.Conv2d(1, 1, 5, bias=False))
