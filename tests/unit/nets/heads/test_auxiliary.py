"""Which outputs training alone has, and that the net itself stays as it is."""

from __future__ import annotations

import pytest

from pixelwise.errors import UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.heads.auxiliary import supervise
from pixelwise.nets.net import Net


def supervised(name: str, *layers: str, **options: object) -> Net:
    net = spec(name, **options)
    net.name_heads([*options.get("heads", ["labels"])])
    supervise(net, layers)
    return net


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(("fcn8s-tiny", 77), ("fcn8s-vgg16", 50), ("fcn8s-alexnet-tight", 91)),
        *(("fcn4s-efficientnetlite0", 65), ("fcn8s-resnet18", 33), ("unet", 572)),
    ],
)
def test_every_layer_reaches_what_the_head_covers(name: str, size: int) -> None:
    plain = spec(name, width=1 / 16)
    net = supervised(name, *list(plain.layers)[:: len(plain.layers) // 9], width=1 / 16)
    assert len(net.auxiliaries) > 8
    for output in net.auxiliaries:
        assert net.in_training.frame(size, size, output) == plain.frame(size, size)


def test_a_trunks_layer_is_scored_and_scores_are_taken_as_they_are() -> None:
    plain = spec("fcn8s-vgg16", width=1 / 16)
    net = supervised("fcn8s-vgg16", "pool4", "score_fr", "fuse_pool4", width=1 / 16)
    new = net.parameter_shapes().keys() - plain.parameter_shapes().keys()
    assert new == {"score_aux_pool4.weight", "score_aux_pool4.bias"}
    assert net.layers["upscore_aux_score_fr"].stride == 32
    assert net.layers["upscore_aux_fuse_pool4"].stride == 16
    assert [*net.auxiliaries] == [f"labels at {x}" for x in ("pool4", "score_fr", "fuse_pool4")]
    assert net.outputs == {"labels": "score"}
    assert (net.top, net.stride) == (plain.top, plain.stride)


def test_of_several_heads_each_has_one_but_where_the_scores_are_of_one() -> None:
    heads = {"things": 5, "shapes": 3}
    net = supervised("fcn8s-tiny", "pool3", "score_fr_shapes", heads=heads, width=1 / 4)
    assert [*net.auxiliaries] == ["things at pool3", "shapes at pool3", "shapes at score_fr_shapes"]
    assert [net.channels[layer] for layer in net.auxiliaries.values()] == [5, 3, 3]


@pytest.mark.parametrize(
    ("name", "layer", "told"),
    [
        ("fcn8s-tiny", "pool9", r"layer for loss\.auxiliary.*`pool9`"),
        ("deconvnet-vgg16", "fc6", r"loss\.auxiliary fc6: .*crop"),
        ("deeplabv3-resnet18", "image_pool", r"loss\.auxiliary image_pool: .*do not fit"),
    ],
)
def test_layers_that_are_no_map_of_the_picture_are_refused(name, layer, told) -> None:
    with pytest.raises(UsageError, match=told):
        supervised(name, layer, width=1 / 16)
