"""The separable upsampling against the dense deconvolution and against torch's interpolation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.upsampling import Window, bilinear_kernel, bilinear_ramp, phases, upsample
from pixelwise.nets.layers import Edge

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
def test_the_two_shares_of_each_phase_are_the_kernel(kernel: int, stride: int) -> None:
    own = phases(kernel, stride)
    ramp = F.pad(bilinear_ramp(kernel), (0, 2 * stride - kernel))
    assert torch.equal(torch.cat([own, 1 - own]), ramp)


@pytest.mark.parametrize("kernel", [1, 4, 9])
def test_a_kernel_that_does_not_interpolate_is_refused(kernel: int) -> None:
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


@pytest.mark.parametrize(("kernel", "stride"), KERNELS[:4])
@pytest.mark.parametrize("edge", ["fade", "hold"])
def test_gradients_are_the_slopes_and_have_slopes(kernel: int, stride: int, edge: Edge) -> None:
    x = torch.randn(1, 1, 3, 2, dtype=torch.float64, requires_grad=True)
    shares = phases(kernel, stride)

    def carry_out(v: Tensor) -> Tensor:
        return upsample(v, shares, kernel, edge)

    assert torch.autograd.gradcheck(carry_out, (x,))
    assert torch.autograd.gradgradcheck(carry_out, (x,))


@pytest.mark.parametrize(("kernel", "stride"), KERNELS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3)])
def test_gradients_equal_the_dense_ones(kernel: int, stride: int, size: tuple[int, int]) -> None:
    torch.manual_seed(kernel)
    x = torch.randn(2, 3, *size, dtype=torch.float64, requires_grad=True)
    dense = F.conv_transpose2d(x, bilinear_kernel(kernel, 3).double(), stride=stride)
    towards = torch.randn_like(dense)
    (expected,) = torch.autograd.grad(dense, x, towards)
    out = upsample(x, phases(kernel, stride), kernel)
    torch.testing.assert_close(
        torch.autograd.grad(out, x, towards)[0], expected, rtol=0, atol=1e-10
    )


@pytest.mark.parametrize(("kernel", "stride"), KERNELS)
@pytest.mark.parametrize("edge", ["fade", "hold"])
def test_a_window_is_what_a_crop_leaves(kernel: int, stride: int, edge: Edge) -> None:
    torch.manual_seed(kernel)
    x = torch.randn(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    shares = phases(kernel, stride)
    whole = upsample(x, shares, kernel, edge)
    height, width = whole.shape[-2:]
    for offset in sorted({0, 1, stride - 1, stride, stride + 1, 2 * stride - 1}):
        for h, w in ((1, 1), (stride, 2), (height - offset, width - offset), (3, width - offset)):
            left = offset // 2
            cropped = whole.narrow(-2, offset, h).narrow(-1, left, w)
            window = upsample(x, shares, kernel, edge, Window(offset, left, h, w))
            assert torch.equal(window, cropped), (offset, h, w)
            towards = torch.randn_like(cropped)
            (expected,) = torch.autograd.grad(cropped, x, towards, retain_graph=True)
            (found,) = torch.autograd.grad(window, x, towards)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "window",
    [
        Window(3, 3, 8, 1),
        Window(3, 3, 1, 6),
        Window(-1, 0, 2, 2),
        Window(0, -1, 2, 2),
        Window(0, 0, 11, 8),
    ],
)
def test_a_window_beyond_the_map_is_refused(window: Window) -> None:
    x = torch.zeros(1, 1, 4, 3)  # 10x8
    with pytest.raises(ValueError, match="does not lie in a map of 10x8"):
        upsample(x, phases(4, 2).float(), 4, "fade", window)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # in torch's own jvp
@pytest.mark.filterwarnings("ignore:There is a performance drop")  # of addcmul under vmap
@pytest.mark.parametrize("window", [None, Window(3, 3, 5, 4), Window(5, 2, 3, 9)])
def test_every_kind_of_derivative_is_that_of_the_dense_form(window: Window | None) -> None:
    torch.manual_seed(0)
    x, direction = torch.randn(2, 2, 3, 4, 3, dtype=torch.float64)
    shares, kernel = phases(8, 4), bilinear_kernel(8, 3).double()

    def ours(v: Tensor) -> Tensor:
        return upsample(v, shares, 8, "fade", window).square()

    def dense(v: Tensor) -> Tensor:
        out = F.conv_transpose2d(v, kernel, stride=4)
        if window is not None:
            out = out.narrow(-2, window.top, window.height)
            out = out.narrow(-1, window.left, window.width)
        return out.square()

    def close(way: Callable[[Callable[[Tensor], Tensor]], Tensor]) -> None:
        torch.testing.assert_close(way(ours), way(dense), rtol=0, atol=1e-10)

    close(lambda f: torch.func.jvp(f, (x,), (direction,))[1])
    close(lambda f: torch.func.vmap(f)(torch.stack([x, direction])))
    close(lambda f: torch.func.grad(lambda v: f(v).sum())(x))
    close(lambda f: torch.func.jacrev(lambda v: f(v).sum((1, 2, 3)))(x))
    scale = torch.tensor(2.0, dtype=torch.float64)

    def nested(f: Callable[[Tensor], Tensor]) -> Tensor:
        """The map depends on the outer variable alone."""

        def outer(v: Tensor) -> Tensor:
            return torch.func.grad(lambda s: (s * f(v)).sum())(scale)

        return torch.func.grad(outer)(x)

    close(nested)


def test_scores_may_be_written_into() -> None:
    x = torch.randn(1, 2, 3, 2, requires_grad=True)
    out = upsample(x, phases(3, 2).float(), 3)
    (expected,) = torch.autograd.grad(out.sum() / 2, x)
    out = upsample(x, phases(3, 2).float(), 3)
    out /= 2
    assert torch.equal(torch.autograd.grad(out.sum(), x)[0], expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_computed_in_the_wider_type(dtype: torch.dtype) -> None:
    x = torch.randn(1, 2, 3, 2, dtype=dtype, requires_grad=True)
    out = upsample(x, phases(4, 2).float(), 4)
    assert out.dtype == torch.promote_types(dtype, torch.float32)
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == dtype


@pytest.mark.parametrize("edge", ["fade", "hold"])
def test_scores_lie_row_by_row_in_memory(edge: Edge) -> None:
    out = upsample(torch.randn(1, 2, 3, 5), phases(16, 8).float(), 16, edge)
    assert out.is_contiguous()
