"""A folder of pictures beside a folder of masks, in the common names, with or without splits.

``images/ + labels/`` (or masks, annotations, ...), partners by stem; flat with ``splits/*.txt``, or
with folders by split inside (``images/train/``, ``labels/train/``) or outside (``train/images/``,
``train/labels/``); or both in one folder (``a.jpg``, ``a_mask.png``). Without splits one is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from pixelwise.data.class_files import described
from pixelwise.data.classes import ClassMap, found_in, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.formats.pairs import Pair, Part, inner_parts, outer_parts, part_in, subfolders
from pixelwise.data.listing import Listing, lists_in, pictures
from pixelwise.data.sample import Item, Splits
from pixelwise.errors import DataError, raise_all


def recognise(root: Path) -> bool:
    """A folder of pictures and one of label maps, here or in the folder of a split."""
    return bool(part_in(root).pair or outer_parts(root))


def open_layout(root: Path) -> DataSet:
    """The data set, its classes described beside it or concluded from the label maps."""
    listing, pair, outer = Listing(root), part_in(root).pair, outer_parts(root)
    parts = _parts(pair, outer)
    images, labels = next(both for both in (*(part.pair for part in parts), pair) if both)
    splits = _by_part(parts, listing) if parts else _flat((images, labels), listing)
    listing.notes += _doubts(root, parts, outer)
    evidence = f"folders {images.relative_to(root)}/ and {labels.relative_to(root)}/"
    if images == labels:
        evidence = "pictures and label maps, marked by their endings, in one folder"
    return listing.dataset("folder", evidence, _classes(listing, splits), splits)


def _parts(pair: Pair | None, outer: tuple[Part, ...]) -> tuple[Part, ...]:
    """The folders that are splits; none where pictures or label maps lie flat."""
    inner = inner_parts(pair) if pair else ()
    flat = pair is not None and any(pictures(side) for side in pair)
    return inner or (() if flat else outer)


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
    for part in outer:
        if part.folder not in used:
            yield f"{part.folder.name}/ is left out: there are pictures outside the splits"
    for folder in subfolders(root) if parts and parts == outer else ():
        if folder not in used and _is_whole(folder):
            yield f"{folder.name}/ is left out: its name is that of no split"
    if parts and lists_in(root / "splits"):
        yield "splits/ is not read: the folders say what the splits are"


def _is_whole(folder: Path) -> bool:
    try:
        return part_in(folder).pair is not None
    except OSError:  # nobody asked for it
        return False


def _flat(pair: Pair, listing: Listing) -> Splits:
    items = listing.pairs(*pair)
    if not items and not listing.problems:
        what = f"{pair[0]} holds no picture"
        listing.problems.append(DataError("D032", what, "add pictures"))
        return {}
    return listing.splits(listing.root / "splits", items)


def _by_part(parts: Sequence[Part], listing: Listing) -> Splits:
    """Folders as splits; where two hold one stem, every name gets its folder in front."""
    splits: dict[str, tuple[Item, ...]] = {}
    for part in parts:
        if not part.pair:
            continue
        if part.split in splits:
            what = f"{part.folder}: there is another folder for split `{part.split}`"
            listing.problems.append(DataError("D030", what, "join them"))
        splits[part.split] = tuple(i for i in listing.pairs(*part.pair).values() if i.labels)
    stems = Counter(item.name.lower() for item in chain(*splits.values()))
    if stems.total() > len(stems):
        splits = {
            split: tuple(replace(item, name=f"{split}_{item.name}") for item in items)
            for split, items in splits.items()
        }
    return splits


def _classes(listing: Listing, splits: Splits) -> ClassMap:
    """What the folder's own files say, else what the values in its label maps let conclude."""
    root = listing.root
    if class_map := described(root):
        return class_map
    items = chain(*splits.values())
    paths = [p for item in items for source in item.labels.values() for p in source.files]
    if not paths:
        return numbered(["class 0"])  # the problems say why
    try:
        class_map, note = found_in(paths, root)
    except DataError as error:  # said with all else that is wrong
        raise_all(root, [*listing.all_problems, *(error.problems or (error,))])
        raise  # which mypy cannot know to be out of reach
    listing.notes.append(note)
    return class_map
