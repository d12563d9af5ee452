"""What ``predict`` leaves in a folder: how files are named, and how such a folder is known."""

from __future__ import annotations

from pathlib import Path

from pixelwise.files import maker

MANIFEST = "manifest.json"
"""Marks a folder of predictions, and says which model made them."""
MAKER = "pixelwise predict"
OVERLAY = "_overlay.jpg"
"""Behind the name of a picture; its label map has the name alone."""


def is_predictions(folder: Path) -> bool:
    """Whether an earlier ``predict`` wrote ``folder``."""
    return maker(folder / MANIFEST) == MAKER
