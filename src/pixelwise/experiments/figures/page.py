"""The paper that figures are drawn on: widths, letters, colours, and files always alike."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pixelwise.machine.files import write_together

COLUMN, PAGE = 3.25, 6.875  # inches: a column and both of the author kit of CVPR
DOTS = 400  # an inch, of the PNG: label maps and letters stay sharp in print
# Told apart by those who confuse red and green, and in grey (Okabe and Ito 2008).
BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#666666"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", "--", "-.", ":")
CHINESE = ("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "SimHei")
"""Letters that classes may need and matplotlib does not bring."""
METADATA: dict[str, dict[str, Any]] = {
    # No dates and versions: the same figure is the same bytes.
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": "pixelwise"},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": "pixelwise"},
}


def style() -> AbstractContextManager[None]:
    """Within it figures are made and written as print wants them."""
    there = set(font_manager.get_font_names())
    return mpl.rc_context(
        {
            "font.family": ["DejaVu Sans", *(name for name in CHINESE if name in there)],
            "font.size": 6.5,
            "axes.linewidth": 0.5,
            "lines.linewidth": 1.0,
            "xtick.major.width": 0.5,
            "ytick.major.width": 0.5,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "pdf.fonttype": 42,  # TrueType, embedded: journals refuse the usual type 3
            "svg.fonttype": "path",
            "svg.hashsalt": "pixelwise",
        }
    )


def blank(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of so many inches, and axes over all of it whose unit is an inch."""
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.set_axis_off()
    return figure, axes


def arrow(axes: Axes, start: Sequence[float], end: Sequence[float], colour: str = GREY) -> None:
    """A thin arrow in inches."""
    line = {"arrowstyle": "-|>,head_width=0.15,head_length=0.3", "color": colour, "lw": 0.7}
    axes.annotate("", (end[0], end[1]), (start[0], start[1]), arrowprops=line | {"shrinkA": 0})


def write(figure: Figure, stem: Path) -> tuple[Path, ...]:
    """``stem`` with .png, .svg and .pdf, all or none of them."""
    contents: dict[Path, bytes] = {}
    for kind, metadata in METADATA.items():
        page = BytesIO()
        figure.savefig(page, format=kind, dpi=DOTS, metadata=metadata)
        contents[stem.with_name(f"{stem.name}.{kind}")] = page.getvalue()
    return write_together(contents)
