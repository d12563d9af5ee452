"""Rules that records have on their own: values, windows, pools, costs, what training keeps."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields, replace
from fractions import Fraction

import pytest

from pixelwise.errors import UsageError
from pixelwise.geometry import CoordMap
from pixelwise.nets.catalog import FAMILIES, NETS, spec
from pixelwise.nets.joining import Concat, Crop, Sum
from pixelwise.nets.layers import (
    BatchNorm,
    Conv,
    Deconv,
    Dropout,
    Input,
    Lrn,
    Relu,
    Scale,
    Softmax,
    Upsample,
)
from pixelwise.nets.pooling import AvgPool, GlobalAvgPool, MaxPool, Resize, Unpool
from pixelwise.nets.record import Layer, Sight, number, union
from pixelwise.nets.released import RELEASED
from pixelwise.nets.table import table

X, PAIR = ("x",), ("x", "y")
KINDS: tuple[Layer, ...] = (
    *(Conv("a", X), Deconv("a", X), Upsample("a", X), Relu("a", X), Lrn("a", X), Dropout("a", X)),
    *(BatchNorm("a", X), Scale("a", X), MaxPool("a", X), AvgPool("a", X), GlobalAvgPool("a", X)),
    *(Unpool("a", ("x", "y", "z"), 2, 2, 0), Resize("a", PAIR), Crop("a", PAIR), Sum("a", PAIR)),
    *(Concat("a", PAIR), Input("a", ()), Softmax("a", X)),
)


def test_records_are_values() -> None:
    """Equal ones are one in a set, and none changes under a net that has derived from it."""
    others = [Sight(), CoordMap(), NETS["unet"], FAMILIES["tiny"], RELEASED["voc-fcn8s"]]
    for record in (*KINDS, *others, table(spec("fcn32s-tiny"), 9, 9)[0]):
        with pytest.raises(FrozenInstanceError):
            setattr(record, fields(record)[0].name, "other")
    assert len({*KINDS, *(replace(layer) for layer in KINDS)}) == len(KINDS)
    assert {Sight(), Sight(CoordMap(), 1)} == {Sight()}


def test_what_is_not_said_of_a_layer_is_the_plainest() -> None:
    """1x1, 2x2 pools and ways back, the papers' constants."""
    sizes = {type(layer): layer.size((9,) * len(layer.inputs or X)) for layer in KINDS}
    assert (sizes[Conv], sizes[Deconv], sizes[Upsample], sizes[MaxPool]) == (9, 18, 20, 5)
    assert (sizes[AvgPool], sizes[GlobalAvgPool], sizes[Resize], sizes[Crop]) == (3, 1, 9, 9)
    assert Conv("a", X).parameters((3,)) == {"weight": (1, 3, 1, 1), "bias": (1,)}
    assert Deconv("a", X).parameters((3,)) == {"weight": (3, 1, 2, 2), "bias": (1,)}
    assert Upsample("a", X).parameters((3,)) == {}
    assert (Upsample("a", X).edge, Input("a", ()).width) == ("fade", 3)
    assert Relu("a", X).ceiling == math.inf
    norm = Lrn("a", X)  # Krizhevsky et al. 2012, section 3.3, but for k, which Caffe has as 1
    assert (norm.window, norm.alpha, norm.beta, norm.k) == (5, 1e-4, 0.75, 1)
    assert (BatchNorm("a", X).eps, Dropout("a", X).p, Scale("a", X).value) == (1e-5, 0.5, 1)
    assert Sum("a", PAIR).coefficients == ()


# -- what a cell sees -----------------------------------------------------------------------------
def test_windows_widen_the_field_by_their_reach_in_pixels() -> None:
    """Cells 4 px apart that see 10 px, the first centred on 3."""
    seen = Sight(CoordMap(Fraction(4), Fraction(3)), 10)
    plain = seen.through_window(3, 2, 1)  # two more cells; its first centre is where it was
    assert plain == Sight(CoordMap(Fraction(8), Fraction(3)), 18)
    atrous = seen.through_window(3, 1, (0, 9), 5)  # eleven cells long, its centre five further
    assert atrous == Sight(CoordMap(Fraction(4), Fraction(23)), 50)
    back = seen.through_deconv(4, 2, 0)  # cells 2 px apart, of which a kernel has three more
    assert back == Sight(CoordMap(Fraction(2), Fraction(0)), 16)
    assert seen.through_deconv(2, 2, 0).map.shift == 2
    assert seen.through_deconv(3, 4, 1) == Sight(CoordMap(Fraction(1), Fraction(3)), 12)
    assert [number(Fraction(n, 2)) for n in (-2, 3, 8)] == [-1, 1.5, 4]
    assert isinstance(number(Fraction(8, 2)), int)


