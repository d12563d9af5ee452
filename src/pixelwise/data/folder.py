"""A folder of pictures beside a folder of masks, in the common names, with or without splits.

``images/ + labels/`` (or masks, annotations, ...), partners by stem; flat with ``splits/*.txt``, or
with subfolders by split (``images/train/``, ``labels/train/``). Without splits one is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "photos", "JPEGImages")
LABEL_FOLDERS = ("labels", "label", "masks", "mask", "annotations", "annotation", "gt")
ALIASES = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}


def recognise(root: Path) -> bool:
    """A folder with a name of ``IMAGE_FOLDERS`` and one of ``LABEL_FOLDERS``."""
    return _pair(root) is not None


def _pair(root: Path) -> tuple[Path, Path] | None:
    left = next((root / n for n in IMAGE_FOLDERS if (root / n).is_dir()), None)
    right = next((root / n for n in LABEL_FOLDERS if (root / n).is_dir()), None)
    return (left, right) if left and right else None


def open_layout(root: Path) -> DataSet:
    """The data set, its classes described beside it or concluded from the label maps."""
    pair = _pair(root)
    assert pair is not None, "recognise said so"
    problems: list[DataError] = []
    found, drawn = _splits(root, *pair, problems)
    given = without_empty(root, found, problems)
    try:
        class_map, concluded = _classes(root, given)
    except DataError as error:
        raise_all(root, [*problems, *(error.problems or (error,))])
        raise
    evidence = f"folders {pair[0].name}/ and {pair[1].name}/"
    notes = (splits.told(found), *concluded) if drawn else concluded
    return DataSet(root, "folder", evidence, class_map, given, notes, drawn, tuple(problems))


def _splits(
    root: Path, images: Path, labels: Path, problems: list[DataError]
) -> tuple[dict[str, tuple[Item, ...]], bool]:
    """Split to items, and whether the splits had to be drawn."""
    parts = sorted(p for p in images.iterdir() if p.is_dir() and (labels / p.name).is_dir())
    if parts and not pictures(images):
        return _by_part(parts, labels, problems), False
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
    parts: Sequence[Path], labels: Path, problems: list[DataError]
) -> dict[str, tuple[Item, ...]]:
    """Subfolders as splits; where two hold one stem, every name gets its folder in front."""
    found: dict[str, list[Item]] = {}
    for part in parts:
        name = ALIASES.get(part.name.lower(), part.name)
        if name in found:
            problems.append(
                DataError(
                    "D030", f"{part}: there is another folder for split `{name}`", "join them"
                )
            )
        found[name] = partners(part, labels / part.name, problems)
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
