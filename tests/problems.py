"""What a call raises, as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pixelwise.errors import PixelwiseError


def told(call: Callable[[], object]) -> list[str]:
    """Code and text of every problem that a call raises, sorted."""
    with pytest.raises(PixelwiseError) as caught:
        call()
    found = getattr(caught.value, "problems", ()) or (caught.value,)
    return sorted(f"{p.code} {p}" for p in found)
