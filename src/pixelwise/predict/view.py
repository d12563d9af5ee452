"""How a picture is shown to a net; part of a model, as its preprocessing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pixelwise.errors import UsageError

LARGEST = 8.0
"""Factor on a picture's size."""
MOST = 16
"""Sizes at which one picture is shown."""


@dataclass(frozen=True)
class View:
    """What is done with a picture before a net, and with its scores after."""

    zooms: tuple[float, ...] = (1.0,)
    """The picture is enlarged by each of these, its scores are brought back, and averaged."""
    mirror: bool = False
    """Scores are the mean over the picture and its mirror image; twice the work."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "zooms", tuple(self.zooms))
        problem = zoom_problem(self.zooms)
        if problem:
            raise UsageError("U002", problem, "--zoom 2, or several: --zoom 1.25,1.75")

    def sizes(self, shape: Sequence[int]) -> list[tuple[int, int]]:
        """(height, width) of each showing of a picture of ``shape``."""
        return [(max(1, round(shape[0] * z)), max(1, round(shape[1] * z))) for z in self.zooms]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for a checkpoint's header."""
        return {"zooms": list(self.zooms), "mirror": self.mirror}


def zoom_problem(zooms: Sequence[float]) -> str:
    """What is wrong with the factors of a view; nothing if they can be used."""
    if not 1 <= len(zooms) <= MOST:
        return f"{len(zooms)} zooms, expected 1 to {MOST}"
    wrong = [z for z in zooms if not 0 < z <= LARGEST]
    return f"zoom is {wrong[0]:g}, expected a factor in (0, {LARGEST:g}]" if wrong else ""
