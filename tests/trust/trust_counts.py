"""How much of the full counts is done: a share, from the environment."""

from __future__ import annotations

import math
import os


class Share:
    """Of the counts that docs/trust.md promises; a fiftieth in everyday tests."""

    def __init__(self, of: float) -> None:
        self.of = of

    def __call__(self, count: int, least: int = 1) -> int:
        return max(least, math.ceil(self.of * count))

    def every(self, longest: int) -> int:
        """Each so-many-th moment is tried: all of them where the share is 1."""
        return max(1, min(longest, round(1 / self.of)))


share = Share(float(os.environ.get("PIXELWISE_TRUST", "0.02")))
