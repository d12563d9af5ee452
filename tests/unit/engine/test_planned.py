"""The planned runner gives the network's scores, whatever the net, the size and the day."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelwise.engine import convolutions
from pixelwise.engine.fusing import leading_to
from pixelwise.engine.layout import layout_for
from pixelwise.engine.needs import of_layout
from pixelwise.engine.network import Network
from pixelwise.engine.planned import PlannedRunner, runner, unplanned
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import NumericalError, UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.layers import Deconv
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import AvgPool
from random_nets import nets
from random_weights import shaken

CPU = torch.device("cpu")
RELATIVE = 1e-5
"""Of the largest score."""


@cache
def narrow(name: str) -> tuple[PlannedRunner, TorchRunner]:
    slim = any(word in name for word in ("tiny", "mobilenet", "efficientnet"))
    network = shaken(Network(spec(name, width=1 / 4 if slim else 1 / 16)))
    return PlannedRunner(network), TorchRunner(network)


def assert_same(planned: PlannedRunner, plain: TorchRunner, x: torch.Tensor) -> None:
    found, expected = planned.maps(x), plain.maps(x)
    assert list(found) == list(expected)
    for head, scores in expected.items():
        mine, theirs = found[head], scores
        assert mine.window == theirs.window
        assert mine.upsampling is theirs.upsampling
        limit = RELATIVE * float(theirs.cells.abs().max())
        torch.testing.assert_close(mine.cells, theirs.cells, rtol=0, atol=limit)
        best = theirs.whole()
        gap = best.topk(2, 1).values.diff(dim=1).abs()[:, 0]
        assert (mine.labels() == theirs.labels())[gap > 2 * limit].all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 180), st.integers(1, 180))
def test_the_constant_border_is_skipped_exactly_at_every_size(height: int, width: int) -> None:
    planned, plain = narrow("fcn32s-vgg16")
    assert_same(planned, plain, torch.randn(1, 3, height, width))


# -- random nets ----------------------------------------------------------------------------------
@settings(max_examples=60, deadline=None)
@given(nets(unpooling=False), st.integers(1, 40), st.integers(1, 40), st.integers(1, 2))
def test_random_nets_of_random_sizes(net: Net, height: int, width: int, batch: int) -> None:
    planned, plain = PlannedRunner(shaken(Network(net))), TorchRunner(shaken(Network(net)))
    x = torch.randn(batch, 2, height, width)
    try:
        planned.net.sizes(height), planned.net.sizes(width)
    except UsageError:
        with pytest.raises(UsageError):
            planned.maps(x)
        return
    if not float(plain.maps(x)["score"].cells.abs().max()):
        return  # a net that is dead everywhere
    assert_same(planned, plain, x)


@pytest.mark.parametrize("window", [(2, 2, 0), (2, 2, 1), (3, 3, 1), (2, 3, 0)])
@pytest.mark.parametrize("ceil", [True, False])
def test_values_go_back_to_the_first_of_equal_maxima(
    window: tuple[int, int, int], ceil: bool
) -> None:
    """In whole numbers, which no order of sums rounds: windows have many equals."""
    net = Net()
    x = net.conv("a", net.data(2), 5, kernel=3, pad=1, relu="ra")
    small = net.max_pool("pool", x, *window, ceil=ceil, indices=True)
    y = net.unpool("back", net.conv("b", small, 5, kernel=3, pad=1), small)
    net.score("score", y, 3)
    network = Network(net)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randint(-2, 3, p.shape))
    x = torch.randint(-3, 4, (2, 2, 23, 17)).float()
    (found,), (expected,) = (r(network).maps(x).values() for r in (PlannedRunner, TorchRunner))
    assert expected.cells.std() > 1
    assert torch.equal(found.cells, expected.cells)


def test_layers_without_a_window_see_the_whole_map() -> None:
    net = Net()
    x = net.conv("a", net.data(1), 4, kernel=3, pad=20, relu="r")
    x = net.add(Deconv("up", (net.add(AvgPool("mean", (x,), 3)),), 4, 4, 2))
    net.score("score", x, 3)
    network = shaken(Network(net))
    assert_same(PlannedRunner(network), TorchRunner(network), torch.randn(2, 1, 9, 13))


# -- low memory -----------------------------------------------------------------------------------
@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize(
    "name", ["fcn8s-vgg16", "fcn4s-resnet50", "fcn4s-googlenet", "siftflow-fcn8s"]
)
def test_in_low_memory_large_weights_are_not_kept_and_no_bit_differs(
    name: str, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not ours:
        monkeypatch.setattr(convolutions, "unavailable", lambda: "switched off")
    monkeypatch.setattr(convolutions, "PIECE", 2**12)
    network = narrow(name)[0].network
    fast, low = PlannedRunner(network), PlannedRunner(network, memory="low")
    for size in ((45, 66), (97, 61)):
        x = torch.randn(1, sum(fast.net.inputs.values()), *size)
        found, expected = low.maps(x), fast.maps(x)
        for head, scores in expected.items():
            limit = 0 if ours else RELATIVE * float(scores.cells.abs().max())
            torch.testing.assert_close(found[head].cells, scores.cells, rtol=0, atol=limit)
    kept, all_of_them = low._convolutions.packed.keys(), fast._convolutions.packed.keys()
    assert kept < all_of_them


def test_a_map_that_is_added_to_what_is_made_of_it_is_whole_in_low_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(convolutions, "PIECE", 2**10)
    net = Net()
    x = net.conv("a", net.data(1), 70, kernel=3, pad=1, relu="ra")
    x = net.sum("sum", x, net.conv("b", x, 70, kernel=3, pad=1))
    net.score("score", x, 3)
    network, x = shaken(Network(net)), torch.randn(1, 1, 9, 13)
    found = PlannedRunner(network, memory="low").maps(x)["score"].cells
    assert torch.equal(found, PlannedRunner(network).maps(x)["score"].cells)


def test_the_blank_picture_is_carried_out_as_far_as_constants_are_read() -> None:
    planned, _ = narrow("fcn8s-vgg16")
    made = [op.name for op in leading_to(planned.plan, ["pool3", "score_pool3"])]
    assert made[0] == "data"
    assert made[-1] == "score_pool3"
    assert "pool4" not in made
    assert "relu6" not in made


# -- its life -------------------------------------------------------------------------------------
def test_the_same_picture_gives_the_same_bits() -> None:
    planned, _ = narrow("fcn4s-googlenet")
    x, other = torch.randn(1, 3, 60, 44), torch.randn(1, 3, 90, 91)
    first = planned.maps(x)["score"].cells
    planned.maps(other)
    assert torch.equal(planned.maps(x)["score"].cells, first)
    assert torch.equal(PlannedRunner(planned.network).maps(x)["score"].cells, first)


def test_weights_that_change_are_packed_again() -> None:
    network = shaken(Network(spec("fcn8s-vgg16", width=1 / 16)))
    planned, plain, x = PlannedRunner(network), TorchRunner(network), torch.randn(1, 3, 20, 30)
    before = planned.maps(x)["score"].cells
    with torch.no_grad():
        network.get_parameter("conv1_1.bias").add_(1)
    assert_same(planned, plain, x)
    assert not torch.equal(planned.maps(x)["score"].cells, before)


def test_it_can_be_copied_and_sent_to_another_process() -> None:
    planned, _ = narrow("fcn4s-tiny")
    x = torch.randn(1, 3, 20, 30)
    expected = planned.maps(x)["score"].cells
    for other in (copy.deepcopy(planned), pickle.loads(pickle.dumps(planned))):
        assert torch.equal(other.maps(x)["score"].cells, expected)


def test_threads_take_turns() -> None:
    planned, _ = narrow("fcn4s-tiny")
    pictures = [torch.randn(1, 3, 20 + i, 31) for i in range(4)]
    expected = [planned.maps(x)["score"].cells for x in pictures]
    found: dict[int, torch.Tensor] = {}

    def label(i: int) -> None:
        for _ in range(5):
            found[i] = planned.maps(pictures[i])["score"].cells

    threads = [threading.Thread(target=label, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(found[i], expected[i]) for i in range(4))


def test_memory_is_kept_and_a_large_block_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    network = shaken(Network(spec("fcn8s-tiny", width=1 / 4)))
    planned = PlannedRunner(network)
    weights, maps, work = of_layout(layout_for(planned.plan, 1, 64, 64), "fast")
    assert planned.needs(64, 64) == weights + maps + work
    planned.maps(torch.randn(1, 3, 64, 64))
    assert planned.needs(64, 64) == work
    smaller = of_layout(layout_for(planned.plan, 1, 32, 32), "fast")
    planned.maps(torch.randn(1, 3, 32, 32))
    assert planned.needs(32, 32) == smaller.work
    larger = of_layout(layout_for(planned.plan, 1, 96, 64), "fast")
    assert planned.needs(96, 64) == larger.maps - maps + larger.work
    assert planned.needs(64, 64, scores=True) - planned.needs(64, 64) == 2 * 4 * 21 * 64 * 64
    monkeypatch.setattr("pixelwise.engine.planned.MEMORY_KEPT", 100)
    planned.maps(torch.randn(1, 3, 32, 32))
    assert planned.needs(32, 32) == smaller.maps + smaller.work
    assert_same(planned, TorchRunner(network), torch.randn(1, 3, 32, 32))


def test_training_mode_comes_back_and_scores_that_are_not_finite_are_refused() -> None:
    network = shaken(Network(spec("fcn8s-tiny", width=1 / 4))).train()
    planned = PlannedRunner(network)
    assert not planned.maps(torch.randn(1, 3, 8, 8))["score"].cells.requires_grad
    assert network.training
    with torch.no_grad():
        network.get_parameter("score_fr.bias")[2] = math.nan
    with pytest.raises(NumericalError, match="not finite"):
        planned.maps(torch.randn(1, 3, 8, 8))


def test_where_the_plan_does_not_serve_the_modules_do() -> None:
    tiny = shaken(Network(spec("fcn8s-tiny", width=1 / 4)))
    assert isinstance(runner(tiny), PlannedRunner)
    assert unplanned(tiny, torch.device("cuda")) == "on cuda"
    assert unplanned(tiny.double(), CPU) == "in torch.float64"
