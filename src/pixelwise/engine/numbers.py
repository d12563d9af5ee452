"""How the numbers of a map are held in memory, and what one of them stands for; no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["float32", "bfloat16", "uint8"]
BYTES: dict[Kind, int] = {"float32": 4, "bfloat16": 2, "uint8": 1}
LEVELS = 255
"""The largest number of eight bits."""


@dataclass(frozen=True)
class Numbers:
    """A kind of number; of eight bits ``scale * (n - zero)`` is meant by n."""

    kind: Kind = "float32"
    scale: float = 1.0
    zero: int = 0

    @staticmethod
    def between(low: float, high: float) -> Numbers:
        """Eight bits for a range of values; zero, which padding holds, is among them exactly."""
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / LEVELS or 1.0
        return Numbers("uint8", scale, round(-low / scale))


FLOAT32, BFLOAT16 = Numbers(), Numbers("bfloat16")
