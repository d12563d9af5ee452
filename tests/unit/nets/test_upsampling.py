"""The separable upsampling against the dense deconvolution and against torch's interpolation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.nets.spec import Edge
from pixelwise.nets.upsampling import bilinear_kernel, bilinear_ramp, phases, upsample

KERNELS = [(3, 2), (4, 2), (7, 4), (8, 4), (15, 8), (16, 8), (31, 16), (32, 16), (63, 32), (64, 32)]


def caffes_tent(kernel: int) -> Tensor:
    """Caffe's BilinearFiller (fact sheet 10.3): f = ceil(K/2), c = (K-1)/(2f), 1 - |x/f - c|."""
    f = -(kernel // -2)
    # Caffe has c = (2f - 1 - f % 2) / (2f); for the even and odd kernels in use it is the middle
    c = (kernel - 1) / (2 * f)
    row = torch.tensor([1 - abs(x / f - c) for x in range(kernel)], dtype=torch.float64)
    return row[:, None] * row[None, :]


@pytest.mark.parametrize(("kernel", "total"), [(4, 4), (16, 64), (32, 256), (64, 1024), (63, 1024)])
def test_kernels_sum_to_their_factor_squared(kernel: int, total: int) -> None:
    # fact sheet 2.3
    weight = bilinear_kernel(kernel, 2)
    assert weight[0, 0].sum() == weight[1, 1].sum() == total
    assert weight[0, 1].abs().sum() == weight[1, 0].abs().sum() == 0


def test_kernel_of_four_by_hand() -> None:
    assert bilinear_ramp(4).tolist() == [0.25, 0.75, 0.75, 0.25]
    assert bilinear_ramp(3).tolist() == [0.5, 1.0, 0.5]
    assert bilinear_kernel(64, 1)[0, 0, 0, 0] == 1 / 4096  # fact sheet 2.3


@pytest.mark.parametrize(("kernel", "stride"), KERNELS)
def test_kernel_is_caffes(kernel: int, stride: int) -> None:
    torch.testing.assert_close(
        bilinear_kernel(kernel, 1)[0, 0].double(), caffes_tent(kernel), rtol=0, atol=1e-15
    )


@pytest.mark.parametrize(("kernel", "stride"), KERNELS)
def test_weights_of_each_phase_sum_to_one(kernel: int, stride: int) -> None:
    assert torch.equal(phases(kernel, stride).sum(0), torch.ones(stride, dtype=torch.float64))


@pytest.mark.parametrize("kernel", [1, 9])
def test_a_kernel_of_more_than_two_neighbours_is_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"kernel {kernel}"):
        phases(kernel, 4)


@pytest.mark.parametrize(("kernel", "stride"), KERNELS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
def test_separable_equals_dense(kernel: int, stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(kernel)
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    dense = F.conv_transpose2d(x, bilinear_kernel(kernel, 3).double(), stride=stride)
    torch.testing.assert_close(
        upsample(x, phases(kernel, stride), kernel), dense, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("kernel", "stride"), [k for k in KERNELS if k[0] % 2 == 0])
def test_even_kernels_equal_interpolation(kernel: int, stride: int) -> None:
    torch.manual_seed(kernel)
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64)
    expected = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    half = stride // 2
    inner = (..., slice(half, half + 5 * stride), slice(half, half + 4 * stride))
    held = upsample(x, phases(kernel, stride), kernel, "hold")[inner]
    torch.testing.assert_close(held, expected, rtol=0, atol=1e-12)
    # fading differs at the rim only, where interpolation repeats the outermost cell
    faded = upsample(x, phases(kernel, stride), kernel)[inner]
    away = (..., slice(half, -half), slice(half, -half))
    torch.testing.assert_close(faded[away], expected[away], rtol=0, atol=1e-12)
    assert (faded - expected).abs().max() > 0.01


@pytest.mark.parametrize(("kernel", "stride"), KERNELS)
def test_held_constants_stay_constant_and_faded_ones_fall(kernel: int, stride: int) -> None:
    ones = torch.ones(1, 1, 3, 2)
    weights = phases(kernel, stride).float()
    held = upsample(ones, weights, kernel, "hold")
    assert torch.equal(held, torch.ones_like(held))
    faded = upsample(ones, weights, kernel)
    corner = bilinear_ramp(kernel)[0] ** 2
    assert faded[0, 0, 0, 0] == corner < 1
    assert faded.max() == 1


def test_gradient_of_the_separable_form() -> None:
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    for edge in ("fade", "hold"):
        assert torch.autograd.gradcheck(lambda v, e=edge: upsample(v, phases(4, 2), 4, e), (x,))


@pytest.mark.parametrize("edge", ["fade", "hold"])
def test_scores_lie_row_by_row_in_memory(edge: Edge) -> None:
    out = upsample(torch.randn(1, 2, 3, 5), phases(16, 8).float(), 16, edge)
    assert out.is_contiguous()
