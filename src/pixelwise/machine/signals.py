"""SIGINT and SIGTERM set a flag that the loop reads between steps; a second one ends at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from pixelwise.errors import Stopped


@dataclass
class Caught:
    """The number of the first signal that came, else 0."""

    signal: int = 0

    def refuse(self, message: str, hint: str) -> None:
        """End what nothing is lost of, if a signal has come.

        Raises:
            Stopped: it has.
        """
        if self.signal:
            raise Stopped(self.signal, message, hint)


@contextmanager
def caught() -> Iterator[Caught]:
    """Handle signals for the length of the block; outside the main thread nothing is changed."""
    seen = Caught()
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return

    def note(number: int, frame: FrameType | None) -> None:
        del frame
        if seen.signal:
            raise KeyboardInterrupt
        seen.signal = number

    before = {n: signal.signal(n, note) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
