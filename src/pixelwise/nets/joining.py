"""Records that read several maps: a crop to another's frame, a sum, a concatenation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from pixelwise.errors import UsageError
from pixelwise.geometry import CoordMap
from pixelwise.nets.record import Layer, Sight, union


@dataclass(frozen=True)
class Crop(Layer):
    """The window of the first input that begins at ``offset`` and has the second's size."""

    offset: int = 0

    shares_memory: ClassVar[bool] = True

    @property
    def reads(self) -> tuple[str, ...]:
        return self.inputs[:1]

    def size(self, given: tuple[int, ...]) -> int:
        have, want = given
        if self.offset + want > have:
            raise UsageError(
                "U002",
                f"{self.name}: {self.inputs[0]} has {have} cells, "
                f"{want} from offset {self.offset} do not fit",
                "more padding, or crop the other map",
            )
        return want

    def sight(self, given: tuple[Sight, ...]) -> Sight:
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
        return union(self, given)


@dataclass(frozen=True)
class Sum(_Join):
    """Elementwise sum, of each map times its coefficient where there are any.

    Caffe's Eltwise with coeff; nyud-fcn32s-color-hha has 0.5 and 0.5: the mean of two streams.
    """

    coefficients: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Refuse coefficients for other maps."""
        if self.coefficients and len(self.coefficients) != len(self.inputs):
            raise UsageError(
                "U002",
                f"{self.name}: {len(self.coefficients)} coefficients for {len(self.inputs)} maps",
                "one for each, or none",
            )

    def channels(self, given: tuple[int, ...]) -> int:
        if len(set(given)) != 1:
            raise UsageError("U002", f"{self.name}: inputs {self.inputs} have channels {given}")
        return given[0]


@dataclass(frozen=True)
class Concat(_Join):
    """Channels of all inputs, one after the other."""

    def channels(self, given: tuple[int, ...]) -> int:
        return sum(given)
