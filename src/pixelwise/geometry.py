"""Where a pixel of one map falls on another: the arithmetic of alignment, in exact fractions.

All that a chain of spatial layers can do to a coordinate is ``x -> scale * x + shift`` per axis:
strides scale, kernels and padding shift. Two numbers therefore describe any path through a net,
and crop offsets, strides and receptive fields follow from them (Caffe: python/caffe/coord_map.py,
there written from output to input with the inverse sign). No floats: an offset is an integer or an
error.

Lengths are in pixels of one axis; height and width are treated apart and alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from pixelwise.errors import UsageError

Pad = int | tuple[int, int]
"""Cells added on both sides of an axis; (before, after) where they differ: TensorFlow's SAME adds
only one, after, before a stride of 2 on an even length."""


@dataclass(frozen=True)
class CoordMap:
    """Index ``i`` of a map is centred on coordinate ``scale * i + shift`` of another."""

    scale: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)

    def __str__(self) -> str:
        return f"{self.scale}x{'-' if self.shift < 0 else '+'}{abs(self.shift)}"

    def then(self, later: CoordMap) -> CoordMap:
        """The map of this step followed by ``later``."""
        return CoordMap(self.scale * later.scale, self.scale * later.shift + self.shift)

    def inverse(self) -> CoordMap:
        """The map that leads back."""
        return CoordMap(1 / self.scale, -self.shift / self.scale)


def span(kernel: int, dilation: int = 1) -> int:
    """Pixels from the first to the last tap of a dilated kernel, both included."""
    return dilation * (kernel - 1) + 1


def sides(pad: Pad) -> tuple[int, int]:
    """Cells before and after."""
    return (pad, pad) if isinstance(pad, int) else pad


def window_map(kernel: int, stride: int = 1, pad: Pad = 0, dilation: int = 1) -> CoordMap:
    """Convolution or pooling: the centre of window ``i`` is ``stride*i - pad + (span-1)/2``.

    Only the pad before the map moves the centres.
    """
    return CoordMap(Fraction(stride), Fraction(span(kernel, dilation) - 1, 2) - sides(pad)[0])


def deconv_map(kernel: int, stride: int = 1, pad: Pad = 0) -> CoordMap:
    """A deconvolution is the convolution read backwards, so its map is the inverse."""
    return window_map(kernel, stride, pad).inverse()


def relative_offset(fine: CoordMap, coarse: CoordMap) -> Fraction:
    """The (possibly negative or fractional) index of ``fine``'s map under ``coarse``'s index 0.

    Maps of different strides, which no crop can align, are refused (UsageError).
    """
    relative = fine.inverse().then(coarse)
    if relative.scale != 1:
        raise UsageError(
            "U002",
            f"maps of stride {fine.scale} and {coarse.scale} cannot be aligned by a crop",
            "upsample the coarser one first",
        )
    return relative.shift


def crop_offset(larger: CoordMap, target: CoordMap) -> int:
    """First index of ``larger`` that lands on index 0 of ``target`` (Caffe's Crop offset).

    Different strides, and offsets that are fractional or negative, are refused (UsageError).
    """
    offset = relative_offset(larger, target)
    if offset.denominator != 1 or offset < 0:
        raise UsageError(
            "U002",
            f"a crop at offset {offset} is impossible, it must be a whole number of at least 0",
            "kernel parity decides: try an upsampling kernel one longer or shorter, or other pads",
        )
    return int(offset)


def conv_size(length: int, kernel: int, stride: int = 1, pad: Pad = 0, dilation: int = 1) -> int:
    """Output length of a convolution: floor((n + 2p - span) / s) + 1."""
    return (length + sum(sides(pad)) - span(kernel, dilation)) // stride + 1


def pool_size(length: int, kernel: int, stride: int, pad: Pad = 0, *, ceil: bool = True) -> int:
    """Output length of a pooling; Caffe rounds up and drops a window that starts in the far pad."""
    if not ceil:
        return conv_size(length, kernel, stride, pad)
    before = sides(pad)[0]
    size = -((length + sum(sides(pad)) - kernel) // -stride) + 1
    # Caffe (pooling_layer.cpp) and torch drop a last window that would begin in the far padding;
    # without padding only torch does, and only a stride beyond the kernel can tell.
    if (size - 1) * stride >= length + before:
        size -= 1
    return size


def deconv_size(length: int, kernel: int, stride: int = 1, pad: Pad = 0) -> int:
    """Output length of a deconvolution: s(n - 1) + k - 2p."""
    return stride * (length - 1) + kernel - sum(sides(pad))
