"""Which file a MODEL or a starting point stands for: a run folder, or a file."""

from __future__ import annotations

from pathlib import Path

from pixelwise.errors import ModelError
from pixelwise.folders import weights


def weight_file(path: Path) -> Path:
    """A run folder's best (else last) weights; any other path as it is.

    Raises:
        ModelError: M001 nothing there, or a folder without weights.
    """
    if not path.is_dir():
        if not path.exists():
            raise ModelError("M001", f"{path} does not exist", "give a run folder or a weight file")
        return path
    for name in ("best", "last"):
        candidate = weights(path, name)
        if candidate.is_file():
            return candidate
    raise ModelError(
        "M001",
        f"{path} is not a run folder: it has no weights/best.safetensors or weights/last",
        "train one with `pixelwise train DATA -o RUN`",
    )
