"""The kernels against the same convolutions in float64, the transforms against their meaning."""

from __future__ import annotations

import math
from fractions import Fraction
from threading import Thread

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine import channelwise, convolutions, direct, winograd
from pixelwise.engine.folding import folded
from pixelwise.engine.fusing import plan
from pixelwise.engine.kernels import unavailable
from pixelwise.engine.layout import layout_for, maps_in
from pixelwise.engine.network import Network
from pixelwise.engine.operations import Packed, convolution
from pixelwise.engine.planned import PlannedRunner
from pixelwise.engine.points import PLACES, points
from pixelwise.engine.vectors import Code, processor
from pixelwise.engine.workers import Scratch, Workers, _setters, alone, threads
from pixelwise.nets.catalog import spec
from pixelwise.nets.layers import Conv, Relu
from pixelwise.nets.net import Net

pytestmark = pytest.mark.skipif(bool(unavailable()), reason="no kernels here")

WAYS = {
    "winograd": (winograd.Transformed, winograd.convolution),
    "direct": (direct.Direct, direct.convolution),
    "depthwise": (channelwise.Depthwise, channelwise.per_channel),
}


def net_of(channels: int, layer: Conv, *, residual: bool, pool: bool) -> Net:
    net = Net()
    net.data(channels)
    x = net.add(layer)
    x = net.sum("sum", "data", x) if residual else x
    x = net.add(Relu("relu", (x,), 3.0 if residual else math.inf))
    if pool:
        net.max_pool("pool", x)
    return net


def carried_out(way: str, net: Net, x: Tensor) -> tuple[Tensor, Tensor]:
    """What a kernel makes of pictures, and float64."""
    torch.manual_seed(0)
    network = Network(net).eval()
    with torch.no_grad():
        network.get_parameter("c.bias").normal_()
    made = plan(net)
    layout = layout_for(made, len(x), *x.shape[2:])
    # What is not written is NaN: a kernel that reads or leaves it is seen.
    maps = maps_in(torch.full((layout.length,), math.nan), layout)
    first, last = made.ops
    for op in made.ops:
        for rows, columns in maps.rims(op):
            maps.cut(op.name, rows, columns).zero_()
    maps.computed(first).copy_(x.permute(0, 2, 3, 1))
    weights, work = WAYS[way]
    work(last, maps, weights(folded(last, network), last), Workers())()
    with torch.no_grad():
        truth = network.double()(x.double())
    assert isinstance(truth, Tensor)
    return maps.computed(last).permute(0, 3, 1, 2), truth


