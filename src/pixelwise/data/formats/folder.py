"""A folder of pictures beside a folder of masks, in the common names, with or without splits.

``images/ + labels/`` (or masks, annotations, ...), partners by stem; flat with ``splits/*.txt``, or
with folders by split inside (``images/train/``, ``labels/train/``) or outside (``train/images/``,
``train/labels/``); or both in one folder (``a.jpg``, ``a_mask.png``). Without splits one is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pixelwise.data import splits
from pixelwise.data.class_files import described
from pixelwise.data.classes import ClassMap, found_in, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.pairs import Pair, Part, inner_parts, outer_parts, part_in, subfolders
from pixelwise.data.listing import (
    listed_items,
    lists_in,
    partners,
    pictures,
    raise_all,
    read_list,
    without_empty,
)
from pixelwise.data.sample import Item
from pixelwise.errors import DataError


def recognise(root: Path) -> bool:
    """A folder of pictures and one of label maps, here or in the folder of a split."""
    return bool(part_in(root).pair or outer_parts(root))


def open_layout(root: Path) -> DataSet:
    """The data set, its classes described beside it or concluded from the label maps."""
    problems: list[DataError] = []
    pair, outer = part_in(root).pair, outer_parts(root)
    parts = _parts(pair, outer)
    if parts:
        found, drawn = _by_part(parts, problems), False
    else:
        assert pair is not None, "recognise said so"
        found, drawn = _flat(root, pair, problems)
    given = without_empty(root, found, problems)
    try:
        class_map, concluded = _classes(root, given)
    except DataError as error:
        raise_all(root, [*problems, *(error.problems or (error,))])
        raise
    seen = _evidence(root, *(part.pair for part in parts), pair)
    splitting = (splits.told(found),) if drawn else ()
    notes = (*splitting, *_doubts(root, parts, outer), *concluded)
    return DataSet(root, "folder", seen, class_map, given, notes, drawn, tuple(problems))


def _parts(pair: Pair | None, outer: tuple[Part, ...]) -> tuple[Part, ...]:
    """The folders that are splits; none where pictures or label maps lie flat."""
    inner = inner_parts(pair) if pair else ()
    flat = pair is not None and any(pictures(side) for side in pair)
    return inner or (() if flat else outer)


def _evidence(root: Path, *pairs: Pair | None) -> str:
    images, labels = next(pair for pair in pairs if pair)
    if images == labels:
        return "pictures and label maps, marked by their endings, in one folder"
    return f"folders {images.relative_to(root)}/ and {labels.relative_to(root)}/"


def _doubts(root: Path, parts: Sequence[Part], outer: Sequence[Part]) -> Iterator[str]:
    """What was seen and not used, and names that were changed: a sentence each."""
    for part in parts:
        place = part.folder.relative_to(root)
        if part.split != part.folder.name:
            yield f"{place}/ is split {part.split}"
        if not part.pair:
            lacking = "label maps" if part.images else "pictures"
            yield f"{place}/ has no {lacking} and is left out"
    used = {part.folder for part in parts}
    unused = (part.folder for part in outer if part.folder not in used)
    yield from (f"{f.name}/ is left out: there are pictures outside the splits" for f in unused)
    if parts and parts == outer:
        others = (f for f in subfolders(root) if f not in used and _is_whole(f))
        yield from (f"{f.name}/ is left out: its name is that of no split" for f in others)
    if parts and lists_in(root / "splits"):
        yield "splits/ is not read: the folders say what the splits are"


def _is_whole(folder: Path) -> bool:
    try:
        return part_in(folder).pair is not None
    except OSError:  # nobody asked for it
        return False


def _flat(
    root: Path, pair: Pair, problems: list[DataError]
) -> tuple[dict[str, tuple[Item, ...]], bool]:
    """Split to items by lists, and whether the splits had to be drawn for want of lists."""
    pairs = partners(*pair, problems)
    if not pairs and not problems:
        problems.append(DataError("D032", f"{pair[0]} holds no picture", "add pictures"))
        return {}, False
    lists = lists_in(root / "splits")
    if lists:
        items = {item.name: item for item in pairs}
        return {
            p.stem: listed_items(read_list(p, problems), items, p, problems) for p in lists
        }, False
    return splits.drawn(pairs), True


def _by_part(parts: Sequence[Part], problems: list[DataError]) -> dict[str, tuple[Item, ...]]:
    """Folders as splits; where two hold one stem, every name gets its folder in front."""
    found: dict[str, list[Item]] = {}
    for part in parts:
        if not part.pair:
            continue
        if part.split in found:
            told = f"{part.folder}: there is another folder for split `{part.split}`"
            problems.append(DataError("D030", told, "join them"))
        found[part.split] = partners(*part.pair, problems)
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
