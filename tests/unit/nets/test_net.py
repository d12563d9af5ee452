"""A net written by hand: what is derived, and what is refused with the layer's name."""

from __future__ import annotations

from fractions import Fraction

import pytest

from pixelwise.errors import UsageError
from pixelwise.geometry import CoordMap
from pixelwise.nets.joining import Concat, Crop, Sum
from pixelwise.nets.kinds import CLASSES, EDGE
from pixelwise.nets.layers import BatchNorm, Conv, Deconv, Relu, Upsample
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import AvgPool, GlobalAvgPool
from pixelwise.nets.record import Sight


def small() -> Net:
    """conv 3x3 pad 1 -> pool 2x2 -> conv 3x3 pad 1 -> score -> upsampled, cropped."""
    net = Net()
    x = net.data(3)
    x = net.conv("conv1", x, 8, kernel=3, pad=1, relu="relu1")
    x = net.max_pool("pool1", x)
    x = net.conv("conv2", x, 16, groups=2, kernel=3, pad=1, relu="relu2")
    x = net.top = net.score("score_fr", x, 5)
    x = net.upsample("upscore", x, 2, like="data")
    net.crop("score", x, like="data")
    return net


def test_what_follows_from_a_small_net_by_hand() -> None:
    net = small()
    assert net.channels == {
        "data": 3,
        "conv1": 8,
        "relu1": 8,
        "pool1": 8,
        "conv2": 16,
        "relu2": 16,
        "score_fr": 5,
        "upscore": 5,
        "score": 5,
    }
    # field: 3, pool 4 at stride 2, conv2 4 + 2 * 2 = 8
    assert (net.receptive_field, net.stride, net.depth) == (8, 2, 3)
    # pool cell 0 is centred on pixel 1/2
    assert net.sights["score_fr"].map == CoordMap(Fraction(2), Fraction(1, 2))
    assert net.crops() == {"score": 1}
    assert net.sizes(7) == {
        "data": 7,
        "conv1": 7,
        "relu1": 7,
        "pool1": 4,
        "conv2": 4,
        "relu2": 4,
        "score_fr": 4,
        "upscore": 10,
        "score": 7,
    }
    # 8*3*9 + 8, then 16*4*9 + 16 (two groups), then 5*16 + 5
    assert net.parameters() == 224 + 592 + 85
    assert net.parameters(upsampling=True) == 224 + 592 + 85 + 5 * 5 * 16
    # 7x6 picture: 42 cells at conv1, 4x3 at conv2
    macs = net.macs(7, 6)
    assert macs["conv1"] == 42 * 8 * 3 * 9
    assert macs["conv2"] == 12 * 16 * 4 * 9
    assert macs["score_fr"] == 12 * 5 * 16
    # upsampling by two: 2x2 taps for each of 10x8 cells and 5 classes
    assert macs["upscore"] == 80 * 5 * 4
    assert macs["pool1"] == macs["relu1"] == macs["score"] == 0
    assert (net.input, net.output) == ("data", "score")


def test_parameter_shapes_carry_the_layer_names() -> None:
    assert small().parameter_shapes() == {
        "conv1.weight": (8, 3, 3, 3),
        "conv1.bias": (8,),
        "conv2.weight": (16, 4, 3, 3),
        "conv2.bias": (16,),
        "score_fr.weight": (5, 16, 1, 1),
        "score_fr.bias": (5,),
    }


def test_learned_upsampling_is_dense_and_counted_apart() -> None:
    net = small()
    net.add(Upsample("learned", ("score_fr",), 4, 2, learned=True))
    assert net.parameter_shapes()["learned.weight"] == (5, 5, 4, 4)
    assert net.parameters() == 901
    assert net.macs(2, 2)["learned"] == 16 * 5 * 4 * 5


def test_a_name_is_used_once() -> None:
    net = small()
    with pytest.raises(UsageError, match="conv1 is already"):
        net.conv("conv1", "data", 4)


def test_inputs_must_come_first() -> None:
    with pytest.raises(UsageError, match=r"late reads \['nothing'\]"):
        small().conv("late", "nothing", 4)


def test_a_refused_layer_leaves_no_trace() -> None:
    net = small()
    with pytest.raises(UsageError):
        net.sum("bad", "conv1", "pool1")
    assert "bad" not in net.layers
    assert "bad" not in net.channels
    assert "bad" not in net.sights
    with pytest.raises(UsageError):
        net.sum("bad", "conv1", "data")  # aligned, but 8 and 3 channels
    assert "bad" not in net.layers
    assert "bad" not in net.sights


