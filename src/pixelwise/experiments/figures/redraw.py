"""Figures 1 to 6 of the paper, drawn anew from what is at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixelwise.errors import ResourceError, UsageError
from pixelwise.experiments.figures.given import Given, Lacking

NUMBERS = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Redrawn:
    """What was drawn, and what was not."""

    files: dict[int, list[Path]] = field(default_factory=dict)
    lacking: dict[int, Lacking] = field(default_factory=dict)


def redraw(given: Given, out: Path, only: Sequence[int] = NUMBERS) -> Redrawn:
    """Write ``figure1.png``, ``.svg`` and ``.pdf``, and so on, into a folder.

    A figure whose runs were not given is left out; if all are, that is raised.

    Raises:
        Lacking: U002 none of the figures can be drawn of what was given.
        ResourceError: R008 matplotlib is not installed.
    """
    if unknown := [n for n in only if n not in NUMBERS]:
        raise UsageError("U002", f"there is no figure {unknown[0]}, expected 1 to 6", "--only 3")
    drawings, page = _drawings()
    made = Redrawn()
    for number in only:
        try:
            with page.style():
                made.files[number] = [*page.write(drawings[number](given), out / f"figure{number}")]
        except Lacking as error:
            made.lacking[number] = error
    if not made.files:
        raise next(iter(made.lacking.values()))
    return made


def _drawings() -> tuple[dict[int, Callable[[Given], Any]], Any]:
    """By number the function that draws it, and the paper."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        what, hint = "matplotlib is not installed", 'pip install "pixelwise[figures]"'
        raise ResourceError("R008", what, hint) from error
    from pixelwise.experiments.figures import page, panels, sampling, skips, slabs

    drawings: dict[int, Callable[[Given], Any]] = {
        1: slabs.prediction,
        2: slabs.convolutionalised,
        3: skips.skips,
        4: panels.refinement,
        5: sampling.sampling,
        6: panels.systems,
    }
    return drawings, page
