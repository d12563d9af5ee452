"""Label maps as other tools take them: outlines, and pictures with labels that can be corrected.

GeoJSON (RFC 7946, in pixels, as QuPath and others read it): a polygon for each region, along the
edges of pixels, x to the right and y down from the outer corner of the first pixel.

Labelme: its polygons run through pixels and cover those that they touch, so each goes along the
centres of the outermost pixels; holes are painted over by what lies in them, which comes later.
Painted by ``pictures.outlines`` this gives the label map back.

CVAT's "Segmentation mask 1.1": VOC's folders, with the colours of labelmap.txt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pixelwise import labels
from pixelwise.data.outlined import BACKGROUNDS
from pixelwise.machine.files import atomic_write
from pixelwise.pictures.images import write_image
from pixelwise.pictures.tracing import Region, regions
from pixelwise.predict.prediction import Prediction

LABELME, CVAT = "labelme", "cvat"
IGNORED = "__ignore__"
"""What both tools' files call void."""
LABELME_VERSION = "5.5.0"
"""Whose form of file is written."""
Original = tuple[str, bytes] | None
"""Suffix and content of a picture's file, where it can be handed on as it is."""
Palette = Sequence[tuple[int, int, int]]


def flat(name: str) -> str:
    """A picture's name in a folder without folders."""
    return name.replace("/", "__")


def geojson(prediction: Prediction) -> str:
    """A FeatureCollection of the regions of a label map, without void."""
    count = len(prediction.classes)
    features = [_feature(r, prediction) for r in regions(prediction.labels) if r.value < count]
    whole = {"type": "FeatureCollection", "features": features}
    return json.dumps(whole, ensure_ascii=False) + "\n"


def _feature(region: Region, prediction: Prediction) -> dict[str, Any]:
    name, colour = prediction.classes[region.value], list(prediction.palette[region.value])
    facts = {"class": name, "id": region.value, "pixels": region.pixels}
    for_qupath = {"objectType": "annotation", "classification": {"name": name, "color": colour}}
    rings = [[*r.tolist(), r[0].tolist()] for r in (region.outer, *region.holes)]
    shape = {"type": "Polygon", "coordinates": rings}
    return {"type": "Feature", "properties": {**facts, **for_qupath}, "geometry": shape}


def labelme(prediction: Prediction, picture: str) -> str:
    """Labelme's JSON of a label map, beside a picture of this name."""
    height, width = prediction.labels.shape
    rest: dict[str, Any] = {
        "group_id": None,
        "description": "",
        "shape_type": "polygon",
        "flags": {},
    }
    shapes = [
        {"label": _name(r, prediction), "points": _through_pixels(r), **rest}
        for r in sorted(regions(prediction.labels), key=lambda r: -r.filled)
        if not _is_ground(r, prediction)
    ]
    form = {"version": LABELME_VERSION, "flags": {}, "shapes": shapes}
    sizes = {"imageHeight": height, "imageWidth": width}
    whole = {**form, "imagePath": picture, "imageData": None, **sizes}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def _through_pixels(region: Region) -> list[list[float]]:
    moved = (region.rim != np.roll(region.rim, 1, axis=0)).any(axis=1)
    points: list[list[float]] = (region.rim[moved] + 0.5).tolist()
    points = points or [(region.rim[0] + 0.5).tolist()]
    return points + [points[-1]] * (3 - len(points))  # a polygon has three points or more


def _is_ground(region: Region, prediction: Prediction) -> bool:
    """Background at the picture's border: it is what lies outside all shapes, and inside none."""
    height, width = prediction.labels.shape
    low, high = region.outer.min(axis=0), region.outer.max(axis=0)
    at_border = low.min() == 0 or high[0] == width or high[1] == height
    return bool(at_border) and _name(region, prediction) in BACKGROUNDS


def _name(region: Region, prediction: Prediction) -> str:
    return prediction.classes[region.value] if region.value < len(prediction.classes) else IGNORED


def mask_colours(classes: Sequence[str], palette: Palette) -> Palette:
    """A colour of its own for each class; black is what CVAT takes for the background."""
    spare = iter([*map(tuple, labels.distinct_palette(2 * len(classes) + 2).tolist())])
    used: list[tuple[int, int, int]] = []
    for name, colour in zip(classes, palette, strict=True):
        while colour in used or (colour == (0, 0, 0) and name not in BACKGROUNDS):
            colour = next(spare)
        used.append(colour)
    return used


def write_labelme(place: Path, prediction: Prediction, original: Original) -> list[Path]:
    """``place`` (.json) and the picture beside it, ``original`` or drawn anew as PNG."""
    picture = _write_picture(place, prediction, original)
    return [atomic_write(place, labelme(prediction, picture.name)), picture]


def write_cvat(place: Path, prediction: Prediction, original: Original) -> list[Path]:
    """``place`` in SegmentationClass/, in colours, and the picture in JPEGImages/."""
    picture = _write_picture(cvat_pictures(place) / place.name, prediction, original)
    colours = np.array(mask_colours(prediction.classes, prediction.palette), np.uint8)
    return [write_image(place, labels.colour(prediction.labels, colours)), picture]


def cvat_pictures(place: Path) -> Path:
    """The folder of the pictures whose label maps ``write_cvat`` puts to ``place`` and beside."""
    return place.parent.parent / "JPEGImages"


def _write_picture(place: Path, prediction: Prediction, original: Original) -> Path:
    if original is None:
        return write_image(place.with_name(f"{place.stem}.png"), prediction.shown)
    suffix, content = original
    return atomic_write(place.with_name(f"{place.stem}{suffix}"), content)


def label_list(classes: Sequence[str]) -> str:
    """Labelme's labels.txt: what ``labelme --labels`` reads, in the order of the classes."""
    return "".join(f"{name}\n" for name in classes)


def label_map(classes: Sequence[str], palette: Palette, *, void: bool = False) -> str:
    """CVAT's labelmap.txt; with a line for ``void`` where there may be some."""
    named = [*zip(classes, mask_colours(classes, palette), strict=True)]
    named += [(IGNORED, tuple(labels.voc_palette()[labels.VOID].tolist()))] if void else []
    lines = ("{}:{},{},{}::\n".format(name.replace(":", " "), *colour) for name, colour in named)
    return "# label:color_rgb:parts:actions\n" + "".join(lines)
