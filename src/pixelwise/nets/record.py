"""What every kind of layer says about itself: the rules that the rest of the house asks for.

A kind is a small frozen record (``layers.py``). Net, table, memory, surgery and training read these
rules and know no kinds, so that a new kind is a record, and a module in the engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Literal

from pixelwise import geometry
from pixelwise.errors import UsageError
from pixelwise.geometry import CoordMap, Pad

Shapes = dict[str, tuple[int, ...]]
"""Name of an array to its shape."""


@dataclass(frozen=True)
class Sight:
    """What one cell of a map sees of the net's inputs, along one axis.

    ``map`` leads from the cell's index to the input coordinate of its centre; ``field`` is the
    receptive field in pixels around that centre, infinite after a global operation. The stride is
    ``map.scale``.
    """

    map: CoordMap = CoordMap()  # noqa: RUF009 - it is frozen
    field: float = 1

    def through_window(self, kernel: int, stride: int, pad: Pad, dilation: int = 1) -> Sight:
        """After a sliding window: r + (span - 1) * j (fact sheet, section 7)."""
        reach = (geometry.span(kernel, dilation) - 1) * self.map.scale
        step = geometry.window_map(kernel, stride, pad, dilation)
        return Sight(self.map.then(step), self.field + number(reach))

    def through_deconv(self, kernel: int, stride: int, pad: Pad) -> Sight:
        """After a deconvolution: r + (k - 1) * j, with the j after it.

        A cell reaches (k - 1) / 2 outputs to either side, so an output sees that far at most, and
        depending on its phase further to one side than to the other. The field is the length that,
        centred on the output, holds all of it: what a tile must carry around it.
        """
        step = self.map.then(geometry.deconv_map(kernel, stride, pad))
        return Sight(step, self.field + number((kernel - 1) * step.scale))


def number(value: Fraction) -> float:
    """A fraction for print: an int where it is whole."""
    return int(value) if value.denominator == 1 else float(value)


@dataclass(frozen=True)
class Layer:
    """One named step; ``inputs`` are the names of the maps it reads.

    As it stands it is pointwise, keeps the channels and has no parameters; a kind overrides what is
    otherwise. ``given`` is always what the inputs have, in their order.
    """

    name: str
    inputs: tuple[str, ...]

    convolves: ClassVar[bool] = False
    """Whether it counts as a layer in the papers' depths."""
    upsamples: ClassVar[bool] = False
    """Whether it is a bilinear upsampling, which the papers' counts of parameters leave out."""
    shares_memory: ClassVar[bool] = False
    """Whether its map is its first input, or a view of it."""
    fixed_factor: ClassVar[bool] = False
    """Whether it is a factor that is never trained, the mark of a net trained at once."""
    normalises_batch: ClassVar[bool] = False
    """Whether it takes a deviation over the batch in training, which a single value has not."""

    keeps: ClassVar[Literal["nothing", "input for its weights", "input", "output"]] = "nothing"
    """What its gradients are computed from, beside its parameters; ``kept`` reads it."""

    @property
    def kind(self) -> str:
        """What the table calls it."""
        return type(self).__name__

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what it gives: its map, then indices (int64) of the map's shape, if any."""
        return (self.name,)

    @property
    def reads(self) -> tuple[str, ...]:
        """The inputs whose numbers it reads; of the others it takes the size alone."""
        return self.inputs

    @property
    def zero_start(self) -> bool:
        """Whether it starts at zero: a layer that gives scores."""
        return getattr(self, "init", "") == "zero"

    @property
    def per_class(self) -> bool:
        """Whether its arrays hold something for each class, and are void for other classes."""
        return self.zero_start or self.upsamples

    @property
    def computed_start(self) -> str:
        """What its arrays hold before training, in words, where that is computed and not drawn."""
        return "starts as the bilinear kernel" if getattr(self, "init", "") == "bilinear" else ""

    # -- what it makes of what it is given --------------------------------------------------------
    def channels(self, given: tuple[int, ...]) -> int:
        """Output channels from the inputs' channels: a kind with a ``width`` gives that many."""
        return getattr(self, "width", None) or given[0]

    def size(self, given: tuple[int, ...]) -> int:
        """Output length along one axis from the inputs' lengths."""
        return given[0]

    def sight(self, given: tuple[Sight, ...]) -> Sight:
        """What an output cell sees of the net's inputs, from what the inputs' cells see."""
        return given[0]

    # -- what it costs ----------------------------------------------------------------------------
    def parameters(self, given: tuple[int, ...]) -> Shapes:
        """Arrays that can be trained, by the inputs' channels."""
        return {}

    def stored(self, given: tuple[int, ...]) -> Shapes:
        """Arrays that stand in a weights file and are never trained."""
        return {}

    def parameters_in_caffe(self, given: tuple[int, ...]) -> int:
        """Numbers that Caffe stores as its parameters, trained or not."""
        return sum(math.prod(shape) for shape in self.parameters(given).values())

    def macs(self, given: tuple[int, ...], cells: int) -> int:
        """Multiply-adds for ``cells`` output positions."""
        return 0

    def rows_held(self, rows: int) -> int:
        """Rows that are in memory for so many rows of the map."""
        return rows

    def kept(self, *, trained: bool, reached: bool) -> tuple[str, ...]:
        """Maps that a training step keeps for its gradients.

        For those of its own parameters (``trained``), or of something below it (``reached``).
        """
        needed = trained if self.keeps == "input for its weights" else reached
        if self.keeps == "nothing" or not needed:
            return ()
        return (self.name,) if self.keeps == "output" else self.inputs[:1]


def union(layer: Layer, given: tuple[Sight, ...]) -> Sight:
    """What cells see that several maps give together; they must be aligned (UsageError)."""
    if len({seen.map for seen in given}) != 1:
        maps = ", ".join(f"{n}: {v.map}" for n, v in zip(layer.inputs, given, strict=False))
        raise UsageError(
            "U002", f"{layer.name} joins maps that are not aligned ({maps})", "crop one of them"
        )
    # Aligned windows share their centre, so the union is the widest of them.
    return Sight(given[0].map, max(seen.field for seen in given))
