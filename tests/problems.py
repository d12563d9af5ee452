"""What a call raises, as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from pixelwise.data.dataset import DataSet
from pixelwise.data.inspect import inspect
from pixelwise.errors import PixelwiseError, raise_all


def told(call: Callable[[], object]) -> list[str]:
    """Code and text of every problem that a call raises, sorted."""
    with pytest.raises(PixelwiseError) as caught:
        call()
    found = getattr(caught.value, "problems", ()) or (caught.value,)
    return sorted(f"{p.code} {p}" for p in found)


def refusal(dataset: DataSet, splits: Sequence[str] = ("train", "val")) -> list[str]:
    """Why these splits cannot be trained on."""
    return told(lambda: raise_all(dataset.root, inspect(dataset, splits).problems))
