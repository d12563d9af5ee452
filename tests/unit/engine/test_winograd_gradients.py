"""Winograd's convolution in training: values and gradients beside float64's, the same each time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.engine import winograd_gradients
from pixelwise.engine.build import build
from pixelwise.engine.kernels import unavailable
from pixelwise.engine.winograd_gradients import served, train_quickly

pytestmark = pytest.mark.skipif(bool(unavailable()), reason="no kernels here")

LAST = torch.channels_last


def conv(channels: int, width: int, pad: int, *, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(channels)
    return nn.Conv2d(channels, width, 3, padding=pad, bias=bias).to(memory_format=LAST)


def maps(*shape: int) -> Tensor:
    torch.manual_seed(shape[2])
    return torch.randn(shape).contiguous(memory_format=LAST).requires_grad_()


def step(plain: nn.Conv2d, x: Tensor, towards: Tensor | None = None) -> list[Tensor]:
    """Values and gradients."""
    train_quickly(plain)
    y = plain(x)
    towards = torch.ones_like(y) if towards is None else towards
    return [y, *torch.autograd.grad(y, (x, *plain.parameters()), towards)]


@pytest.fixture(autouse=True)
def few_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small maps are served too."""
    monkeypatch.setattr(winograd_gradients, "TILES", 1)


@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize(
    ("batch", "channels", "width", "size"),
    [(1, 32, 32, (7, 7)), (2, 40, 70, (9, 30)), (3, 33, 97, (21, 6)), (1, 64, 64, (99, 50))],
)
def test_values_and_gradients_are_those_of_float64(
    batch: int, channels: int, width: int, size: tuple[int, int], pad: int
) -> None:
    plain, x = conv(channels, width, pad), maps(batch, channels, *size)
    towards = torch.randn(F.conv2d(x.float(), plain.weight, padding=pad).shape)
    made = step(plain, x, towards)
    wide_x, *wide = (t.detach().double().requires_grad_() for t in (x, *plain.parameters()))
    wide_y = F.conv2d(wide_x, *wide, padding=pad)
    right = [wide_y, *torch.autograd.grad(wide_y, (wide_x, *wide), towards.double())]
    for mine, truth in zip(made, right, strict=True):
        error = (mine.double() - truth).abs().max() / truth.abs().max()
        assert error <= 1e-5


def test_the_same_bits_wherever_memory_lies_and_however_many_threads() -> None:
    plain, x = conv(48, 80, 1), maps(2, 48, 70, 70)
    first, threads = step(plain, x), torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            moved = torch.empty(x.numel() + 1)[1:].view(2, 70, 70, 48).permute(0, 3, 1, 2)
            moved = moved.copy_(x.detach()).requires_grad_()
            for _ in range(3):
                again = step(plain, moved)
                assert all(torch.equal(a, b) for a, b in zip(first[:3], again[:3], strict=True))
    finally:
        torch.set_num_threads(threads)


def test_a_map_in_another_order_and_weights_too() -> None:
    plain, x = conv(32, 48, 1, bias=False), maps(2, 32, 12, 12)
    right = step(plain, x)
    found = step(
        plain.to(memory_format=torch.contiguous_format), x.detach().contiguous().requires_grad_()
    )
    assert all(torch.equal(a, b) for a, b in zip(right, found, strict=True))


def test_what_needs_no_gradient_gets_none() -> None:
    plain = conv(32, 32, 1)
    plain.weight.requires_grad_(False)
    train_quickly(plain)
    y = plain(maps(1, 32, 9, 9).detach())
    y.sum().backward()
    assert plain.weight.grad is None
    assert torch.equal(plain.bias.grad, torch.full((32,), 81.0))


def test_outside_training_it_is_torchs_convolution_bit_for_bit() -> None:
    plain, x = conv(32, 32, 1), maps(1, 32, 20, 20)
    right = plain(x)
    train_quickly(plain)
    assert not torch.equal(plain(x), right)
    assert torch.equal(plain.eval()(x), right)
    with torch.no_grad():
        assert torch.equal(plain.train()(x), right)
    assert not served(x.double(), plain.weight.double(), 1)
    with torch.autocast("cpu", torch.bfloat16):
        made = plain.train()(x)
    assert made.dtype == torch.bfloat16
    assert torch.equal(
        made, F.conv2d(x.bfloat16(), plain.weight.bfloat16(), plain.bias.bfloat16(), padding=1)
    )


def test_which_convolutions_of_a_net_go_this_way() -> None:
    with torch.device("meta"):
        network = build("fcn8s-vgg16", classes=5)
    train_quickly(network)
    convs = {name: m for name, m in network.named_modules() if isinstance(m, nn.Conv2d)}
    ways = {name for name, conv in convs.items() if "forward" in vars(conv)}
    assert ways == {name for name in convs if name.startswith("conv")} - {"conv1_1"}
    others = [
        nn.Conv2d(32, 32, 3, stride=2),
        nn.Conv2d(32, 32, 3, dilation=2),
        nn.Conv2d(64, 64, 3, groups=2),
        nn.Conv2d(32, 32, 1),
    ]
    train_quickly(nn.ModuleList(others))
    assert not any("forward" in vars(conv) for conv in others)