def assert_close(found: Tensor, truth: Tensor) -> None:
    error = float((found - truth).abs().max() / truth.abs().max())
    assert error < 1e-5


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("size", [(4, 4), (5, 9), (23, 14), (16, 33)])
def test_winograd_is_the_convolution(size: tuple[int, int], pool: bool, threads: int) -> None:
    """Odd sizes have tiles that begin in the middle of a pool's window."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for channels, width, groups in ((16, 33, 1), (40, 18, 2)):
            layer = Conv("c", ("data",), width, 3, pad=1, groups=groups)
            net = net_of(channels, layer, residual=False, pool=pool)
            assert_close(*carried_out("winograd", net, torch.randn(2, channels, *size)))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kernel", sorted(winograd.OUTPUTS))
@pytest.mark.parametrize("pad", [0, 2])
def test_winograd_of_every_kernel(kernel: int, pad: int) -> None:
    layer = Conv("c", ("data",), 24, kernel, pad=kernel // 2)
    net = net_of(24, layer, residual=kernel % 2 == 1, pool=False)
    assert_close(*carried_out("winograd", net, torch.randn(1, 24, 13, 19)))
    layer = Conv("c", ("data",), 70, kernel, pad=pad)
    net = net_of(17, layer, residual=False, pool=False)
    assert_close(*carried_out("winograd", net, torch.randn(1, 17, 12, 31)))


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (12, 13), (20, 47)])
@pytest.mark.parametrize(
    "layer",
    [
        Conv("c", ("data",), 7),
        Conv("c", ("data",), 33, 1, 2),
        Conv("c", ("data",), 16, 3, pad=1),
        Conv("c", ("data",), 40, 5, 3, pad=(4, 2)),
        Conv("c", ("data",), 9, 3, 2, pad=1, groups=3),
        Conv("c", ("data",), 5, 3, pad=2, dilation=2),
    ],
    ids=str,
)
def test_a_direct_convolution_is_one(layer: Conv, size: tuple[int, int]) -> None:
    assert_close(
        *carried_out(
            "direct", net_of(6, layer, residual=False, pool=False), torch.randn(2, 6, *size)
        )
    )


@pytest.mark.parametrize("size", [(1, 1), (9, 40)])
def test_a_residual_is_added_before_the_relu(size: tuple[int, int]) -> None:
    for way, groups in (("direct", 1), ("depthwise", 21)):
        layer = Conv("c", ("data",), 21, 3, pad=1, groups=groups)
        net = net_of(21, layer, residual=True, pool=False)
        assert_close(*carried_out(way, net, torch.randn(2, 21, *size)))


@pytest.mark.parametrize(("kernel", "stride", "channels"), [(3, 1, 16), (5, 2, 37), (3, 2, 3)])
def test_a_filter_for_each_channel(kernel: int, stride: int, channels: int) -> None:
    pad = kernel // 2
    layer = Conv("c", ("data",), channels, kernel, stride, pad, channels)
    net = net_of(channels, layer, residual=False, pool=False)
    for size in ((15, 22), (200, 6)):  # shared out by channels, and by rows
        assert_close(*carried_out("depthwise", net, torch.randn(1, channels, *size)))


def test_numbers_that_are_none_stay_so() -> None:
    """They must reach the scores, where they are refused; a ReLU must not hide them."""
    x = torch.randn(1, 16, 9, 9)
    x[0, 3, 4, 4] = math.nan
    for way, groups in (("winograd", 1), ("direct", 1), ("depthwise", 16)):
        layer = Conv("c", ("data",), 16, 3, pad=1, groups=groups)
        found, _ = carried_out(way, net_of(16, layer, residual=True, pool=False), x)
        assert found[0, 3, 4, 4].isnan()


@pytest.mark.parametrize(("m", "r"), [(4, 3), (2, 5), (2, 6), (2, 7)])
def test_the_transforms_are_a_convolution(m: int, r: int) -> None:
    at = points(m, r)
    x, taps = torch.randn(at.n, dtype=torch.float64), torch.randn(r, dtype=torch.float64)
    inputs, filters, outputs = (
        torch.tensor(matrix, dtype=torch.float64) for matrix in (at.inputs, at.filters, at.outputs)
    )
    found = outputs @ ((filters @ taps) * (inputs @ x))
    torch.testing.assert_close(found, F.conv1d(x[None, None], taps[None, None])[0, 0])
    assert len(set(PLACES[at.n])) == at.n - 1
    assert all(isinstance(p, Fraction) for p in PLACES[at.n])


def test_bits_do_not_depend_on_the_number_of_threads() -> None:
    network = Network(spec("fcn8s-vgg16", width=1 / 4)).eval()
    with torch.no_grad():
        network.get_parameter("score_fr.weight").normal_()
    x, before, found = torch.randn(1, 3, 70, 50), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(PlannedRunner(network).maps(x)["score"].cells)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(cells, found[0]) for cells in found)


def test_without_kernels_torchs_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network(spec("fcn8s-vgg16", width=1 / 4)).eval()
    with torch.no_grad():
        network.get_parameter("score_fr.weight").normal_()
    x = torch.randn(1, 3, 40, 50)
    expected = PlannedRunner(network).maps(x)["score"].cells
    monkeypatch.setattr(convolutions, "unavailable", lambda: "ImportError: no LLVM")
    assert "ImportError: no LLVM" in convolutions.in_use()
    found = PlannedRunner(network).maps(x)["score"].cells
    assert not torch.equal(found, expected)
    assert_close(found, expected.double())


def test_without_packed_weights_a_convolution_is_torchs_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    layer = Conv("c", ("data",), 8, 3, pad=1)
    monkeypatch.setitem(
        WAYS,
        "torch",
        (lambda w, op: Packed(op, w, [1, 8, 11, 14]), lambda op, m, w, _: convolution(op, m, w)),
    )
    net = net_of(8, layer, residual=True, pool=True)
    assert_close(*carried_out("torch", net, torch.randn(1, 8, 9, 12)))


def test_a_loop_of_no_turns_does_nothing() -> None:
    code = Code("loop", 2, processor().lanes)
    address, count = code.arguments
    total = code.repeat(
        count, lambda _, carried: [code.plus(carried[0], code.same(1.0))], [code.zero()]
    )
    code.store(total[0], address)
    run, out = code.compiled(), torch.full((processor().lanes,), 9.0)
    for turns in (0, 1, 3):
        run(out.data_ptr(), turns)
        assert out.tolist() == [float(turns)] * processor().lanes


def test_workers_take_each_part_once_and_tell_what_failed() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        workers, taken = Workers(), []
        workers.each(50, lambda i, _: taken.append(i))
        assert sorted(taken) == list(range(50))

        def fails(i: int, _: Scratch) -> None:
            raise ValueError(f"part {i}")

        with pytest.raises(ValueError, match="part"):
            workers.each(3, fails)
    finally:
        torch.set_num_threads(before)


def test_alone_torch_has_one_thread_and_the_workers_all() -> None:
    before, outside = torch.get_num_threads(), list[int]()
    torch.set_num_threads(3)
    try:
        with alone():
            inside = torch.get_num_threads(), threads()
            other = Thread(target=lambda: outside.append(torch.get_num_threads()))
            other.start()
            other.join()
        assert (torch.get_num_threads(), threads()) == (3, 3)
    finally:
        torch.set_num_threads(before)
    assert inside == (1 if _setters() else 3, 3)
    assert outside == [3]


@pytest.mark.parametrize(("way", "kernel"), [("direct", 1), ("winograd", 3)])
def test_rows_that_would_share_places_in_a_cache_lie_apart(way: str, kernel: int) -> None:
    """Of 512 channels and their multiples."""
    layer = Conv("c", ("data",), 33, kernel, pad=kernel // 2)
    net = net_of(1024, layer, residual=False, pool=False)
    assert_close(*carried_out(way, net, torch.randn(1, 1024, 9, 7)))


@pytest.mark.parametrize(
    ("layer", "size", "chosen"),
    [
        (Conv("c", ("data",), 24, 3, pad=1), 9, ("winograd", "36 for 144")),
        (Conv("c", ("data",), 24, 7, pad=3), 9, ("winograd", "64 for 196")),
        (Conv("c", ("data",), 24, 3, 2), 9, ("direct", "stride 2")),
        (Conv("c", ("data",), 24, 11, pad=5), 9, ("direct", "11x11")),
        (Conv("c", ("data",), 4, 3, pad=1), 9, ("direct", "4 channels")),
        (Conv("c", ("data",), 24, 3, pad=1), 3, ("direct", "3 cells")),
        (Conv("c", ("data",), 32, 3, pad=1, groups=32), 9, ("depthwise", "32 groups")),
    ],
    ids=str,
)
def test_a_kernel_is_chosen_by_sizes_and_says_why(
    layer: Conv, size: int, chosen: tuple[str, str]
) -> None:
    _, op = plan(net_of(32, layer, residual=False, pool=False)).ops
    assert convolutions.chosen(op, 32, size, 40) == chosen
