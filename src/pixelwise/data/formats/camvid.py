"""CamVid as SegNet's authors published it: train/ trainannot/ val/ valannot/ test/ testannot/.

Frames of 480x360 from four drives, labels 0..10 and 11 for void. The lists (``train.txt``, ...)
hold paths like /SegNet/CamVid/train/X.png; only the name counts, the suffix is the file's own.

The published val split is one window of a few seconds inside a training drive, which says little.
So splits of our own, by sequence, stand beside the given ones:

- ``fit`` / ``held``: for choosing a recipe. Held are the drive 0006R0 and the second half of
  0001TP, as the test set is an unseen drive and the second half of 0001TP; fit is what is left.
- ``most`` / ``heads``: for a final training. Heads are the first 8 % of each training sequence;
  most is train without them and without the frame after them.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pixelwise.data import splits
from pixelwise.data.class_files import described
from pixelwise.data.classes import ClassMap, numbered
from pixelwise.data.dataset import DataSet
from pixelwise.data.listing import Listing
from pixelwise.data.sample import Item
from pixelwise.labels import CAMVID_CLASSES, CAMVID_PALETTE, VOID

VOID_VALUE = 11
VOID_NAMES = ("void", "unlabelled", "unlabeled", "ignore")
PARTS = ("train", "val", "test")


def recognise(root: Path) -> bool:
    """train/ beside trainannot/, or so for another split: the test frames alone will do."""
    return bool(label_folders(root))


def label_folders(root: Path) -> list[Path]:
    """Those of the given splits that have both folders."""
    labelled = (root / f"{part}annot" for part in PARTS if (root / part).is_dir())
    return [folder for folder in labelled if folder.is_dir()]


def open_layout(listing: Listing) -> DataSet:
    """The data set, with our own splits beside the given ones."""
    root = listing.root
    labelled = label_folders(root)
    given: dict[str, tuple[Item, ...]] = {}
    for part in (p for p in PARTS if (root / p).is_dir()):
        labels = root / f"{part}annot"
        bare = labels not in labelled  # such frames can be predicted; they are no problem
        pairs = listing.pairs(root / part, labels, strays=bare)
        items = {name: replace(item, group=sequence(name)) for name, item in pairs.items()}
        names = root / f"{part}.txt"
        paired = tuple(item for item in items.values() if item.labels or bare)
        given[part] = listing.split(names, items) if names.is_file() else paired
    name = labelled[0].name
    evidence = f"folders {name.removesuffix('annot')}/ and {name}/, as in SegNet's CamVid"
    splits = given | own_splits(given.get("train", ()))
    return listing.dataset("camvid", evidence, classes(root), splits)


def classes(root: Path) -> ClassMap:
    """CamVid's, or the folder's own names; 11 is void unless ``classes.json`` has it otherwise."""
    own = described(root)
    if own is None:
        return numbered(CAMVID_CLASSES, CAMVID_PALETTE, void=(VOID_VALUE, VOID))
    names = own.classes
    if len(names) == VOID_VALUE + 1 and names[VOID_VALUE].lower() in VOID_NAMES:
        names = names[:VOID_VALUE]
    if (root / "classes.json").exists() or len(names) > VOID_VALUE:
        return own
    return numbered(names, void=(VOID_VALUE, VOID))


def sequence(name: str) -> str:
    """The drive a frame belongs to: 0001TP_006690 and Seq05VD_f00000 name theirs first."""
    return name.partition("_")[0]


def own_splits(train: tuple[Item, ...]) -> dict[str, tuple[Item, ...]]:
    """``fit``, ``held``, ``most``, ``heads``; a pair of which one would be empty is left out."""
    dusk = sorted(i.name for i in train if i.group == "0001TP")
    late = set(dusk[len(dusk) // 2 :])
    unseen = {i.name for i in train if i.group == "0006R0" or i.name in late}
    held = tuple(i for i in train if i.name in unseen)
    fit = tuple(i for i in train if i.name not in unseen)
    most, heads = splits.heads(train, 0.08, gap=1)
    own = {"fit": fit, "held": held} if fit and held else {}
    return own | ({"most": most, "heads": heads} if most and heads else {})
