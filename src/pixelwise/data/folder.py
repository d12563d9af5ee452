"""A folder of pictures beside a folder of masks, in the common names, with or without splits.

``images/ + labels/`` (or masks, annotations, ...), partners by stem; flat with ``splits/*.txt``, or
with folders by split inside (``images/train/``, ``labels/train/``) or outside (``train/images/``,
``train/labels/``). Without splits one is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pixelwise.data import splits
from pixelwise.data.class_files import described
from pixelwise.data.classes import ClassMap, found_in, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import (
    listed_items,
    partners,
    pictures,
    raise_all,
    read_list,
    without_empty,
)
from pixelwise.data.sample import Item
from pixelwise.errors import DataError

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "photos", "JPEGImages")
LABEL_FOLDERS = ("labels", "label", "masks", "mask", "annotations", "annotation", "ann_dir", "gt")
SPLITS = ("train", "val", "test")
ALIASES = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}

Pair = tuple[Path, Path]
"""A folder of pictures and the folder of their label maps."""


def recognise(root: Path) -> bool:
    """Folders with a name of ``IMAGE_FOLDERS`` and ``LABEL_FOLDERS``, here or in every split's."""
    return bool(_pair(root) or _outer_parts(root))


def _pair(root: Path) -> Pair | None:
    left, right = _first(root, IMAGE_FOLDERS), _first(root, LABEL_FOLDERS)
    return (left, right) if left and right else None


def _first(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / n for n in names if (root / n).is_dir()), None)


def _split_name(folder: Path) -> str:
    name = folder.name.lower()
    return ALIASES.get(name, name if name in SPLITS else folder.name)


def _outer_parts(root: Path) -> dict[Path, Pair | None]:
    """Folders of splits that hold pictures and label maps (none: pictures alone)."""
    named = sorted(p for p in root.iterdir() if p.is_dir() and _split_name(p) in SPLITS)
    found = {part: _pair(part) for part in named if _first(part, IMAGE_FOLDERS)}
    return found if any(found.values()) else {}


def _inner_parts(images: Path, labels: Path) -> dict[Path, Pair | None]:
    """Folders of splits among the pictures, where no picture lies beside them."""
    parts = sorted(p for p in images.iterdir() if p.is_dir())
    found = {p: (p, labels / p.name) if (labels / p.name).is_dir() else None for p in parts}
    return found if any(found.values()) and not pictures(images) else {}


def open_layout(root: Path) -> DataSet:
    """The data set, its classes described beside it or concluded from the label maps."""
    problems: list[DataError] = []
    pair = _pair(root)
    parts = _inner_parts(*pair) if pair else _outer_parts(root)
    drawn = False
    if parts:
        found = _by_part(parts, problems)
    else:
        assert pair is not None, "recognise said so"
        found, drawn = _flat(root, *pair, problems)
    given = without_empty(root, found, problems)
    try:
        class_map, concluded = _classes(root, given)
    except DataError as error:
        raise_all(root, [*problems, *(error.problems or (error,))])
        raise
    left_out = tuple(
        f"{part.relative_to(root)}/ has no label maps and is left out"
        for part, sides in parts.items()
        if sides is None
    )
    told = (splits.told(found),) if drawn else ()
    notes = (*told, *left_out, *concluded)
    evidence = _evidence(root, pair or next(filter(None, parts.values())))
    return DataSet(root, "folder", evidence, class_map, given, notes, drawn, tuple(problems))


def _evidence(root: Path, pair: Pair) -> str:
    one, other = (side.relative_to(root) for side in pair)
    return f"folders {one}/ and {other}/"


def _flat(
    root: Path, images: Path, labels: Path, problems: list[DataError]
) -> tuple[dict[str, tuple[Item, ...]], bool]:
    """Split to items by lists, and whether the splits had to be drawn for want of lists."""
    pairs = partners(images, labels, problems)
    if not pairs and not problems:
        problems.append(DataError("D032", f"{images} holds no picture", "add pictures"))
        return {}, False
    lists = sorted((root / "splits").glob("*.txt"))
    if lists:
        items = {item.name: item for item in pairs}
        return {
            p.stem: listed_items(read_list(p, problems), items, p, problems) for p in lists
        }, False
    return splits.drawn(pairs), True


def _by_part(
    parts: Mapping[Path, Pair | None], problems: list[DataError]
) -> dict[str, tuple[Item, ...]]:
    """Folders as splits; where two hold one stem, every name gets its folder in front."""
    found: dict[str, list[Item]] = {}
    for part, pair in parts.items():
        if pair is None:
            continue
        name = _split_name(part)
        if name in found:
            problems.append(
                DataError(
                    "D030", f"{part}: there is another folder for split `{name}`", "join them"
                )
            )
        found[name] = partners(*pair, problems)
    stems = Counter(item.name.lower() for items in found.values() for item in items)
    if max(stems.values(), default=0) > 1:
        found = {
            split: [replace(item, name=f"{split}_{item.name}") for item in items]
            for split, items in found.items()
        }
    return {split: tuple(items) for split, items in found.items()}


def _classes(root: Path, given: dict[str, tuple[Item, ...]]) -> tuple[ClassMap, tuple[str, ...]]:
    told = described(root)
    if told is not None:
        return told, ()
    paths = [item.labels for items in given.values() for item in items]
    if not paths:
        return numbered(["class 0"]), ()  # the listing has told why
    class_map, note = found_in(paths, root)
    return class_map, (note,)
