"""Cityscapes: leftImg8bit/<split>/<city>/ beside gtFine/<split>/<city>/.

The 19 classes of its benchmark, by the rule of its ``helpers/labels.py``: ``_labelTrainIds`` maps
are taken where they are there, else ``_labelIds`` maps are translated; all other ids are void.
"""

from __future__ import annotations

from pathlib import Path

from pixelwise.data.classes import ClassMap, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import Listing, pictures
from pixelwise.data.sample import Item, LabelMap
from pixelwise.labels import VOID

IMAGES, LABELS = "leftImg8bit", "gtFine"
TRAIN_IDS, IDS = "_gtFine_labelTrainIds.png", "_gtFine_labelIds.png"
CLASSES = {
    "road": (7, (128, 64, 128)),
    "sidewalk": (8, (244, 35, 232)),
    "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)),
    "fence": (13, (190, 153, 153)),
    "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)),
    "traffic sign": (20, (220, 220, 0)),
    "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)),
    "sky": (23, (70, 130, 180)),
    "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)),
    "car": (26, (0, 0, 142)),
    "truck": (27, (0, 0, 70)),
    "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)),
    "motorcycle": (32, (0, 0, 230)),
    "bicycle": (33, (119, 11, 32)),
}
"""Name to id and colour, in the order of the trainIds (cityscapesScripts, helpers/labels.py)."""
LAST_ID = 33


def recognise(root: Path) -> bool:
    """leftImg8bit/ beside gtFine/."""
    return (root / IMAGES).is_dir() and (root / LABELS).is_dir()


def open_layout(listing: Listing) -> DataSet:
    """The data set; a group is a city's sequence."""
    root = listing.root
    frames = sorted(p for p in (root / IMAGES).glob("*/*") if p.is_dir())
    found = [path for folder in frames for path in pictures(folder)]
    ready = bool(found) and all(_labels(root, path, TRAIN_IDS).is_file() for path in found)
    end = TRAIN_IDS if ready else IDS
    splits: dict[str, tuple[Item, ...]] = {}
    for path in found:
        labels = _labels(root, path, end)
        source = {listing.head: LabelMap(labels)} if labels.is_file() else {}
        group = "_".join(path.stem.split("_")[:2])
        item = Item(_stem(path), {listing.input: path}, source, group)
        split = path.parent.parent.name
        splits[split] = (*splits.get(split, ()), item)
    rule = "trainIds as they are" if ready else "ids translated to the 19 trainIds, others void"
    listing.notes.append(f"label maps *{end}: {rule}")
    return listing.dataset("cityscapes", f"{IMAGES}/ and {LABELS}/", classes(ready), splits)


def classes(train_ids: bool) -> ClassMap:
    """The 19, of maps of trainIds or of ids."""
    names, palette = tuple(CLASSES), tuple(colour for _, colour in CLASSES.values())
    if train_ids:
        return numbered(names, palette)
    ids = {value: i for i, (value, _) in enumerate(CLASSES.values())}
    others = dict.fromkeys((*range(LAST_ID + 1), VOID), VOID)  # 255: the licence plate's -1
    return ClassMap(names, palette, others | ids)


def _stem(path: Path) -> str:
    return path.stem.removesuffix(f"_{IMAGES}")


def _labels(root: Path, image: Path, end: str) -> Path:
    split, city = image.parts[-3:-1]
    return root / LABELS / split / city / f"{_stem(image)}{end}"
