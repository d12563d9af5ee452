"""Outlines and masks of objects painted into a label map, each over those before it.

The rule is labelme's own (``labelme/utils/shape.py``): Pillow's polygon, filled and with its rim,
so a pixel belongs to a polygon when its square is inside or touched by the rim. Coordinates count
from the outer corner of the first pixel, whose centre is (0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

LINE_WIDTH, POINT_RADIUS = 10, 5
"""Pixels that a line is wide and a point reaches; labelme's defaults."""
FAR = 1e6
"""Pixels; no outline reaches so far, and Pillow counts in 32 bits."""

Point = tuple[float, float]
"""x, y."""


@dataclass(frozen=True)
class Outline:
    """What is painted in one value: lines through points, or a mask."""

    kind: str
    """polygon, rectangle, circle, line, linestrip, point or mask."""
    value: int
    """0 to 255."""
    points: tuple[Point, ...]
    """Of a circle centre and rim, of a rectangle two corners, of a mask its first pixel."""
    mask: NDArray[np.bool_] | None = None
    """(h, w)."""
    holes: tuple[tuple[Point, ...], ...] = ()
    """Of a polygon: what lies in them, and their rims, is not painted."""


NEEDED = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "linestrip": 2, "point": 1}
"""Kind to how many points it has at least."""


def points_of(listed: object, kind: str = "polygon") -> tuple[Point, ...]:
    """``[[x, y], ...]`` as points.

    Raises:
        ValueError: it is something else, or too little for the kind.
    """
    needed = NEEDED[kind]
    pairs = listed if isinstance(listed, list) else []
    points = tuple((float(p[0]), float(p[1])) for p in pairs if _is_point(p))
    if len(points) < max(needed, len(pairs)) or not points:
        raise ValueError(f"a {kind} needs {needed} points [x, y] or more")
    return points


def _is_point(pair: object) -> bool:
    if not isinstance(pair, Sequence) or len(pair) != 2:
        return False
    numbers = [v for v in pair if isinstance(v, (int, float)) and not isinstance(v, bool)]
    return len(numbers) == 2 and all(math.isfinite(v) and abs(v) < FAR for v in numbers)


def paint(
    size: tuple[int, int], outlines: Iterable[Outline], background: int = 0
) -> NDArray[np.uint8]:
    """A label map (height, width) of outlines, the last of several on a pixel."""
    image = Image.new("L", (size[1], size[0]), background)
    draw = ImageDraw.Draw(image)
    for outline in outlines:
        _paint_one(image, draw, outline)
    return np.array(image)


def _paint_one(image: Image.Image, draw: ImageDraw.ImageDraw, outline: Outline) -> None:
    points, value = list(outline.points), outline.value
    if outline.mask is not None:
        corner = round(points[0][0]), round(points[0][1])
        image.paste(value, corner, Image.fromarray(outline.mask.astype(np.uint8) * 255))
    elif outline.holes:
        shape = Image.new("L", image.size)
        pen = ImageDraw.Draw(shape)
        for ring, shade in ((points, 255), *((list(hole), 0) for hole in outline.holes)):
            pen.polygon(ring, fill=shade, outline=shade)
        image.paste(value, (0, 0), shape)
    elif outline.kind == "polygon":
        draw.polygon(points, fill=value, outline=value)
    elif outline.kind == "rectangle":
        (x0, y0), (x1, y1) = points[:2]
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        draw.rectangle(box, fill=value, outline=value)
    elif outline.kind in ("circle", "point"):
        (x, y), rim = points[0], points[-1]
        radius = math.dist((x, y), rim) if outline.kind == "circle" else POINT_RADIUS
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value, outline=value)
    else:
        draw.line(points, fill=value, width=LINE_WIDTH)
