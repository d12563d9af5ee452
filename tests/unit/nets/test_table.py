"""The table against hand-counted figures."""

from __future__ import annotations

import pytest

from pixelwise.errors import UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net
from pixelwise.nets.table import as_dict, table


def test_the_papers_fcn8s() -> None:
    net = spec("fcn8s-vgg16")
    rows = {row.name: row for row in table(net, 500, 500)}
    totals = as_dict(net, tuple(rows.values()))
    parameters = 134_346_581 + 10_773 + 5_397  # fact sheet 7
    assert totals["parameters"] == parameters
    assert totals["parameters_with_upsampling"] == parameters + 112_896 + 2 * 7_056
    keys = ("receptive_field", "stride", "conv_layers", "output_size")
    assert [totals[key] for key in keys] == [404, 32, 16, [500, 500]]
    assert totals["crops"] == {"score_pool4c": 5, "score_pool3c": 9, "score": 31}
    first = rows["conv1_1"]
    assert (first.kind, first.kernel, first.stride, first.pad) == ("Conv", 3, 1, 100)
    assert (first.channels, first.height, first.width) == (64, 698, 698)
    assert (first.parameters, first.macs) == (1_792, 698 * 698 * 64 * 27)
    assert (rows["pool4"].receptive_field, rows["pool4"].total_stride) == (100, 16)
    assert (rows["score"].offset, rows["score"].kernel) == (31, None)
    assert rows["upscore8"].parameters == 0
    assert (rows["upscore8"].kernel, rows["upscore8"].stride) == (16, 8)
    assert sum(row.parameters for row in rows.values()) == parameters
    assert sum(row.macs for row in rows.values()) == totals["macs"]


def test_height_and_width_are_not_mixed_up() -> None:
    # fact sheet 1.5, 375x500
    rows = {r.name: (r.height, r.width) for r in table(spec("fcn8s-vgg16"), 375, 500)}
    assert rows["conv1_1"] == (573, 698)
    assert rows["score_fr"] == (12, 16)
    assert rows["upscore8"] == (440, 568)
    assert rows["score"] == (375, 500)


@pytest.mark.parametrize(
    ("name", "size", "billions"),
    [
        # multiply-adds of the convolutions as their authors and torchvision count them
        ("resnet18", 224, 1.81),
        ("resnet50", 224, 4.09),
        ("mobilenetv2", 224, 0.30),
        ("vgg16", 224, 15.47),
        ("alexnet", 227, 0.72),
        ("googlenet", 224, 1.58),
    ],
)
def test_multiply_adds_of_the_classifiers(name: str, size: int, billions: float) -> None:
    rows = table(spec(name), size, size)
    convolutions = sum(row.macs for row in rows if row.kind == "Conv")
    assert convolutions / 1e9 == pytest.approx(billions, abs=0.01)


def test_json_has_exactly_the_documented_keys() -> None:
    net = spec("fcn32s-alexnet")
    found = as_dict(net, table(net, 300, 200))
    assert list(found) == [
        "inputs",
        "heads",
        "parameters",
        "parameters_with_upsampling",
        "receptive_field",
        "stride",
        "conv_layers",
        "macs",
        "output_size",
        "crops",
        "layers",
    ]
    assert found["output_size"] == [300, 200]
    assert found["crops"] == {"score": 18}
    assert found["layers"][1]["name"] == "conv1"
    assert found["layers"][1]["groups"] == 1
    assert next(r for r in found["layers"] if r["name"] == "conv2")["groups"] == 2


def test_a_picture_that_is_too_small_names_the_layer() -> None:
    with pytest.raises(UsageError, match="pool5/7x7_s1 has no output for an input of 100 px"):
        table(spec("googlenet"), 300, 100)


def test_several_heads_have_their_sizes_by_name() -> None:
    net = Net()
    x = net.conv("conv", net.data(3), 4, kernel=3)
    net.top = net.score("fine", x, 2)
    net.heads["fine"] = net.top
    net.heads["coarse"] = net.score("coarse_score", net.max_pool("pool", x), 5)
    assert as_dict(net, table(net, 8, 12))["output_size"] == {"fine": [6, 10], "coarse": [3, 5]}


def test_uneven_pads_are_shown_as_a_pair() -> None:
    net = Net()
    net.top = net.conv("conv", net.data(3), 4, kernel=3, stride=2, pad=(0, 1))
    assert table(net, 8, 8)[1].pad == (0, 1)