def test_maps_that_lie_alike_see_together_what_the_widest_sees() -> None:
    layer, at = Concat("c", PAIR), CoordMap(Fraction(2), Fraction(1, 2))
    assert union(layer, (Sight(at, 3), Sight(at, 9), Sight(at, 5))) == Sight(at, 9)
    for other in (CoordMap(Fraction(2)), CoordMap(Fraction(1), Fraction(1, 2))):
        with pytest.raises(UsageError, match=r"c joins maps .* \(x: 2x\+1/2, y: "):
            union(layer, (Sight(at), Sight(other)))


def test_a_pool_is_padded_by_half_of_its_kernel_at_most_where_it_rounds_up() -> None:
    for kernel, most in ((2, 1), (3, 1), (4, 2)):
        for plain in ({}, {"indices": True, "ceil": False}):
            MaxPool("p", X, kernel, 2, most, **plain)
            for pad in (most + 1, (0, 1), (1, 0)):
                with pytest.raises(UsageError, match="p: padding"):
                    MaxPool("p", X, kernel, 2, pad, **plain)
        for pad in (most + 1, (0, 1)):
            assert MaxPool("p", X, kernel, 2, pad, ceil=False).pad == pad
    assert MaxPool("p", X).outputs == ("p",)
    assert MaxPool("p", X, indices=True).outputs == ("p", "p.indices")


def test_an_average_of_spread_cells_is_taken_at_each_cell() -> None:
    assert AvgPool("m", X, 3, 1, 4).size((20,)) == 12
    assert AvgPool("m", X, 3, 4, 1).size((21,)) == 6  # the last window is cut
    with pytest.raises(UsageError, match="m: average pooling of stride 2 with a dilation"):
        AvgPool("m", X, 3, 2, 2)


# -- what it costs --------------------------------------------------------------------------------
def test_parameters_and_multiply_adds_by_hand() -> None:
    conv = Conv("c", X, 6, 3, groups=2, bias=False)
    assert conv.parameters((8,)) == {"weight": (6, 4, 3, 3)}
    assert (conv.parameters_in_caffe((8,)), conv.macs((8,), 10)) == (216, 2160)
    deconv = Deconv("d", X, 6, 5, 2, groups=2)  # of five taps two or three meet a cell
    assert deconv.parameters((8,)) == {"weight": (8, 3, 5, 5), "bias": (6,)}
    assert (deconv.parameters_in_caffe((8,)), deconv.macs((8,), 10)) == (606, 10 * 6 * 4 * 9)
    fixed, learned = (Upsample("u", X, 5, 2, learned=own) for own in (False, True))
    assert (fixed.macs((3,), 10), learned.macs((3,), 10)) == (10 * 3 * 9, 10 * 9 * 9)
    assert (fixed.parameters((3,)), learned.parameters((3,))) == ({}, {"weight": (3, 3, 5, 5)})
    assert fixed.parameters_in_caffe((3,)) == learned.parameters_in_caffe((3,)) == 225
    norm = BatchNorm("b", X)
    assert (norm.parameters_in_caffe((7,)), norm.macs((7,), 10)) == (14, 70)
    assert norm.stored((7,)) == {"running_mean": (7,), "running_var": (7,)}
    assert Scale("s", X).stored((7,)) == {"weight": (7,)}
    assert Relu("r", X).macs((7,), 10) == Relu("r", X).parameters_in_caffe((7,)) == 0


def test_layers_that_start_in_a_known_way_say_so() -> None:
    score = Conv("s", X, init="zero")
    assert (score.zero_start, score.per_class, score.computed_start) == (True, True, "")
    assert (Conv("c", X).zero_start, Conv("c", X).per_class) == (False, False)
    assert Upsample("u", X).per_class
    for bilinear in (Upsample("u", X), Deconv("d", X, init="bilinear")):
        assert bilinear.computed_start == "starts as the bilinear kernel"
        assert not bilinear.zero_start
    assert Scale("f", X, 0.01).computed_start == "fixed factor 0.01"


def test_a_bilinear_start_leads_from_each_channel_to_its_own() -> None:
    many = int("300")  # equal, and no constant of Python's
    assert Deconv("d", X, 300, init="bilinear").channels((many,)) == 300
    assert Deconv("d", X, 300).channels((many - 1,)) == 300
    for given in (299, 301):
        with pytest.raises(UsageError, match=f"d: a bilinear start from {given} to 300 channels"):
            Deconv("d", X, 300, init="bilinear").channels((given,))


def test_training_keeps_what_gradients_are_computed_from() -> None:
    """A convolution its input, for its own weights; a ReLU its output, for what is below it."""
    kept = {
        type(layer): [
            layer.kept(trained=trained, reached=reached)
            for trained, reached in ((True, True), (True, False), (False, True), (False, False))
        ]
        for layer in KINDS
    }
    assert kept[Conv] == kept[Deconv] == [("x",), ("x",), (), ()]
    assert kept[Relu] == [("a",), (), ("a",), ()]
    assert kept[Lrn] == kept[BatchNorm] == kept[MaxPool] == [("x",), (), ("x",), ()]
    for kind in (Dropout, Crop, Sum, Concat, Resize, AvgPool):
        assert kept[kind] == [()] * 4
