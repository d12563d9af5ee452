"""What those who watch a run are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelwise.training.validate import Validation


@dataclass(frozen=True)
class ProgressReport:
    """Where a run is; given every few steps and after each evaluation."""

    step: int
    total: int | None
    """Steps in all; None when the run is measured in minutes."""
    done: float
    """Share of the run that is done, in [0, 1]."""
    loss: float
    """Per counted pixel, the mean since the report before."""
    images_per_second: float
    seconds_left: float
    validation: Validation | None = None
    """Where an evaluation was just made."""

    @property
    def note(self) -> str:
        """What is worth a line of its own."""
        return self.validation.summary() if self.validation else ""


Watch = Callable[[ProgressReport], None]


def unwatched(report: ProgressReport) -> None:
    """Nobody looks."""
