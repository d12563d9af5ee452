"""A folder of pictures beside a folder of masks, in the common names, with or without splits.

``images/ + labels/`` (or masks, annotations, ...), partners by stem; flat with ``splits/*.txt``, or
with folders by split inside (``images/train/``, ``labels/train/``) or outside (``train/images/``,
``train/labels/``); or both in one folder (``a.jpg``, ``a_mask.png``). Without splits one is drawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from pixelwise.data.classes import ClassMap, found_in, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import Listing, lists_in, marked, pictures
from pixelwise.data.sample import Item, Splits
from pixelwise.errors import DataError, raise_all

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "img_dir", "photos", "jpegimages")
LABEL_FOLDERS = (
    *("labels", "label", "masks", "mask", "annotations", "annotation", "ann_dir", "gt"),
    *("groundtruth", "ground_truth", "1st_manual"),
)
"""Names that count, in any case; of several the first in this order."""
ALIASES = {"training": "train", "validation": "val", "valid": "val", "testing": "test"}
SPLITS = {"train": "train", "val": "val", "test": "test", **ALIASES}
"""Name of a folder, in any case, to that of the split."""

Pair = tuple[Path, Path]
"""A folder of pictures and the folder of their label maps; one folder may be both."""


@dataclass(frozen=True)
class Part:
    """A folder that stands for a split, and what it holds."""

    folder: Path
    images: Path | None
    labels: Path | None

    @property
    def pair(self) -> Pair | None:
        """Both folders, if both are there."""
        return (self.images, self.labels) if self.images and self.labels else None

    @property
    def split(self) -> str:
        """The split's name, in the usual spelling."""
        return SPLITS.get(self.folder.name.lower(), self.folder.name)


def recognise(root: Path) -> bool:
    """A folder of pictures and one of label maps, here or in the folder of a split."""
    return bool(part_in(root).pair or _outer_parts(root))


def open_layout(listing: Listing) -> DataSet:
    """The data set, its classes described beside it or concluded from the label maps."""
    return open_with(listing, "folder")


def open_with(
    listing: Listing,
    layout: str,
    classes: ClassMap | None = None,
    note: str = "",
    found: str = "",
    pair: Pair | None = None,
) -> DataSet:
    """Such folders with other classes or of other names; ``found`` begins the evidence."""
    root, outer = listing.root, _outer_parts(listing.root)
    pair = pair or part_in(root).pair
    parts = _parts(pair, outer)
    images, labels = next(both for both in (*(part.pair for part in parts), pair) if both)
    splits = _by_part(parts, listing) if parts else _flat((images, labels), listing)
    if parts and not any(_is_split(part) for part in parts):
        # Scenes or clips: each may be named as a split, but none says that it is to be trained on.
        listing.notes.append(
            f"the folders in {images.parent.name}/ are groups: no split is called so"
        )
        splits |= listing.splits(root / "splits", {i.name: i for i in chain(*splits.values())})
    listing.notes += [*_doubts(root, parts, outer), *([note] if note else [])]
    evidence = f"{found}folders {images.relative_to(root)}/ and {labels.relative_to(root)}/"
    if images == labels:
        evidence = "pictures and label maps, marked by their endings, in one folder"
    return listing.dataset(layout, evidence, classes or classes_of_folder(listing, splits), splits)


def _parts(pair: Pair | None, outer: tuple[Part, ...]) -> tuple[Part, ...]:
    """The folders that are splits; none where pictures or label maps lie flat."""
    inner = _inner_parts(pair) if pair else ()
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
    for folder in _subfolders(root) if parts and parts == outer else ():
        if folder not in used and _is_whole(folder):
            yield f"{folder.name}/ is left out: its name is that of no split"
    if any(_is_split(part) for part in parts) and lists_in(root / "splits"):
        yield "splits/ is not read: the folders say what the splits are"


def _is_whole(folder: Path) -> bool:
    try:
        return part_in(folder).pair is not None
    except OSError:  # nobody asked for it
        return False


def _flat(pair: Pair, listing: Listing) -> dict[str, tuple[Item, ...]]:
    items = listing.pairs(*pair)
    if not items and not listing.problems:
        what = f"{pair[0]} holds no picture"
        listing.problems.append(DataError("D032", what, "add pictures"))
        return {}
    return dict(listing.splits(listing.root / "splits", items))


def _is_split(part: Part) -> bool:
    return part.folder.name.lower().startswith(tuple(SPLITS))  # train2017 is one too


def _by_part(parts: Sequence[Part], listing: Listing) -> dict[str, tuple[Item, ...]]:
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


def classes_of_folder(listing: Listing, splits: Splits) -> ClassMap:
    """What the folder's own files say, else what the values in its label maps let conclude."""
    root = listing.root
    if listing.described:
        return listing.described
    items = chain(*splits.values())
    paths = [p for item in items for source in item.labels.values() for p in source.files]
    if not paths:
        return numbered(["class 0"])  # the problems say why
    try:
        class_map, note, unread = found_in(paths, root)
    except DataError as error:  # said with all else that is wrong
        raise_all(root, [*listing.all_problems, *(error.problems or (error,))])
        raise  # which mypy cannot know to be out of reach
    listing.notes.append(note)
    listing.problems += unread
    return class_map


# -- where a folder keeps its pictures and its label maps ------------------------------
def part_in(root: Path) -> Part:
    """The folders in ``root`` by their names, else ``root`` itself if it mixes both kinds."""
    inside = {folder.name.lower(): folder for folder in reversed(_subfolders(root))}
    images = next((inside[n] for n in IMAGE_FOLDERS if n in inside), None)
    labels = next((inside[n] for n in LABEL_FOLDERS if n in inside), None)
    if not (images or labels) and marked({path.stem for path in pictures(root)}):
        return Part(root, root, root)
    return Part(root, images, labels)


def _outer_parts(root: Path) -> tuple[Part, ...]:
    """Folders named as splits, where one at least holds both pictures and label maps."""
    parts = tuple(part_in(f) for f in _subfolders(root) if f.name.lower() in SPLITS)
    return parts if any(part.pair for part in parts) else ()


def _inner_parts(pair: Pair) -> tuple[Part, ...]:
    """Folders among pictures and label maps, where no picture lies beside them."""
    if pair[0] == pair[1] or pictures(pair[0]):
        return ()
    left, right = ({f.name: f for f in _subfolders(side)} for side in pair)
    parts = tuple(
        Part(left.get(n) or right[n], left.get(n), right.get(n))
        for n in sorted(left.keys() | right.keys())
    )
    return parts if any(part.pair for part in parts) else ()


def _subfolders(root: Path) -> list[Path]:
    """Folders in a folder, by name; hidden ones are not looked at."""
    inside = (p for p in root.iterdir() if not p.name.startswith("."))
    return sorted(p for p in inside if p.is_dir())


def label_folders(names: Sequence[str]) -> set[str]:
    """Which of the folders at one place hold label maps: pictures must have a folder there too."""
    lower = {name: name.lower() for name in names}
    beside = set(lower.values())
    common = [n for n in names if lower[n] in LABEL_FOLDERS and beside & {*IMAGE_FOLDERS}]
    voc = [n for n in names if lower[n].startswith("segmentation") and "jpegimages" in beside]
    sbd = [n for n in names if n in ("cls", "inst") and "img" in beside]
    camvid = [n for n in names if n.endswith("annot") and n.removesuffix("annot") in names]
    return {*common, *voc, *sbd, *camvid}
