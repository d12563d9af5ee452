"""Laws of the coordinate algebra, and sizes against what torch really produces."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from pixelwise.errors import UsageError
from pixelwise.geometry import (
    CoordMap,
    conv_size,
    crop_offset,
    deconv_map,
    deconv_size,
    pool_size,
    relative_offset,
    span,
    window_map,
)

fractions = st.fractions(min_value=-50, max_value=50, max_denominator=64)
maps = st.builds(CoordMap, fractions.filter(lambda f: f != 0), fractions)


@given(maps, maps, maps)
def test_composition_is_associative(a: CoordMap, b: CoordMap, c: CoordMap) -> None:
    assert a.then(b).then(c) == a.then(b.then(c))


@given(maps)
def test_a_map_and_its_inverse_cancel(a: CoordMap) -> None:
    assert a.then(a.inverse()) == CoordMap()
    assert a.inverse().then(a) == CoordMap()


@given(maps, maps, st.integers(-20, 20))
def test_then_applies_the_later_step_to_the_index_first(
    a: CoordMap, b: CoordMap, index: int
) -> None:
    middle = b.scale * index + b.shift
    both = a.then(b)
    assert both.scale * index + both.shift == a.scale * middle + a.shift


def test_a_map_prints_as_its_formula() -> None:
    assert str(CoordMap(Fraction(32), Fraction(-37, 2))) == "32x-37/2"
    assert str(CoordMap()) == "1x+0"


def test_window_map_by_hand() -> None:
    # a 3-wide window at stride 1 and pad 1 is centred on its own index
    assert window_map(3, 1, 1) == CoordMap()
    # a 2-wide pool: window 0 covers pixels 0 and 1, its centre is 1/2; window 1 is centred on 2.5
    assert window_map(2, 2) == CoordMap(Fraction(2), Fraction(1, 2))
    # conv1 of AlexNet, 11 wide, stride 4, pad 100: pixels -100..-90, centre -95
    assert window_map(11, 4, 100) == CoordMap(Fraction(4), Fraction(-95))
    # dilation 3: taps at 0, 3, 6
    assert span(3, 3) == 7
    assert window_map(3, 1, 0, 3) == CoordMap(Fraction(1), Fraction(3))


@given(st.integers(1, 64), st.integers(1, 32), st.integers(0, 16))
def test_deconvolution_is_the_convolution_read_backwards(
    kernel: int, stride: int, pad: int
) -> None:
    assert window_map(kernel, stride, pad).then(deconv_map(kernel, stride, pad)) == CoordMap()


def test_taps_of_a_deconvolution_are_centred_where_the_map_says() -> None:
    one = torch.zeros(1, 1, 5)
    one[0, 0, 3] = 1
    out = F.conv_transpose1d(one, torch.ones(1, 1, 7), stride=4)[0, 0].nonzero().flatten()
    centre = Fraction(int(out[0]) + int(out[-1]), 2)
    step = deconv_map(7, 4)
    assert step.scale * centre + step.shift == 3


def test_crop_offset_is_where_the_target_begins() -> None:
    # a map that begins 19 px before the picture
    assert crop_offset(CoordMap(shift=Fraction(-19)), CoordMap()) == 19
    # in cells of stride 16: 80 px are 5 cells
    coarse = CoordMap(Fraction(16), Fraction(-80))
    assert crop_offset(coarse, CoordMap(Fraction(16))) == 5


def test_relative_offset_may_be_negative_or_fractional() -> None:
    fine, late = CoordMap(Fraction(2), Fraction(3)), CoordMap(Fraction(2), Fraction(0))
    assert relative_offset(fine, late) == Fraction(-3, 2)


@pytest.mark.parametrize("shift", [Fraction(1), Fraction(-37, 2)])
def test_crops_that_cannot_be_are_refused(shift: Fraction) -> None:
    with pytest.raises(UsageError, match="whole number of at least 0") as caught:
        crop_offset(CoordMap(shift=shift), CoordMap())
    assert str(-shift) in str(caught.value)


def test_different_strides_are_refused_with_both_named() -> None:
    with pytest.raises(UsageError, match="stride 2 and 16"):
        crop_offset(CoordMap(Fraction(2)), CoordMap(Fraction(16)))


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (7, 2, 3), (11, 4, 8), (2, 2, 0)])
def test_conv_size_is_torchs(length: int, kernel: int, stride: int, pad: int) -> None:
    for dilation in (1, 2):
        size = conv_size(length, kernel, stride, pad, dilation)
        if length + 2 * pad < span(kernel, dilation):
            assert size < 1
            continue
        x, w = torch.zeros(1, 1, length), torch.zeros(1, 1, kernel)
        assert F.conv1d(x, w, None, stride, pad, dilation).shape[-1] == size


@pytest.mark.parametrize("length", range(1, 40))
@pytest.mark.parametrize("pad", [(0, 1), (2, 3), (3, 0)])
def test_sizes_under_uneven_padding_are_those_of_a_padded_map(
    length: int, pad: tuple[int, int]
) -> None:
    padded = length + sum(pad)
    for kernel, stride in ((3, 1), (3, 2), (2, 2)):
        windows = max(0, len(range(0, padded - kernel + 1, stride)))
        assert max(0, conv_size(length, kernel, stride, pad)) == windows
        assert max(0, pool_size(length, kernel, stride, pad, ceil=False)) == windows
        # a deconvolution gives what its convolution would read
        assert conv_size(deconv_size(length, kernel, stride, pad), kernel, stride, pad) == length


def test_tensorflows_same_by_hand() -> None:
    # TensorFlow: out = ceil(n / s), total pad = (out - 1) * s + k - n, the odd cell after.
    # 224 px, 3x3, stride 2: 112 outputs, 111 * 2 + 3 - 224 = 1
    assert conv_size(224, 3, 2, (0, 1)) == 112
    assert window_map(3, 2, (0, 1)) == CoordMap(Fraction(2), Fraction(1))
    # an even pad of 1, as torchvision has it, gives the same size half a stride to the left
    assert conv_size(224, 3, 2, 1) == 112
    assert window_map(3, 2, 1) == CoordMap(Fraction(2), Fraction(0))


@pytest.mark.parametrize("ceil", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(2, 2, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (1, 2, 0)]
)
def test_pool_size_is_torchs(kernel: int, stride: int, pad: int, ceil: bool) -> None:
    for length in range(1, 70):
        size = pool_size(length, kernel, stride, pad, ceil=ceil)
        if size < 1:
            with pytest.raises(RuntimeError):
                F.max_pool1d(torch.zeros(1, 1, length), kernel, stride, pad, ceil_mode=ceil)
            continue
        out = F.max_pool1d(torch.zeros(1, 1, length), kernel, stride, pad, ceil_mode=ceil)
        assert out.shape[-1] == size, length


def test_pool_drops_the_window_that_would_start_in_the_far_pad() -> None:
    # Caffe pooling_layer.cpp: ceil((5 + 2 - 2) / 2) + 1 = 4, but window 3 would start at 6 >= 5 + 1
    assert pool_size(5, 2, 2, 1) == 3
    # ceil((4 + 2 - 2) / 2) + 1 = 3: window 2 starts at 4 < 4 + 1, it stays
    assert pool_size(4, 2, 2, 1) == 3
    # without padding nothing is dropped: ceil((5 - 2) / 2) + 1 = 3
    assert pool_size(5, 2, 2) == 3


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(4, 2, 0), (63, 32, 0), (4, 2, 1)])
def test_deconv_size_is_torchs(kernel: int, stride: int, pad: int) -> None:
    for length in range(1, 12):
        x, w = torch.zeros(1, 1, length), torch.zeros(1, 1, kernel)
        out = F.conv_transpose1d(x, w, None, stride, pad)
        assert out.shape[-1] == deconv_size(length, kernel, stride, pad)
