"""Systems that label pictures: models, and folders of the label maps that some other made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelwise.errors import DataError, UsageError
from pixelwise.evaluation.comparison import named
from pixelwise.folders import is_run


@dataclass(frozen=True)
class System:
    """A model, or a folder of the label maps that some system made."""

    name: str
    path: Path
    is_model: bool


def systems(words: Sequence[str]) -> tuple[System, ...]:
    """Systems from ``PATH`` or ``NAME=PATH``; without a name the file's or folder's is taken.

    A file or a run folder is a model, every other folder holds label maps.

    Raises:
        DataError: D010 nothing there.
        UsageError: U002 one name for two.
    """
    pairs = []
    for word in words:
        name, _, rest = word.partition("=")
        # A path may hold the sign itself.
        path, name = (Path(word), "") if Path(word).exists() or not rest else (Path(rest), name)
        if not path.exists():
            what = f"{path}: no such file or folder (expected a model, or a folder of label maps)"
            raise DataError("D010", what, "check the path")
        pairs.append((name or path.resolve().stem, path))
    given = [word.partition("=")[0] for word in words if "=" in word]
    twice = [name for name in given if [n for n, _ in pairs].count(name) > 1]
    if twice:
        raise UsageError("U002", f"two systems are called {twice[0]}", "NAME=PATH names each")
    names = named([name for name, _ in pairs])
    return tuple(
        System(name, path, path.is_file() or is_run(path))
        for name, (_, path) in zip(names, pairs, strict=True)
    )
