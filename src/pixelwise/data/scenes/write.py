"""Scenes written as a data set in the canonical layout, with depth, geometry and cameras beside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pixelwise.data.classes import ClassMap, numbered
from pixelwise.data.depth import MILLIMETRE as UNIT
from pixelwise.data.depth import HhaOf
from pixelwise.data.formats.canonical import HEADS, INPUTS, Description, write_description
from pixelwise.data.listing import write_splits
from pixelwise.data.sample import IMAGE, LABELS
from pixelwise.data.scenes.compose import scene
from pixelwise.data.scenes.worlds import GEOMETRIC_COLOURS, SCENE_CLASSES, SCENE_PALETTE
from pixelwise.errors import UsageError, hxw
from pixelwise.machine.files import refuse_taken, whole_folder, write_json
from pixelwise.nets.kinds import Kind
from pixelwise.pictures.images import write_image, write_labels

# Of every twenty scenes (ten rooms, ten streets): 14 to train, 2 to validate, 4 to test.
PATTERN = ("train",) * 14 + ("val",) * 2 + ("test",) * 4
FEWEST = len(PATTERN)
CAMERAS = "cameras.json"


def make_scenes(
    out: Path | str,
    *,
    count: int = 200,
    size: tuple[int, int] = (96, 128),
    seed: int = 0,
    watch: Callable[[], object] = lambda: None,
) -> Path:
    """Write ``count`` scenes: images/, labels/, depth/, geometric/, cameras.json, splits/.

    Args:
        out: a new or empty folder.
        count: at least 20, so that each split has rooms and streets.
        size: (height, width) in pixels.
        seed: other seeds give other scenes.
        watch: called after each.

    Raises:
        UsageError: U003 the folder is not empty; U002 too few scenes, no pixels, a seed below 0.
    """
    out = Path(out)
    if count < FEWEST:
        what = f"{count} scenes were asked for, expected at least {FEWEST}"
        raise UsageError("U002", f"{what}: train, val and test need both worlds", "--count 200")
    if min(size) < 1:
        raise UsageError("U002", f"scenes of {hxw(size)} (HxW) have no pixel", "--size 96x128")
    if seed < 0:
        raise UsageError("U002", f"the seed is {seed}, expected at least 0", "--seed 0")
    refuse_taken(out)
    with whole_folder(out) as place:
        _fill(place, count, size, seed, watch)
    return out


def _fill(
    out: Path, count: int, size: tuple[int, int], seed: int, watch: Callable[[], object]
) -> None:
    # Depth and geometry are offered, not used by default: colour alone is what most train on.
    geometric = numbered([*GEOMETRIC_COLOURS], [*GEOMETRIC_COLOURS.values()])
    maps = {LABELS: numbered(SCENE_CLASSES, SCENE_PALETTE), "geometry": geometric}
    maps["distance"] = ClassMap(("metres",), ((255, 255, 255),), kind=Kind("numbers", UNIT, void=0))
    inputs = {**INPUTS, "depth": "depth"}
    heads = {**HEADS, "geometry": "geometric", "distance": "depth"}
    computed = {"hha": HhaOf("depth", camera=CAMERAS)}
    description = Description(maps, inputs, heads, use=(IMAGE, LABELS), computed=computed)
    palettes = {name: np.array(class_map.palette, np.uint8) for name, class_map in maps.items()}
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    cameras = {}
    for index in range(count):
        made = scene(seed, index, size)
        name = f"{made.world}_{index:04d}"
        write_image(out / "images" / f"{name}.png", made.image)
        write_image(out / "depth" / f"{name}.png", made.depth)
        write_labels(out / "labels" / f"{name}.png", made.semantic, palettes[LABELS])
        write_labels(out / "geometric" / f"{name}.png", made.geometric, palettes["geometry"])
        cameras[name] = {**asdict(made.camera), "gravity": list(made.gravity)}
        splits[PATTERN[index % len(PATTERN)]].append(name)
        watch()
    facts = {"unit_metres": UNIT, "geometric_classes": [*GEOMETRIC_COLOURS], "cameras": cameras}
    write_json(out / CAMERAS, facts)
    write_splits(out / "splits", splits)
    write_description(out, description, f"pixelwise scenes, seed {seed}")
