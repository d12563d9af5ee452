"""An item is where a picture and its labels are; a sample is what they hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Item:
    """A picture of a data set, and its label map."""

    name: str
    """Unique in the data set; outputs are named after it."""
    image: Path
    labels: Path
    group: str = ""
    """What must not be torn apart by a split: a sequence, a scene, a patient."""

    @property
    def inputs(self) -> dict[str, Path]:
        """The files whose bands make the picture, in order."""
        return {"image": self.image}


@dataclass(frozen=True)
class Sample:
    """A picture and its labels in memory."""

    name: str
    image: NDArray[Any]
    """(H, W, B): the bands of all inputs, of one dtype."""
    labels: NDArray[np.uint8]
    """(H, W) class ids, 255 void."""


Reader = Callable[[Item], Sample]
"""``DataSet.read``, or one that remembers what it has read."""
