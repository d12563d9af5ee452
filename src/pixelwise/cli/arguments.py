"""What commands are given, read: models and sizes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from pixelwise.errors import UsageError

if TYPE_CHECKING:
    from pixelwise.predict.model import Model


def load_model(
    path: Path, *, zoom: str, mirror: bool, precision: str, device: str, threads: int
) -> Model:
    """The model that a command was given, used as its options say."""
    from pixelwise.machine.environment import use_threads
    from pixelwise.predict import model as models

    use_threads(threads)
    loaded = models.load(path, device=device, precision=precision)
    return loaded.shown(zoom=zoom or None, mirror=mirror or None)


def parse_size(text: str) -> tuple[int, int]:
    """``HxW`` to two numbers; U002 another form, or a length of zero."""
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text.strip().lower())
    if match is None:
        raise UsageError("U002", f"size is `{text}`, expected height x width", "--size 375x500")
    return int(match[1]), int(match[2])