def test_joining_maps_of_different_stride_names_the_layer_and_both_maps() -> None:
    with pytest.raises(UsageError, match=r"fuse joins .*conv1: 1x\+0.*pool1: 2x\+1/2"):
        small().sum("fuse", "conv1", "pool1")


def test_joining_maps_that_are_shifted_names_the_layer() -> None:
    net = small()
    net.add(Conv("shifted", ("data",), 8, kernel=3))
    with pytest.raises(UsageError, match="fuse joins maps that are not aligned"):
        net.add(Concat("fuse", ("conv1", "shifted")))


def test_summing_different_channels_names_the_layer() -> None:
    net = small()
    with pytest.raises(UsageError, match=r"both: .*channels \(8, 3\)"):
        net.sum("both", "conv1", "data")


def test_concatenation_adds_channels_and_takes_the_widest_field() -> None:
    net = small()
    net.add(Concat("both", ("conv1", "data")))
    assert net.channels["both"] == 11
    assert net.sights["both"] == Sight(CoordMap(), 3)


def test_a_join_of_unlike_sizes_names_the_layer() -> None:
    net = Net()
    net.data(1)
    net.max_pool("up", "data", 2, 2, ceil=True)
    net.max_pool("down", "data", 2, 2, ceil=False)
    net.add(Sum("fuse", ("up", "down")))
    assert net.sizes(6)["fuse"] == 3
    with pytest.raises(UsageError, match=r"fuse: .* sizes \(4, 3\)"):
        net.sizes(7)


def test_a_crop_that_does_not_fit_names_the_layer() -> None:
    net = Net()
    net.data(1)
    net.add(Conv("valid", ("data",), 1, kernel=3))
    net.add(Conv("wide", ("data",), 1, kernel=3, pad=2))
    net.crop("ok", "wide", like="valid")
    assert net.sizes(9)["ok"] == 7
    net.add(Crop("bad", ("valid", "data"), 1))
    with pytest.raises(UsageError, match="bad: valid has 7 cells, 9 from offset 1 do not fit"):
        net.sizes(9)


def test_a_crop_that_would_begin_outside_is_refused() -> None:
    net = Net()
    net.data(1)
    net.add(Conv("valid", ("data",), 1, kernel=3))
    with pytest.raises(UsageError, match="offset -1"):
        net.crop("c", "valid", like="data")


def test_too_small_a_picture_names_the_layer() -> None:
    net = Net()
    x = net.data(1)
    x = net.conv("first", x, 1, kernel=3)
    net.conv("second", x, 1, kernel=3)
    assert net.sizes(5)["second"] == 1
    with pytest.raises(UsageError, match="second has no output for an input of 4 px"):
        net.sizes(4)


def test_upsampling_finds_the_kernel_that_can_be_aligned() -> None:
    net = Net()
    x = net.data(1)
    even = net.max_pool("even", x, 2, 2)  # centred between two pixels
    odd = net.conv("odd", x, 1, kernel=3, stride=2, pad=1)  # centred on one
    net.upsample("up_even", even, 2, like="data")
    net.upsample("up_odd", odd, 2, like="data")
    kernels = {n: r.kernel for n, r in net.layers.items() if isinstance(r, Upsample)}
    assert kernels == {"up_even": 4, "up_odd": 3}


def test_upsampling_that_cannot_be_aligned_names_both() -> None:
    net = Net()
    net.data(1)
    net.add(Conv("third", ("data",), 1, kernel=3, stride=3))
    net.add(Conv("pair", ("data",), 1, kernel=2, stride=2))
    with pytest.raises(UsageError, match=r"different strides|cannot be aligned"):
        net.upsample("up", "third", 2, like="pair")


def test_dilation_spans() -> None:
    net = Net()
    net.data(1)
    net.add(Conv("atrous", ("data",), 1, kernel=3, pad=4, dilation=4))
    assert net.sights["atrous"] == Sight(CoordMap(), 9)
    assert net.sizes(20)["atrous"] == 20


def test_the_mean_of_everything_sees_everything() -> None:
    net = Net()
    x = net.data(4)
    x = net.add(AvgPool("pool", (x,), 3, 2))
    x = net.add(GlobalAvgPool("mean", (x,)))
    net.top = net.conv("fc", x, 2)
    assert net.receptive_field == float("inf")
    assert net.sizes(11)["fc"] == 1


def test_batch_norm_has_two_parameters_a_channel() -> None:
    net = Net()
    x = net.data(6)
    net.top = net.add(Relu("relu", (net.add(BatchNorm("bn", (x,))),)))
    assert net.parameter_shapes() == {"bn.weight": (6,), "bn.bias": (6,)}
    assert net.parameters() == 12
    assert net.macs(4, 5)["bn"] == 120


