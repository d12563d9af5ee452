"""What a run says as it goes: its journal, one JSON object a line, and reports to a watcher."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelwise.folders import JOURNAL, read_journal
from pixelwise.machine.files import append_line, atomic_write, plain

if TYPE_CHECKING:
    from pixelwise.training.state import Progress
    from pixelwise.training.validate import Validation


@dataclass(frozen=True)
class ProgressReport:
    """Where a run is; given every few steps, and while data is read and evaluated on."""

    step: int = 0
    total: int | None = None
    """Steps in all; None when the run is measured in minutes."""
    done: float = 0.0
    """Share of the run, or of what else is done, in [0, 1]."""
    loss: float | None = None
    """Per counted pixel, the mean since the report before; None where no steps are done."""
    images_per_second: float = 0.0
    seconds_left: float | None = None
    doing: str = "training"
    stage: str = ""
    """Name of the stage, of a run in stages."""
    validation: Validation | None = None
    """Where an evaluation was just made."""
    so_far: Progress | None = None
    """Then the run's best evaluation up to now, and how many came since."""


Watch = Callable[[ProgressReport], None]


class Journal:
    """Appends events to ``RUN/journal.jsonl``; a silent one (``run=None``) is for other ranks."""

    def __init__(self, run: Path | None) -> None:
        self.path = run / JOURNAL if run else None

    def write(self, event: str, **facts: Any) -> None:
        """Add one event with the time of day.

        Raises:
            ResourceError: R001 no space, R002 not writable.
        """
        if self.path:
            now = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            append_line(self.path, _line({"event": event, "time": now, **plain(facts)}))

    def rewind(self, step: int) -> None:
        """Forget what was written after ``step``: a resumed run will write it again."""
        if self.path and self.path.exists():
            kept = [e for e in read_journal(self.path) if e.get("step", 0) <= step]
            atomic_write(self.path, "".join(_line(e) + "\n" for e in kept))


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False)
