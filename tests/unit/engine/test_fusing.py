"""What a plan's computations take with them, and where a map lies in another's memory."""

from __future__ import annotations

import pytest

from pixelwise.engine.fusing import Op, Place, plan
from pixelwise.nets.catalog import NETS, spec
from pixelwise.nets.joining import Concat
from pixelwise.nets.layers import Dropout, Relu, Scale
from pixelwise.nets.net import Net


def taken(net: Net) -> list[tuple[str, str, str]]:
    return [(op.layer.name, op.name, op.folded) for op in plan(net).ops]


def test_a_convolution_takes_what_follows_it() -> None:
    net = Net()
    x = net.conv("conv", net.data(3), 4, kernel=3, bn="bn", relu="relu")
    net.max_pool("pool", x)
    assert taken(net) == [("data", "data", ""), ("conv", "pool", "norm relu pool")]


def test_what_others_read_too_is_given_whole() -> None:
    net = Net()
    x = net.conv("conv", net.data(3), 4, relu="relu")
    pool = net.max_pool("pool", x)
    net.sum("both", net.conv("a", pool, 4), net.max_pool("again", x))
    assert taken(net)[1:] == [
        ("conv", "relu", "relu"),
        ("pool", "pool", ""),
        ("a", "a", ""),
        ("again", "again", ""),
        ("both", "both", ""),
    ]


def test_a_residual_is_added_by_the_convolution_that_comes_last() -> None:
    net = Net()
    x = net.data(4)
    shortcut = net.conv("shortcut", x, 4, bn="bn1")
    branch = net.conv("branch", x, 4, bn="bn2")
    net.add(Relu("out", (net.sum("sum", shortcut, branch),), 6.0))
    assert taken(net)[1:] == [
        ("shortcut", "bn1", "norm"),
        ("branch", "out", "norm + bn1 relu<6"),
    ]


def test_a_factor_is_folded_into_the_convolution_behind_it() -> None:
    ops = {op.layer.name: op for op in plan(spec("fcn8s-vgg16-atonce")).ops}
    assert ops["score_pool4"].factor == "scale_pool4"
    assert ops["score_pool4"].inputs == ("pool4",)
    assert "scale_pool4" not in ops


def test_only_pools_of_two_by_two_are_taken() -> None:
    net = Net()
    x = net.max_pool("pool3", net.conv("a", net.data(1), 2), 3, 2)
    net.max_pool("padded", net.conv("b", x, 2), 2, 2, 1)
    assert [name for name, *_ in taken(net)] == ["data", "a", "pool3", "b", "padded"]


def test_weighted_sums_stay_sums() -> None:
    net = Net()
    x = net.conv("a", net.data(1), 2)
    net.sum("mean", x, net.conv("b", "data", 2), coefficients=(0.5, 0.5))
    assert [name for name, *_ in taken(net)] == ["data", "a", "b", "mean"]


def test_parts_are_written_where_they_are_joined() -> None:
    made = plan(spec("fcn32s-googlenet"))
    at = {name: made.place(name) for name in ("inception_3a/relu_1x1", "inception_3a/relu_3x3")}
    assert at == {
        "inception_3a/relu_1x1": Place("inception_3a/output", 0, 0),
        "inception_3a/relu_3x3": Place("inception_3a/output", 0, 64),
    }
    assert not any(isinstance(op.layer, Concat) for op in made.ops)


def test_parts_that_are_read_elsewhere_are_copied() -> None:
    net = Net()
    a, b = net.conv("a", net.data(1), 2), net.conv("b", "data", 3)
    net.sum("out", net.conv("c", net.add(Concat("joined", (a, b))), 2), a)
    assert [name for name, *_ in taken(net)] == ["data", "a", "b", "joined", "c"]
    assert plan(net).places == {}


def test_crops_and_dropouts_are_places() -> None:
    made = plan(spec("fcn8s-vgg16"))
    assert made.place("score_pool4c") == Place("score_pool4", 5)
    assert made.place("drop7") == Place("relu7")


def test_a_crop_that_a_padded_layer_reads_is_copied() -> None:
    """Its cells end at its rim; those of the map it is cut from go on."""
    net = Net()
    x = net.add(Dropout("drop", (net.conv("a", net.data(1), 2, kernel=3, pad=2),)))
    net.conv("b", net.crop("cut", x, like="data"), 2, kernel=3, pad=1)
    assert "cut" in {op.name for op in plan(net).ops}


def test_every_net_of_the_catalogue_can_be_planned() -> None:
    for name in NETS:
        net = spec(name, width=1 / 16)
        made = plan(net)
        known: set[str] = set()
        for op in made.ops:  # each reads what is there
            assert {made.place(n).source for n in op.numbers_read} <= known, (name, op.name)
            known.add(made.place(op.name).source)


def test_an_unpooling_reads_maxima_and_no_indices() -> None:
    net = Net()
    x = net.conv("a", net.data(1), 2, kernel=3)
    net.unpool("up", net.max_pool("pool", x, indices=True), "pool")
    assert [op.name for op in plan(net).ops] == ["data", "a", "pool", "up"]
    assert plan(net).ops[-1].numbers_read == ("pool", "pool", "a")


@pytest.mark.parametrize("scale", [Scale("s", ("data",), 2.0)])
def test_a_factor_that_others_read_stays(scale: Scale) -> None:
    net = Net()
    net.data(2)
    x = net.add(scale)
    net.sum("out", net.conv("a", x, 2), x)
    assert [type(op.layer).__name__ for op in plan(net).ops] == ["Input", "Scale", "Conv"]
    assert isinstance(plan(net).ops[2], Op)
