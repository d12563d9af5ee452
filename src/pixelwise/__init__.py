"""Fully convolutional networks for semantic segmentation (Long, Shelhamer, Darrell).

>>> import pixelwise as pw
>>> model = pw.load("runs/street")              # doctest: +SKIP
>>> result = model.predict("photo.jpg")         # doctest: +SKIP
>>> result.overlay.save("overlay.png")          # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

# Public name -> module that defines it; resolved on first use, so that importing costs nothing.
_HOMES = {
    "VOID": "pixelwise.labels",
    "PixelwiseError": "pixelwise.errors",
    "build": "pixelwise.engine.build",
    "confusion": "pixelwise.metrics.confusion",
    "freed_memory_kept": "pixelwise.machine.memory",
    "load": "pixelwise.predict.model",
    "open_dataset": "pixelwise.data.formats.layouts",
    "Recipe": "pixelwise.training.recipe",
    "scores": "pixelwise.metrics.scores",
    "spec": "pixelwise.nets.catalog",
    "train": "pixelwise.training.loop",
}

__all__ = [*sorted(_HOMES), "__version__"]  # noqa: PLE0604 - the names are strings


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pixelwise' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