# -- what an output covers, and how it is called --------------------------------------------------
def test_an_output_covers_a_part_of_the_picture_from_a_whole_pixel_on() -> None:
    """A valid 3x3 begins on pixel 1; with cells behind it ends with the picture, or beyond it."""
    for behind, expected in ((0, (1, 5, 7)), (1, (1, 6, 8)), (2, None)):
        net = Net()
        net.conv("out", net.data(1), 1, kernel=3, pad=(0, behind))
        if expected:
            assert net.frame(7, 9) == expected
        else:
            with pytest.raises(UsageError, match="out ends beyond a picture of 7x9"):
                net.frame(7, 9)


def test_an_output_that_reaches_out_of_one_side_is_refused() -> None:
    """Pooled upwards by two and back a map of odd length is one longer."""
    net = Net()
    net.add(Deconv("out", (net.max_pool("pool", net.data(1)),), 1))
    assert net.frame(6, 8) == (0, 6, 8)
    for size in ((5, 8), (6, 7), (5, 7)):
        with pytest.raises(UsageError, match=f"beyond a picture of {size[0]}x{size[1]}"):
            net.frame(*size)


def test_an_output_between_pixels_before_them_or_coarser_is_refused() -> None:
    windows = {"between": (2, 1, 0), "before": (3, 1, 2), "coarser": (1, 2, 0)}
    for name, (kernel, stride, pad) in windows.items():
        net = Net()
        net.conv(name, net.data(1), 1, kernel, stride, pad)
        with pytest.raises(UsageError, match=f"cells of {name} lie at .*, expected each on a"):
            net.frame(8, 8)


def test_heads_are_called_what_the_data_calls_them() -> None:
    one = small()
    one.name_heads(["labels"])
    assert one.outputs == {"labels": "score"}
    two = small()
    two.heads = {"a": "score", "b": "score_fr"}
    two.name_heads(["a", "b"])
    assert two.outputs == {"a": "score", "b": "score_fr"}
    for names, listed in ((["b", "a"], "a, b"), (["a"], "a, b"), (["a", "b", "c"], "a, b")):
        with pytest.raises(UsageError, match=f"the net has the heads {listed}, expected") as caught:
            two.name_heads(names)
        assert caught.value.hint == "--set heads=a,b"
    with pytest.raises(UsageError, match="the net has one head, expected x, y"):
        one.name_heads(["x", "y"])
    with pytest.raises(UsageError, match="the net has several heads: a, b"):
        _ = two.output
    assert two.frame(8, 8, "a") == (0, 8, 8)


def test_heads_that_give_numbers_are_no_classes() -> None:
    net = small()
    net.only_classes("counting")
    net.kinds = {"labels": CLASSES, "far": EDGE}
    with pytest.raises(UsageError, match="counting: head `far` gives edges, expected classes"):
        net.only_classes("counting")


def test_several_inputs_are_joined_or_each_is_read_in_its_scope() -> None:
    net = Net()
    net.data(3, "color")
    net.data(1, "depth")
    assert (net.inputs, net.input) == ({"color": 3, "depth": 1}, "color")
    with net.scope("depth"):
        assert net.input == "depth"
        net.conv("conv", net.input, 2)
    assert net.layers["convdepth"].inputs == ("depth",)
    with pytest.raises(UsageError), net.scope("color"):
        net.conv("conv", "nothing", 2)
    net.add(Concat("data", ("color", "depth")))
    assert (net.input, net.stream, net.channels["data"]) == ("data", "", 4)


def test_unpooling_takes_the_maps_that_its_pool_has_seen() -> None:
    net = small()
    net.max_pool("kept", "relu1", 2, 2, indices=True)
    net.max_pool("half", "kept", 2, 2, indices=True)
    net.unpool("back", "kept", "kept")
    assert net.layers["back"].inputs == ("kept", "kept.indices", "relu1")
    assert (net.sizes(7)["back"], net.channels["back"]) == (7, 8)
    # A field of 4 at stride 2 (3x3, then 2x2) reaches one cell further to each side.
    assert net.sights["back"] == Sight(CoordMap(), 4 + 1)
    with pytest.raises(UsageError, match=r"off joins .* not aligned .*half.*kept\.indices"):
        net.unpool("off", "half", "kept")
    with pytest.raises(UsageError, match="thin: 16 channels, 8 of indices"):
        net.unpool("thin", "conv2", "kept")
