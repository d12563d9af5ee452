"""Eight bits are what rounding by hand gives, and near float32 on nets of any layers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.engine.calibration import BINS, SHIFT, Counts, closest
from pixelwise.engine.folding import Weights, folded
from pixelwise.engine.fusing import plan
from pixelwise.engine.lowering import convolutions, low_maps
from pixelwise.engine.network import Network
from pixelwise.engine.numbers import Numbers
from pixelwise.engine.planned import PlannedRunner, runner
from pixelwise.engine.quantised import Filters, Quantised
from pixelwise.engine.rounding import unsupported
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.layers import Relu
from pixelwise.nets.net import Net
from random_nets import nets
from random_weights import shaken

needs_int8 = pytest.mark.skipif(bool(unsupported("int8")), reason=unsupported("int8"))


def filters_of(network: Network) -> dict[str, Filters]:
    with torch.inference_mode():
        ops = convolutions(plan(network.net))
        return {op.name: Filters.of(folded(op, network)) for op in ops}


def quantised(network: Network, *pictures: torch.Tensor, exact: tuple[str, ...] = ()) -> Quantised:
    exactly, counts = PlannedRunner(network), Counts()
    exactly.see = counts
    for x in pictures:
        exactly.maps(x)
    own = {name: f for name, f in filters_of(network).items() if name not in exact}
    return Quantised(counts.numbers(plan(network.net)), own)


# -- by hand --------------------------------------------------------------------------------------
def test_filters_have_a_step_each() -> None:
    kernel = torch.tensor([[1.0, -0.5, 0.2], [0, 0, 0], [-254, 127, 3]]).view(3, 3, 1, 1)
    made = Filters.of(Weights(kernel, torch.zeros(3)))
    assert made.weight.flatten(1).tolist() == [[127, -64, 25], [0, 0, 0], [-127, 64, 2]]
    assert made.scale.tolist() == pytest.approx([1 / 127, 1, 2])


@needs_int8
@pytest.mark.parametrize("zero", [0, 100])
@pytest.mark.parametrize("ceiling", [None, math.inf, 6.0])
def test_a_convolution_is_rounded_as_by_hand(zero: int, ceiling: float | None) -> None:
    net = Net()
    x = net.conv("a", net.data(3), 8, kernel=3, pad=1)
    x = x if ceiling is None else net.add(Relu("r", (x,), ceiling))
    x = net.max_pool("p", x)
    net.score("score", x, 2)
    network, generator = shaken(Network(net)), torch.Generator().manual_seed(0)
    made = plan(net).ops[1].name
    held = {"data": Numbers("uint8", 1.0, zero), made: Numbers("uint8", 0.25, 128)}
    own = filters_of(network)
    low = PlannedRunner(network, quantised=Quantised(held, own))
    x = torch.randint(-zero, 256 - zero, (2, 3, 9, 14), generator=generator).float()
    (scores,) = low.maps(x).values()

    weight = own[made].weight.double() * own[made].scale.double()[:, None, None, None]
    y = F.conv2d(x.double(), weight, own[made].bias.double(), padding=1)
    y = y if ceiling is None else y.clamp(0, ceiling)
    y = F.max_pool2d(((y / 0.25).round() + 128).clamp(0, 255), 2, 2, ceil_mode=True)
    last = own["score"].weight.double() * own["score"].scale.double()[:, None, None, None]
    expected = F.conv2d((y - 128) * 0.25, last, own["score"].bias.double())
    # Ties of rounding may fall to the other side in float32: a step times a weight.
    off = (scores.cells - expected).abs()
    assert (off > 1e-4).float().mean() < 0.01
    assert off.max() < 0.5
    assert expected.std() > 1


@needs_int8
def test_a_sum_in_eight_bits_is_added_before_the_relu() -> None:
    net = Net()
    x = net.conv("a", net.data(1), 1, relu="ra")
    y = net.conv("b", x, 1)
    net.score("score", net.add(Relu("r", (net.sum("s", x, y),))), 1)
    network = Network(net).eval()
    with torch.no_grad():
        for name, value in {"a.weight": 1, "b.weight": -3, "score.weight": 1}.items():
            network.get_parameter(name).fill_(value)
        network.get_parameter("b.bias").fill_(20)
    unit = Numbers("uint8", 1.0, 0)
    low = quantised(network, torch.full((1, 1, 1, 1), 9.0))
    low = Quantised(dict.fromkeys(low.numbers, unit), low.filters)
    pixels = torch.tensor([0.0, 1, 5, 8, 9, 12]).view(1, 1, 2, 3)
    (scores,) = PlannedRunner(network, quantised=low).maps(pixels).values()
    # x - 3 x + 20, at zero cut off
    assert scores.cells.flatten().tolist() == [20, 18, 10, 4, 2, 0]


def bins_of(values: np.ndarray) -> np.ndarray:
    codes = values.astype(np.float32).view(np.uint32) >> SHIFT
    return np.bincount(codes.astype(np.int64), minlength=BINS)


def test_what_is_spread_evenly_is_not_cut_off() -> None:
    values = np.linspace(0, 10, 10_000)
    assert closest(bins_of(values), 0.0, 10.0) == Numbers.between(0, 10)
    both = np.linspace(-4, 8, 10_000)
    assert closest(bins_of(both), -4.0, 8.0).scale == pytest.approx(12 / 255)


def test_one_far_value_does_not_make_all_others_coarse() -> None:
    values = np.r_[np.linspace(0, 1, 100_000), 8.0]
    chosen = closest(bins_of(values), 0.0, 8.0)
    # Whole steps of 8 / 255 cost 100,000 * step**2 / 12; cut at 4, half of that is saved for 16.
    steps, error = Numbers.between(0, 8).scale, {}
    for high in (0.8, 1.0, 2.0, 4.0, 8.0):
        error[high] = len(values) * (high / 255) ** 2 / 12 + (8 - high) ** 2
    assert chosen.scale < steps
    assert chosen.scale * 255 == pytest.approx(min(error, key=error.__getitem__), rel=0.3)


def test_zeros_cost_nothing_and_do_not_count() -> None:
    values = np.r_[np.linspace(0.1, 1, 1000), np.zeros(10**6)]
    assert closest(bins_of(values), 0.0, 1.0) == Numbers.between(0, 1)


# -- nets -----------------------------------------------------------------------------------------
@needs_int8
@pytest.mark.parametrize(
    "name",
    ["fcn8s-vgg16", "fcn8s-vgg16-atonce", "fcn4s-googlenet", "fcn4s-resnet18", "fcn8s-mobilenetv2"],
)
def test_scores_in_eight_bits_are_near(name: str) -> None:
    network = shaken(Network(spec(name, width=1 / 4 if "mobile" in name else 1 / 16)))
    seen, other = torch.randn(2, 1, 3, 97, 61)
    plain, low = TorchRunner(network), PlannedRunner(network, quantised=quantised(network, seen))
    assert low.precision == "int8"
    assert {low.plan.computes_in(op) for op in convolutions(low.plan)} == {"uint8"}
    for x in (seen, other, torch.randn(1, 3, 45, 66)):
        (made,), (expected,) = low.maps(x).values(), plain.maps(x).values()
        error = (made.cells - expected.cells).std() / expected.cells.std()
        assert error < 0.2
        assert made.cells.dtype == torch.float32


@needs_int8
@settings(max_examples=40, deadline=None)
@given(nets(), st.integers(1, 40), st.integers(1, 40), st.integers(1, 2))
def test_random_nets_in_eight_bits(net: Net, height: int, width: int, batch: int) -> None:
    network = shaken(Network(net))
    try:
        net.sizes(height), net.sizes(width)
    except UsageError:
        return
    if any(layer.kind == "Unpool" for layer in net.layers.values()):
        return  # of values that eight bits make equal another is the maximum, and moves
    x = torch.randn(batch, 2, height, width)
    low = PlannedRunner(network, quantised=quantised(network, x))
    (made,), (expected,) = low.maps(x).values(), TorchRunner(network).maps(x).values()
    error = (made.cells - expected.cells).square().mean().sqrt()
    assert error <= 0.2 * expected.cells.square().mean().sqrt() + 1e-6


@needs_int8
def test_layers_that_stay_exact_make_it_nearer_and_all_of_them_make_it_equal() -> None:
    network, x = shaken(Network(spec("fcn8s-vgg16", width=1 / 16))), torch.randn(1, 3, 60, 50)
    exactly = PlannedRunner(network)
    names = tuple(op.name for op in convolutions(exactly.plan))
    (truth,), errors = exactly.maps(x).values(), []
    whole = PlannedRunner(network, quantised=quantised(network, x))
    for kept in ((), names[len(names) // 4 :], names):
        low = quantised(network, x, exact=kept)
        (made,) = whole.sharing(low).maps(x).values()
        (alone,) = PlannedRunner(network, quantised=low).maps(x).values()
        assert torch.equal(made.cells, alone.cells)
        errors.append(float((made.cells - truth.cells).abs().mean()))
    assert errors[0] > errors[1] > errors[2] == 0


@needs_int8
def test_calibration_and_eight_bits_are_the_same_each_time() -> None:
    network, x = shaken(Network(spec("fcn4s-googlenet", width=1 / 16))), torch.randn(1, 3, 60, 50)
    first, second = quantised(network, x), quantised(network, x)
    assert first.numbers == second.numbers
    low = [PlannedRunner(network, quantised=q).maps(x)["score"].cells for q in (first, second)]
    assert torch.equal(*low)


@needs_int8
def test_zero_that_pads_a_map_is_its_own_zero() -> None:
    """The rim of a map that takes both signs is no zero in memory."""
    net = Net()
    x = net.conv("a", net.data(1), 4, kernel=3, pad=40)  # constants all around
    net.score("score", net.conv("b", x, 4, kernel=3, pad=1), 3)
    network, x = shaken(Network(net)), torch.randn(1, 1, 9, 11)
    low = quantised(network, x)
    assert 0 < low.numbers["a"].zero < 255
    (made,) = PlannedRunner(network, quantised=low).maps(x).values()
    (expected,) = TorchRunner(network).maps(x).values()
    for rows in (slice(0, 3), slice(40, 50), slice(-3, None)):
        # Of a rim that held the number 0 the error would be as large as the scores.
        error = (made.cells - expected.cells)[:, :, rows].abs().max()
        assert error < 0.15 * expected.cells.abs().max()


def test_eight_bits_need_a_plan_on_a_processor() -> None:
    if unsupported("int8"):
        pytest.skip(unsupported("int8"))
    network, device = Network(spec("fcn8s-tiny", width=1 / 4)), torch.device("cuda")
    with pytest.raises(UsageError, match=r"int8 is computed by a plan on a processor \(on cuda\)"):
        runner(network, precision="int8", device=device, quantised=Quantised({}, {}))


def test_every_low_map_is_counted() -> None:
    network = shaken(Network(spec("siftflow-fcn8s", width=1 / 16)))
    made = quantised(network, torch.randn(1, 3, 40, 40))
    assert low_maps(plan(network.net)) <= made.numbers.keys()
