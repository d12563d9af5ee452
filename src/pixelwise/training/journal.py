"""The run's diary: one JSON object a line, appended as things happen."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from pixelwise.folders import JOURNAL, read_journal
from pixelwise.machine.files import append_line, atomic_write, plain


class Journal:
    """Appends events to ``RUN/journal.jsonl``; a silent one (``run=None``) is for other ranks."""

    def __init__(self, run: Path | None) -> None:
        self.path = run / JOURNAL if run else None

    def write(self, event: str, **facts: Any) -> dict[str, Any]:
        """Add one event with the time of day; returns it.

        Raises:
            ResourceError: R001 no space, R002 not writable.
        """
        entry = {"event": event, "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), **plain(facts)}
        if self.path:
            append_line(self.path, json.dumps(entry, ensure_ascii=False))
        return entry

    def rewind(self, step: int) -> None:
        """Forget what was written after ``step``: a resumed run will write it again."""
        if self.path and self.path.exists():
            kept = [e for e in read_journal(self.path) if e.get("step", 0) <= step]
            lines = (json.dumps(e, ensure_ascii=False) + "\n" for e in kept)
            atomic_write(self.path, "".join(lines))
