"""Records of pooling, and of the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from pixelwise import geometry
from pixelwise.errors import UsageError
from pixelwise.geometry import Pad
from pixelwise.nets.record import Layer, Sight, union


@dataclass(frozen=True)
class MaxPool(Layer):
    """Max pooling; Caffe rounds sizes up (``ceil``), torchvision's nets round down.

    Uneven padding is for sizes that round down, as in TensorFlow. With ``indices`` it also gives
    ``<name>.indices``: where in its input each maximum stood, as row * width + column.
    """

    kernel: int = 2
    stride: int = 2
    pad: Pad = 0
    ceil: bool = True
    indices: bool = False
    dilation: int = 1

    keeps: ClassVar = "input"

    def __post_init__(self) -> None:
        """Refuse what no framework defines."""
        before, after = geometry.sides(self.pad)
        unusual = before != after or before > self.kernel // 2
        if unusual and (self.ceil or self.indices):
            raise UsageError(
                "U002",
                f"{self.name}: padding {self.pad} beside rounding up or indices",
                "ceil=False and no indices, or an even pad",
            )

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.name, f"{self.name}.indices") if self.indices else (self.name,)

    def size(self, given: tuple[int, ...]) -> int:
        span = geometry.span(self.kernel, self.dilation)
        return geometry.pool_size(given[0], span, self.stride, self.pad, ceil=self.ceil)

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        return given[0].through_window(self.kernel, self.stride, self.pad, self.dilation)


@dataclass(frozen=True)
class Unpool(Layer):
    """Each value back where its maximum stood, zero elsewhere (SegNet).

    It reads the values, the pooling's indices, and the pooling's input, whose size it takes.
    ``kernel``, ``stride`` and ``pad`` are the pooling's.
    """

    kernel: int
    stride: int
    pad: Pad

    @property
    def reads(self) -> tuple[str, ...]:
        return self.inputs[:2]

    def size(self, given: tuple[int, ...]) -> int:
        return given[2]

    def channels(self, given: tuple[int, ...]) -> int:
        if given[0] != given[1]:
            raise UsageError("U002", f"{self.name}: {given[0]} channels, {given[1]} of indices")
        return given[0]

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        # What a value says and where it lands both come from around the pooling's cell.
        return union(self, given[:2]).through_deconv(self.kernel, self.stride, self.pad)


@dataclass(frozen=True)
class AvgPool(Layer):
    """Average pooling over a window, no padding."""

    kernel: int = 7
    stride: int = 1
    dilation: int = 1

    def __post_init__(self) -> None:
        """Refuse windows that would be cut at the end and step over cells."""
        if self.dilation > 1 and self.stride > 1:
            problem = f"{self.name}: average pooling of stride {self.stride} with a dilation"
            raise UsageError("U002", problem, "a stride of 1")

    def size(self, given: tuple[int, ...]) -> int:
        return geometry.pool_size(given[0], geometry.span(self.kernel, self.dilation), self.stride)

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        return given[0].through_window(self.kernel, self.stride, 0, self.dilation)


@dataclass(frozen=True)
class GlobalAvgPool(Layer):
    """Means over bins x bins parts of the whole map; of one bin, the mean over all of it.

    Parts are of one size but for rounding, and share a row where that does not come out even. Their
    size is the picture's affair, so that a cell is taken to see everything.
    """

    bins: int = 1

    def size(self, given: tuple[int, ...]) -> int:
        return self.bins

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        return Sight(given[0].map, math.inf)


@dataclass(frozen=True)
class Resize(Layer):
    """Means over parts of the whole map, back at the size of a second map: bilinear, corners fit.

    Pyramid pooling (Zhao et al. 2017, section 3.2) and image pooling (Chen et al. 2017, section
    3.3); corners as in the authors' code. What sees only a part is enlarged by ``Upsample``, which
    knows where cells lie.
    """

    @property
    def reads(self) -> tuple[str, ...]:
        return self.inputs[:1]

    def size(self, given: tuple[int, ...]) -> int:
        return given[1]

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        if not math.isinf(given[0].field):
            problem = f"{self.name}: {self.inputs[0]} sees {given[0].field} px, expected everything"
            raise UsageError("U002", problem, "net.upsample, which keeps cells in their places")
        return Sight(given[1].map, math.inf)
