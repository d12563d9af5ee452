"""The vocabulary in which nets are written: one small frozen record per kind of operation.

Here are convolutions, upsampling and what works cell by cell; ``pooling.py`` and ``joining.py``
have the others. Every record carries its own rules (``record.py`` says which). No torch in here:
what a kind is carried out by stands in ``engine/modules.py``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from pixelwise import geometry
from pixelwise.errors import UsageError
from pixelwise.geometry import Pad
from pixelwise.nets.record import Layer, Shapes, Sight

Init = Literal["he", "zero"]
Edge = Literal["fade", "hold"]


@dataclass(frozen=True)
class Input(Layer):
    """A picture, or one of several that are given as one stack of bands: (N, ``width``, H, W)."""

    width: int = 3

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        return Sight()


@dataclass(frozen=True)
class Conv(Layer):
    """Convolution (cross-correlation, as Caffe and torch have it); a scoring layer starts at 0."""

    width: int = 1
    kernel: int = 1
    stride: int = 1
    pad: Pad = 0
    groups: int = 1
    dilation: int = 1
    bias: bool = True
    init: Init = "he"

    convolves: ClassVar[bool] = True
    keeps: ClassVar = "input for its weights"

    def size(self, given: tuple[int, ...]) -> int:
        return geometry.conv_size(given[0], self.kernel, self.stride, self.pad, self.dilation)

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        return given[0].through_window(self.kernel, self.stride, self.pad, self.dilation)

    def parameters(self, given: tuple[int, ...]) -> Shapes:
        shapes: Shapes = {"weight": (self.width, given[0] // self.groups, self.kernel, self.kernel)}
        return shapes | ({"bias": (self.width,)} if self.bias else {})

    def macs(self, given: tuple[int, ...], cells: int) -> int:
        return cells * self.width * (given[0] // self.groups) * self.kernel**2


@dataclass(frozen=True)
class Deconv(Layer):
    """A deconvolution like any other layer: learned, of any kernel, stride, pad and width.

    ``init``: drawn after He et al., or a bilinear kernel from each channel to its own.
    """

    width: int = 1
    kernel: int = 2
    stride: int = 2
    pad: Pad = 0
    groups: int = 1
    bias: bool = True
    init: Literal["he", "bilinear"] = "he"

    convolves: ClassVar[bool] = True  # U-Net's 23 layers count its four (Ronneberger 2015, sec. 2)
    keeps: ClassVar = "input for its weights"

    def channels(self, given: tuple[int, ...]) -> int:
        if self.init == "bilinear" and given[0] != self.width:
            raise UsageError(
                "U002",
                f"{self.name}: a bilinear start from {given[0]} to {self.width} channels, "
                "expected as many",
                "init='he'",
            )
        return self.width

    def size(self, given: tuple[int, ...]) -> int:
        return geometry.deconv_size(given[0], self.kernel, self.stride, self.pad)

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        return given[0].through_deconv(self.kernel, self.stride, self.pad)

    def parameters(self, given: tuple[int, ...]) -> Shapes:
        shapes: Shapes = {"weight": (given[0], self.width // self.groups, self.kernel, self.kernel)}
        return shapes | ({"bias": (self.width,)} if self.bias else {})

    def macs(self, given: tuple[int, ...], cells: int) -> int:
        taps = -(self.kernel // -self.stride)
        return cells * self.width * (given[0] // self.groups) * taps**2


@dataclass(frozen=True)
class Upsample(Layer):
    """Upsampling by a bilinear kernel: fixed (per channel) or learned from it (dense, as in Caffe).

    ``edge``: the scores ``fade`` towards the rim, where only one cell contributes (all released
    nets, fact sheet 1.8), or the outermost cells ``hold``, as if they went on.
    """

    kernel: int = 4
    stride: int = 2
    learned: bool = False
    edge: Edge = "fade"

    upsamples: ClassVar[bool] = True
    init: ClassVar = "bilinear"

    @property
    def kind(self) -> str:
        """Caffe's and the paper's name for it."""
        return "Deconv"

    def size(self, given: tuple[int, ...]) -> int:
        return geometry.deconv_size(given[0], self.kernel, self.stride)

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        return given[0].through_deconv(self.kernel, self.stride, 0)

    def parameters(self, given: tuple[int, ...]) -> Shapes:
        k = self.kernel
        return {"weight": (given[0], given[0], k, k)} if self.learned else {}

    def parameters_in_caffe(self, given: tuple[int, ...]) -> int:
        """The dense kernel, fixed or learned."""
        return given[0] ** 2 * self.kernel**2

    def macs(self, given: tuple[int, ...], cells: int) -> int:
        taps = -(self.kernel // -self.stride)
        return cells * given[0] * taps**2 * (given[0] if self.learned else 1)


@dataclass(frozen=True)
class Relu(Layer):
    """max(x, 0), cut at ``ceiling`` where that is finite (6 in MobileNetV2)."""

    ceiling: float = math.inf

    keeps: ClassVar = "output"


@dataclass(frozen=True)
class Lrn(Layer):
    """Local response normalisation across channels: x / (k + alpha/size * sum x^2)^beta."""

    window: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0

    keeps: ClassVar = "input"


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalisation with learned scale and shift."""

    eps: float = 1e-5

    normalises_batch: ClassVar[bool] = True
    keeps: ClassVar = "input"

    def parameters(self, given: tuple[int, ...]) -> Shapes:
        return {"weight": (given[0],), "bias": (given[0],)}

    def stored(self, given: tuple[int, ...]) -> Shapes:
        return {"running_mean": (given[0],), "running_var": (given[0],)}

    def macs(self, given: tuple[int, ...], cells: int) -> int:
        return cells * given[0]


@dataclass(frozen=True)
class Dropout(Layer):
    """Elementwise dropout (never whole channels), scaled by 1/(1-p) in training."""

    p: float = 0.5

    shares_memory: ClassVar[bool] = True


@dataclass(frozen=True)
class Scale(Layer):
    """A fixed factor per channel, filled with ``value`` (the at-once nets' 0.01 and 0.0001)."""

    value: float = 1.0

    fixed_factor: ClassVar[bool] = True

    @property
    def computed_start(self) -> str:
        return f"fixed factor {self.value:g}"

    def stored(self, given: tuple[int, ...]) -> Shapes:
        return {"weight": (given[0],)}


@dataclass(frozen=True)
class Softmax(Layer):
    """Probabilities over the channels."""
