"""Pools and normalisation by the kernels, against torch's in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.convolutions import Convolutions
from pixelwise.engine.fusing import plan
from pixelwise.engine.kernels import unavailable
from pixelwise.engine.layout import layout_for, maps_in
from pixelwise.engine.network import Network
from pixelwise.nets.layers import Lrn
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import MaxPool

pytestmark = pytest.mark.skipif(bool(unavailable()), reason="no kernels here")


def carried_out(net: Net, x: Tensor) -> Tensor:
    """What the plan makes of (N, C, H, W); memory that nobody writes is infinite."""
    made = plan(net)
    layout = layout_for(made, len(x), *x.shape[2:])
    maps = maps_in(torch.full((layout.length,), math.inf), layout)
    first, last = made.ops
    maps.computed(first).copy_(x.permute(0, 2, 3, 1))
    Convolutions(Network(net)).work(last, maps)()
    return maps.computed(last).permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", [(3, 3), (7, 12), (20, 31)])
@pytest.mark.parametrize(
    "pool",
    [
        MaxPool("pool", ("data",)),
        MaxPool("pool", ("data",), 3, 2),
        MaxPool("pool", ("data",), 3, 1, 1),
        MaxPool("pool", ("data",), 3, 2, (0, 1), ceil=False),
        MaxPool("pool", ("data",), 2, 1, 0, dilation=2),
        MaxPool("pool", ("data",), 2, 1, (0, 3), False, dilation=3),
        MaxPool("pool", ("data",), 3, 1, 4, False, dilation=4),
    ],
    ids=str,
)
def test_a_pool_takes_the_largest_of_the_cells_that_are_there(
    pool: MaxPool, size: tuple[int, int]
) -> None:
    net, x = Net(), torch.randn(2, 19, *size) - 5
    net.data(19)
    net.add(pool)
    with torch.no_grad():
        expected = Network(net)(x)
    assert torch.equal(carried_out(net, x), expected)


def test_a_pool_passes_on_what_is_no_number_wherever_it_stands() -> None:
    net, x = Net(), torch.randn(1, 5, 9, 9)
    net.data(5)
    net.add(MaxPool("pool", ("data",), 3, 3))
    for tap in range(9):
        x[0, tap % 5, 3 * (tap // 3) + tap // 3, 3 * (tap % 3) + tap % 3] = math.nan
    found = carried_out(net, x).isnan()
    assert torch.equal(found, F.max_pool2d(x.isnan().float(), 3, 3) > 0)


@pytest.mark.parametrize("channels", [1, 3, 16, 50])
@pytest.mark.parametrize("window", [2, 5])
def test_normalisation_sums_the_squares_of_near_channels(window: int, channels: int) -> None:
    net, x = Net(), 30 * torch.randn(2, channels, 4, 5)
    net.data(channels)
    net.add(Lrn("norm", ("data",), window, 0.01, 0.75, 2.0))
    squares = F.pad(x.double().square(), (0, 0, 0, 0, window // 2, (window - 1) // 2))
    total = sum(squares[:, i : i + channels] for i in range(window))
    expected = x.double() * (2 + 0.01 / window * total) ** -0.75
    torch.testing.assert_close(carried_out(net, x).double(), expected, rtol=1e-6, atol=0)
