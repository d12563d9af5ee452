"""SBD, the Semantic Boundaries Dataset: label maps of 11,355 pictures of VOC 2011, without void.

The released nets were trained on its train split (8,498 pictures) and judged on ``seg11valid`` by
VOC's own label maps (fact sheet 3.2). Where VOC 2011 lies beside, both are in one data set:
``seg11valid`` has the pictures of VOC 2011's val that are not in SBD's train (arXiv 1411.4038v2,
footnote 7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from pixelwise.data.classes import numbered
from pixelwise.data.formats.canonical import Description
from pixelwise.data.prepare.archives import Entry
from pixelwise.data.prepare.mats import MatFiles
from pixelwise.data.prepare.record import Download, Published
from pixelwise.data.prepare.source import Source, listed_names
from pixelwise.data.prepare.work import Drawn, Piece, Plan, kept_png, picture_piece, planned
from pixelwise.errors import DataError, first_few
from pixelwise.labels import VOC_CLASSES, Labels

CLASSES = numbered(VOC_CLASSES)
ARCHIVE = Download(
    "benchmark.tgz",
    "benchmark_RELEASE/dataset/ with img/, cls/, train.txt, val.txt",
    "http://home.bharathh.info/pubs/codes/SBD/download.html",
)
VOC2011 = Download(
    "VOCtrainval_25-May-2011.tar",
    "VOC2011/ with JPEGImages/, SegmentationClass/, ImageSets/Segmentation/",
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2011/",
    "for `seg11valid`",
)
RECORD = Published(
    name="sbd",
    title="SBD, the Semantic Boundaries Dataset",
    class_maps={"labels": CLASSES},
    preprocess=("caffe",),
    citation=(
        "B. Hariharan, P. Arbelaez, L. Bourdev, S. Maji, J. Malik, Semantic Contours from Inverse "
        "Detectors, ICCV 2011"
    ),
    terms="annotations for research; photographs from Flickr, under Flickr's terms of use",
    files=(ARCHIVE, VOC2011),
    archives=("*benchmark*", "*sbd*", "*voc*"),
)
VOC_LABELS = "labels_voc"
"""Folder of the label maps of ``seg11valid``: some pictures have one of SBD too."""


@dataclass(frozen=True)
class Sbd:
    """What is there of SBD, by name of the picture."""

    train: Sequence[str]
    val: Sequence[str]
    pictures: Mapping[str, Entry]
    drawn: Mapping[str, Drawn]


def read(source: Source, mats: MatFiles) -> Sbd | None:
    """SBD among the files, or None.

    Raises:
        DataError: D010 a part of it is missing, D034 a list names what is not there.
    """
    everywhere = source.matching(r"([^/]+)/cls/([^/]+)\.mat")
    if not everywhere:
        return None
    tree = next(iter(everywhere))[0]
    home = re.escape(tree)
    maps = {name: entry for (place, name), entry in everywhere.items() if place == tree}
    pictures = source.named(rf"{home}/img/([^/]+)\.jpe?g")
    lists = source.named(rf"{home}/(train|val)\.txt")
    wanted = (("img/*.jpg", pictures), ("train.txt", "train" in lists), ("val.txt", "val" in lists))
    if absent := [f"{tree}/{what}" for what, there in wanted if not there]:
        raise RECORD.missing(source.place, absent[0], ARCHIVE.file)
    drawn = {name: partial(_drawn, mats, entry) for name, entry in maps.items()}
    both = {name: entry for name, entry in pictures.items() if name in maps}
    train, val = (listed_names(lists[split], both) for split in ("train", "val"))
    return Sbd(train, val, pictures, drawn)


def _drawn(mats: MatFiles, entry: Entry) -> tuple[Labels, bytes]:
    """Numbers of 0 to 20, as they are (fact sheet 3.2)."""
    (raw,) = mats.read(entry, "GTcls.Segmentation")
    if raw.ndim != 2 or raw.dtype != np.uint8:
        what = f"{entry}: GTcls.Segmentation is {raw.dtype} of shape {raw.shape}"
        raise DataError("D026", f"{what}, expected uint8 (H, W)", "get the archive again")
    return CLASSES.ids(raw, entry.place), b""


def plan(source: Source, mats: MatFiles) -> Plan:
    """SBD's train and val by its own label maps, and ``seg11valid`` by VOC's.

    Raises:
        DataError: D010 what is missing; D034 a list of another data set.
    """
    sbd = read(source, mats)
    if sbd is None:
        what = f"dataset/cls/*.mat (it holds: {source.holds})"
        raise RECORD.missing(source.place, what, ARCHIVE.file)
    splits: dict[str, Sequence[str]] = {"train": sbd.train, "val": sbd.val}
    pictures = {**source.named(r"VOC2011/JPEGImages/([^/]+)\.jpe?g"), **sbd.pictures}
    maps = source.named(r"VOC2011/SegmentationClass/([^/]+)\.png")
    valid, notes = seg11valid(source, sbd.train, pictures.keys() & maps.keys())
    if valid:
        splits["seg11valid"] = [f"{name} {VOC_LABELS}/{name}.png" for name in valid]
    own = {*sbd.train, *sbd.val}

    def piece(name: str) -> Piece:
        drawn = {"labels": (sbd.drawn[name], CLASSES)} if name in own else {}
        if name in valid:
            drawn[VOC_LABELS] = (kept_png(maps[name], CLASSES), CLASSES)
        return picture_piece(name, pictures[name], drawn)

    return planned(source, "SBD", Description({"labels": CLASSES}), splits, piece, notes)


def seg11valid(
    source: Source, trained: Sequence[str], labelled: Set[str]
) -> tuple[list[str], tuple[str, ...]]:
    """The 736 pictures in the order of VOC 2011's val, or none and why there are none.

    ``trained`` is SBD's train, which is left out, ``labelled`` what has a label map of VOC.
    """
    lists = source.matching(r"VOC2011/ImageSets/Segmentation/val\.txt")
    if not lists:
        lacking = "VOC2011/ImageSets/Segmentation/val.txt"
        return [], (f"no split seg11valid: it needs {lacking} of {VOC2011.file}",)
    (entry,) = lists.values()
    left_out = set(trained)
    valid = [name for name in listed_names(entry) if name not in left_out]
    if bare := [name for name in valid if name not in labelled]:
        lacking = f"{len(bare)} of its pictures have no label map here: {first_few(bare)}"
        return [], (f"no split seg11valid: {lacking}",)
    return valid, ()


@dataclass(frozen=True)
class Beside:
    """What SBD adds to VOC."""

    splits: Mapping[str, Sequence[str]] = field(default_factory=dict)
    pictures: Mapping[str, Entry] = field(default_factory=dict)
    drawn: Mapping[str, Drawn] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def beside(
    source: Source,
    mats: MatFiles,
    splits: Mapping[str, Sequence[str]],
    labelled: Set[str],
) -> Beside:
    """``seg11valid`` and ``trainaug`` of a year of VOC with these splits.

    ``trainaug`` is VOC's train and all of SBD without VOC's val: 10,582 pictures of VOC 2012. VOC's
    label map counts where there is one. For ``seg11valid`` SBD's ``dataset/train.txt`` is enough.
    """
    sbd, lists = read(source, mats), source.matching(r"dataset/train\.txt")
    trained = sbd.train if sbd else [n for entry in lists.values() for n in listed_names(entry)]
    if not trained:
        needed = f"no splits seg11valid and trainaug: they need SBD beside it ({ARCHIVE.file})"
        return Beside(notes=(needed,))
    valid, notes = seg11valid(source, trained, labelled)
    more: dict[str, Sequence[str]] = {"seg11valid": valid} if valid else {}
    if sbd is None:
        return Beside(more, notes=(*notes, f"no split trainaug: it needs all of {ARCHIVE.file}"))
    if "train" in splits and "val" in splits:
        more["trainaug"] = sorted(
            {*splits["train"], *sbd.train, *sbd.val}.difference(splits["val"])
        )
    return Beside(more, sbd.pictures, sbd.drawn, notes)
