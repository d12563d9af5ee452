"""Plans with maps of two bytes: what holds them, and scores near those of float32."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.engine import planned, rounding
from pixelwise.engine.fusing import plan
from pixelwise.engine.layout import layout_for
from pixelwise.engine.lowering import alike, convolutions, in_bfloat16, low_maps
from pixelwise.engine.network import Network
from pixelwise.engine.numbers import BFLOAT16, FLOAT32, Numbers
from pixelwise.engine.operations import largest
from pixelwise.engine.planned import PlannedRunner, runner
from pixelwise.engine.rounding import floats, unsupported, write
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import ResourceError, UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import MaxPool
from random_nets import nets
from random_weights import shaken

NAMES = ["fcn8s-vgg16", "fcn8s-vgg16-atonce", "fcn32s-vgg16", "fcn4s-googlenet", "fcn4s-alexnet"]
NAMES += ["fcn4s-resnet18", "fcn8s-mobilenetv2", "fcn4s-efficientnetlite0", "siftflow-fcn8s"]

needs_bf16 = pytest.mark.skipif(bool(unsupported("bf16")), reason=unsupported("bf16"))


@cache
def narrow(name: str) -> tuple[PlannedRunner, TorchRunner]:
    slim = any(word in name for word in ("mobilenet", "efficientnet"))
    network = shaken(Network(spec(name, width=1 / 4 if slim else 1 / 16)))
    return PlannedRunner(network, bf16=True), TorchRunner(network)


def assert_near(low: PlannedRunner, plain: TorchRunner, x: torch.Tensor, share: float) -> None:
    """Scores differ by a small share of their own scatter."""
    made, expected = low.maps(x), plain.maps(x)
    for head, scores in expected.items():
        assert made[head].cells.dtype == torch.float32
        assert made[head].window == scores.window
        error = (made[head].cells - scores.cells).square().mean().sqrt()
        assert error <= share * scores.cells.square().mean().sqrt(), head


# -- bf16 -----------------------------------------------------------------------------------------
@needs_bf16
@pytest.mark.parametrize("name", NAMES)
def test_scores_of_bf16_are_near(name: str) -> None:
    low, plain = narrow(name)
    assert low.precision == "bf16"
    for size in ((1, 1), (45, 66), (97, 61)):
        # Each of up to 60 layers rounds by 2**-9 at most, 2**-10 in the mean.
        assert_near(low, plain, torch.randn(1, sum(low.net.inputs.values()), *size), 0.05)


@needs_bf16
@settings(max_examples=40, deadline=None)
@given(nets(unpooling=False), st.integers(1, 40), st.integers(1, 40), st.integers(1, 2))
def test_random_nets_in_bf16(net: Net, height: int, width: int, batch: int) -> None:
    network = shaken(Network(net))
    try:
        net.sizes(height), net.sizes(width)
    except UsageError:
        return
    low, plain = PlannedRunner(network, bf16=True), TorchRunner(network)
    assert_near(low, plain, torch.randn(batch, 2, height, width), 0.1)


@needs_bf16
def test_bf16_is_the_rounding_that_was_asked_for() -> None:
    net = Net()
    net.score("score", net.conv("conv", net.data(1), 2, relu="relu"), 2)
    network = Network(net).eval()
    with torch.no_grad():
        for p in network.parameters():
            p.fill_(1 + 2**-9)  # not in bfloat16, whose next numbers are 1 and 1 + 2**-7
    (made,) = PlannedRunner(network, bf16=True).maps(torch.full((1, 1, 2, 2), 3.0)).values()
    # The convolution computes 3 * 1 + 1 = 4; scores keep their weights: 2 (4 + 4 / 512) + ...
    assert made.cells.unique().tolist() == [9 * (1 + 2**-9)]


def test_what_convolutions_read_is_low_and_scores_are_not() -> None:
    whole = plan(spec("fcn8s-vgg16"))
    low = in_bfloat16(whole)
    held = {op.name: low.held(op.name) for op in low.ops}
    floating = [name for name, numbers in held.items() if numbers == FLOAT32]
    assert set(held.values()) == {FLOAT32, BFLOAT16}
    assert [op.name for op in convolutions(low) if low.computes_in(op) == "bfloat16"] == [
        op.name for op in low.ops if op.layer.name.startswith(("conv", "fc"))
    ]
    assert set(floating) == {
        *("score_fr", "upscore2", "score_pool4", "fuse_pool4"),
        *("upscore_pool4", "score_pool3", "fuse_pool3"),
    } & set(held)
    assert low.exact == {name for name in floating if name.startswith("score")}


def test_a_layer_kept_exact_leaves_its_input_in_float32_where_nobody_else_reads_it() -> None:
    whole = plan(spec("fcn8s-vgg16"))
    assert low_maps(whole) - low_maps(whole, ["relu7"]) == {"relu6"}
    assert low_maps(whole, ["relu5_1"]) == low_maps(whole)  # pool4 is read by its score layer


def test_maps_between_which_pooling_lies_are_alike() -> None:
    groups = alike(plan(spec("fcn4s-googlenet")))
    assert groups["inception_3b/output"] == groups["pool3/3x3_s2"]
    assert groups["inception_3a/output"] == groups["inception_3b/pool"]
    assert groups["inception_3a/output"] != groups["inception_3b/output"]


def test_maps_of_two_bytes_take_half_the_memory() -> None:
    whole = plan(spec("fcn8s-vgg16"))
    exact, low = (layout_for(p, 1, 300, 300).length for p in (whole, in_bfloat16(whole)))
    assert low == pytest.approx(exact / 2, rel=0.01)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_processor_without_it_is_told_before_any_work(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planned, "unsupported", lambda _: "this processor computes no such")
    with pytest.raises(ResourceError, match=f"no {precision} here: this processor") as refused:
        runner(Network(spec("fcn8s-tiny", width=1 / 4)), precision=precision)
    assert (refused.value.code, refused.value.hint) == ("R009", "--precision fp32")


def test_without_oneDNN_there_are_no_fewer_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert rounding.unsupported("fp32") == ""
    assert "oneDNN" in rounding.unsupported("bf16")
    monkeypatch.undo()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    assert "VNNI" in rounding.unsupported("int8")


# -- numbers --------------------------------------------------------------------------------------
def test_eight_bits_hold_zero_exactly() -> None:
    assert Numbers.between(0, 5.1) == Numbers("uint8", 5.1 / 255, 0)
    assert Numbers.between(-1, 1) == Numbers("uint8", 2 / 255, 128)
    assert Numbers.between(2, 3).zero == 0
    assert Numbers.between(-3, -2).zero == 255
    assert Numbers.between(0, 0).scale == 1


def test_values_become_the_nearest_of_eight_bits_and_back() -> None:
    numbers, target = Numbers("uint8", 0.5, 10), torch.empty(6, dtype=torch.uint8)
    write(torch.tensor([0.0, 0.24, 0.26, -5.0, -99.0, 1e9]), target, numbers)
    assert target.tolist() == [10, 10, 11, 0, 0, 255]
    assert floats(target, numbers).tolist() == [0, 0, 0.5, -5, -5, 122.5]


@pytest.mark.parametrize("kind", [torch.uint8, torch.bfloat16])
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_maxima_are_torchs(kind: torch.dtype, data: st.DataObject) -> None:
    kernel, stride, dilation = (data.draw(st.integers(1, 3)) for _ in range(3))
    size = [data.draw(st.integers((kernel - 1) * dilation + 1, 20)) for _ in range(2)]
    x = torch.randint(0, 256, (2, 3, *size)).to(kind)
    pool = MaxPool("pool", ("x",), kernel, stride, 0, dilation=dilation)
    expected = F.max_pool2d(x.float(), kernel, stride, 0, dilation, ceil_mode=True)
    assert torch.equal(largest(x, pool, expected).float(), expected)
