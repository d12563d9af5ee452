"""The vocabulary in which nets are written: one small frozen record per kind of operation.

A net is an ordered list of named records; all else is derived from it. Every record carries its own
rules: channels, output length, sight of the input, parameters, multiply-adds. No torch in here;
``module.py`` carries a spec out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from pixelwise import geometry
from pixelwise.errors import UsageError
from pixelwise.geometry import CoordMap

Init = Literal["he", "zero"]
Edge = Literal["fade", "hold"]


@dataclass(frozen=True)
class Sight:
    """What one cell of a map sees of the net's input, along one axis.

    ``map`` leads from the cell's index to the input coordinate of its centre; ``field`` is the
    receptive field in pixels around that centre, infinite after a global operation. The stride is
    ``map.scale``.
    """

    map: CoordMap = CoordMap()  # noqa: RUF009 - it is frozen
    field: float = 1

    def through_window(self, kernel: int, stride: int, pad: int, dilation: int = 1) -> Sight:
        """After a sliding window: r + (span - 1) * j (fact sheet, section 7)."""
        reach = (geometry.span(kernel, dilation) - 1) * self.map.scale
        step = geometry.window_map(kernel, stride, pad, dilation)
        return Sight(self.map.then(step), self.field + _whole(reach))

    def through_deconv(self, kernel: int, stride: int, pad: int) -> Sight:
        """After a deconvolution: r + (k - 1) * j, with the j after it.

        A cell reaches (k - 1) / 2 outputs to either side, so an output sees that far at most, and
        depending on its phase further to one side than to the other. The field is the length that,
        centred on the output, holds all of it: what a tile must carry around it.
        """
        step = self.map.then(geometry.deconv_map(kernel, stride, pad))
        return Sight(step, self.field + _whole((kernel - 1) * step.scale))


def _whole(value: Fraction) -> float:
    return int(value) if value.denominator == 1 else float(value)


@dataclass(frozen=True)
class Layer:
    """One named step; ``inputs`` are the names it reads. Pointwise unless a kind says otherwise."""

    name: str
    inputs: tuple[str, ...]

    def channels(self, given: tuple[int, ...]) -> int:
        """Output channels from the inputs' channels."""
        return given[0]

    def size(self, given: tuple[int, ...]) -> int:
        """Output length along one axis from the inputs' lengths."""
        return given[0]

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        """What an output cell sees of the net's input, from what the inputs' cells see."""
        return given[0]

    def parameters(self, given: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
        """Trainable arrays, name to shape."""
        del given
        return {}

    def macs(self, given: tuple[int, ...], cells: int) -> int:
        """Multiply-adds for ``cells`` output positions."""
        del given, cells
        return 0


@dataclass(frozen=True)
class Input(Layer):
    """The picture: (N, ``width``, H, W)."""

    width: int = 3

    def channels(self, given: tuple[int, ...]) -> int:  # noqa: D102
        del given
        return self.width


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution (cross-correlation, as Caffe and torch have it); a scoring layer starts at 0."""

    width: int = 1
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    groups: int = 1
    dilation: int = 1
    bias: bool = True
    init: Init = "he"

    def channels(self, given: tuple[int, ...]) -> int:  # noqa: D102
        del given
        return self.width

    def size(self, given: tuple[int, ...]) -> int:  # noqa: D102
        return geometry.conv_size(given[0], self.kernel, self.stride, self.pad, self.dilation)

    def sight(self, given: tuple[Sight, ...]) -> Sight:  # noqa: D102
        return given[0].through_window(self.kernel, self.stride, self.pad, self.dilation)

    def parameters(self, given: tuple[int, ...]) -> dict[str, tuple[int, ...]]:  # noqa: D102
        shapes = {"weight": (self.width, given[0] // self.groups, self.kernel, self.kernel)}
        return shapes | ({"bias": (self.width,)} if self.bias else {})

    def macs(self, given: tuple[int, ...], cells: int) -> int:  # noqa: D102
        return cells * self.width * (given[0] // self.groups) * self.kernel**2


@dataclass(frozen=True)
class Deconv(Layer):
    """Upsampling by a bilinear kernel: fixed (per channel) or learned from it (dense, as in Caffe).

    ``edge``: the scores ``fade`` towards the rim, where only one cell contributes (all released
    nets, fact sheet 1.8), or the outermost cells ``hold``, as if they went on.
    """

    kernel: int = 4
    stride: int = 2
    learned: bool = False
    edge: Edge = "fade"

    def size(self, given: tuple[int, ...]) -> int:  # noqa: D102
        return geometry.deconv_size(given[0], self.kernel, self.stride)

    def sight(self, given: tuple[Sight, ...]) -> Sight:  # noqa: D102
        return given[0].through_deconv(self.kernel, self.stride, 0)

    def parameters(self, given: tuple[int, ...]) -> dict[str, tuple[int, ...]]:  # noqa: D102
        k = self.kernel
        return {"weight": (given[0], given[0], k, k)} if self.learned else {}

    def macs(self, given: tuple[int, ...], cells: int) -> int:  # noqa: D102
        taps = -(self.kernel // -self.stride)
        return cells * given[0] * taps**2 * (given[0] if self.learned else 1)


@dataclass(frozen=True)
class MaxPool(Layer):
    """Max pooling; Caffe rounds sizes up (``ceil``), torchvision's nets round down."""

    kernel: int = 2
    stride: int = 2
    pad: int = 0
    ceil: bool = True

    def size(self, given: tuple[int, ...]) -> int:  # noqa: D102
        return geometry.pool_size(given[0], self.kernel, self.stride, self.pad, ceil=self.ceil)

    def sight(self, given: tuple[Sight, ...]) -> Sight:  # noqa: D102
        return given[0].through_window(self.kernel, self.stride, self.pad)


@dataclass(frozen=True)
class AvgPool(Layer):
    """Average pooling over a window, no padding."""

    kernel: int = 7
    stride: int = 1

    def size(self, given: tuple[int, ...]) -> int:  # noqa: D102
        return geometry.pool_size(given[0], self.kernel, self.stride)

    def sight(self, given: tuple[Sight, ...]) -> Sight:  # noqa: D102
        return given[0].through_window(self.kernel, self.stride, 0)


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """The mean over the whole map, kept as a 1x1 map; every cell sees everything."""

    def size(self, given: tuple[int, ...]) -> int:  # noqa: D102
        del given
        return 1

    def sight(self, given: tuple[Sight, ...]) -> Sight:  # noqa: D102
        return Sight(given[0].map, math.inf)


@dataclass(frozen=True)
class Relu(Layer):
    """max(x, 0), cut at ``ceiling`` where that is finite (6 in MobileNetV2)."""

    ceiling: float = math.inf


@dataclass(frozen=True)
class Lrn(Layer):
    """Local response normalisation across channels: x / (k + alpha/size * sum x^2)^beta."""

    window: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation with learned scale and shift."""

    eps: float = 1e-5

    def parameters(self, given: tuple[int, ...]) -> dict[str, tuple[int, ...]]:  # noqa: D102
        return {"weight": (given[0],), "bias": (given[0],)}

    def macs(self, given: tuple[int, ...], cells: int) -> int:  # noqa: D102
        return cells * given[0]


@dataclass(frozen=True)
class Dropout(Layer):
    """Elementwise dropout (never whole channels), scaled by 1/(1-p) in training."""

    p: float = 0.5


@dataclass(frozen=True)
class Scale(Layer):
    """A fixed factor per channel, filled with ``value`` (the at-once nets' 0.01 and 0.0001)."""

    value: float = 1.0


@dataclass(frozen=True)
class Softmax(Layer):
    """Probabilities over the channels."""


@dataclass(frozen=True)
class Crop(Layer):
    """The window of the first input that begins at ``offset`` and has the second's size."""

    offset: int = 0

    def size(self, given: tuple[int, ...]) -> int:  # noqa: D102
        have, want = given
        if self.offset + want > have:
            raise UsageError(
                "U002",
                f"{self.name}: {self.inputs[0]} has {have} cells, "
                f"{want} from offset {self.offset} do not fit",
                "more padding, or crop the other map",
            )
        return want

    def sight(self, given: tuple[Sight, ...]) -> Sight:  # noqa: D102
        step = CoordMap(shift=Fraction(self.offset))
        return Sight(given[0].map.then(step), given[0].field)


@dataclass(frozen=True)
class _Join(Layer):
    """Several maps made one; they must be aligned and of one size."""

    def size(self, given: tuple[int, ...]) -> int:
        if len(set(given)) != 1:
            raise UsageError("U002", f"{self.name}: inputs {self.inputs} have sizes {given}")
        return given[0]

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        if len({v.map for v in given}) != 1:
            maps = ", ".join(
                f"{name}: {sight.map}" for name, sight in zip(self.inputs, given, strict=True)
            )
            raise UsageError(
                "U002", f"{self.name} joins maps that are not aligned ({maps})", "crop one of them"
            )
        # Aligned windows share their centre, so the union is the widest of them.
        return Sight(given[0].map, max(v.field for v in given))


@dataclass(frozen=True)
class Sum(_Join):
    """Elementwise sum."""

    def channels(self, given: tuple[int, ...]) -> int:  # noqa: D102
        if len(set(given)) != 1:
            raise UsageError("U002", f"{self.name}: inputs {self.inputs} have channels {given}")
        return given[0]


@dataclass(frozen=True)
class Concat(_Join):
    """Channels of all inputs, one after the other."""

    def channels(self, given: tuple[int, ...]) -> int:  # noqa: D102
        return sum(given)
