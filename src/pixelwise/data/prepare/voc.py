"""PASCAL VOC 2011 and 2012, segmentation; with SBD beside it the splits of the paper.

``seg11valid`` is what the released nets were judged on: the pictures of VOC 2011's val that are not
in SBD's train (arXiv 1411.4038v2, footnote 7). It is computed, and needs VOC 2011's
``ImageSets/Segmentation/val.txt`` and SBD's ``train.txt``.
"""

from __future__ import annotations

import re
from dataclasses import replace

from pixelwise.data.classes import numbered
from pixelwise.data.formats.canonical import Description
from pixelwise.data.prepare import sbd
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
from pixelwise.errors import UsageError
from pixelwise.labels import VOC_CLASSES

CLASSES = numbered(VOC_CLASSES)
HOST = "http://host.robots.ox.ac.uk/pascal/VOC"
TRAINVAL = {
    "VOC2012": "VOCtrainval_11-May-2012.tar",
    "VOC2011": "VOCtrainval_25-May-2011.tar",
    "VOC2010": "VOCtrainval_03-May-2010.tar",
}
LABELLED = ("train", "val", "trainval")
TERMS = (
    "photographs from Flickr, under Flickr's terms of use; annotations by the VOC organisers for "
    "research"
)
CITATION = (
    "M. Everingham, L. Van Gool, C. Williams, J. Winn, A. Zisserman, The PASCAL Visual Object "
    "Classes (VOC) Challenge, IJCV 88(2), 2010, 303-338"
)


def trainval(year: str, needed: str = "yes") -> Download:
    """The archive of a year."""
    page, what = f"{HOST}/{year.lower()}/", "JPEGImages/, SegmentationClass/, ImageSets/"
    return Download(TRAINVAL[year], f"{year}/ with {what}", page, needed)


RECORD = Published(
    name="voc",
    title="PASCAL VOC 2011 and 2012, segmentation",
    class_maps={"labels": CLASSES},
    preprocess=("caffe",),
    citation=CITATION,
    terms=TERMS,
    files=(
        trainval("VOC2012", "for --year 2012"),
        trainval("VOC2011", "for --year 2011, and for `seg11valid`"),
        Download(
            "VOC2012test.tar",
            "VOC2012/ with JPEGImages/ and ImageSets/Segmentation/test.txt",
            "http://host.robots.ox.ac.uk:8080/",
            "for `test`, the pictures of the test server",
        ),
        replace(sbd.ARCHIVE, needed="for `seg11valid` and `trainaug`"),
    ),
    archives=("*voc*", "*benchmark*", "*sbd*"),
)


def plan(source: Source, mats: MatFiles, year: str = "") -> Plan:
    """The segmentation part of one year, with what SBD adds to it.

    Raises:
        DataError: D010 no pictures, lists or label maps; D031 some of them; D034 a list of another
            data set.
        UsageError: U002 several years and none named, or another one.
    """
    tree = chosen_year(source, year)
    home = re.escape(tree)
    pictures = source.named(rf"{home}/JPEGImages/([^/]+)\.jpe?g")
    maps = source.named(rf"{home}/SegmentationClass/([^/]+)\.png")
    lists = source.named(rf"{home}/ImageSets/Segmentation/([^/]+)\.txt")
    archive = TRAINVAL.get(tree, TRAINVAL["VOC2012"])
    if not lists:
        raise RECORD.missing(source.place, f"{tree}/ImageSets/Segmentation/*.txt", archive)
    splits = {name: listed_names(entry, pictures) for name, entry in sorted(lists.items())}
    if "train" in splits and "val" in splits:
        splits.setdefault("trainval", sorted({*splits["train"], *splits["val"]}))
    if not maps and splits.keys() & set(LABELLED):
        raise RECORD.missing(source.place, f"{tree}/SegmentationClass/*.png", archive)
    refuse_unlabelled({s: n for s, n in splits.items() if s in LABELLED}, maps)
    drawn = {name: kept_png(entry, CLASSES) for name, entry in maps.items()}
    more = sbd.beside(source, mats, splits, pictures.keys() & maps.keys())
    splits |= {split: list(listed) for split, listed in more.splits.items()}
    pictures, drawn = {**more.pictures, **pictures}, {**more.drawn, **drawn}

    def piece(name: str) -> Piece:
        maps = {"labels": (drawn[name], CLASSES)} if name in drawn else {}
        return picture_piece(name, pictures[name], maps)

    description = Description({"labels": CLASSES})
    return planned(source, f"PASCAL {tree}", description, splits, piece, more.notes)


def chosen_year(source: Source, year: str) -> str:
    """The name of the folder that holds JPEGImages/ and belongs to the year: VOC2012.

    Raises:
        DataError: D010 there is none.
        UsageError: U002 several and none named, or another one.
    """
    pictures = source.matching(r"([^/]+)/JPEGImages/[^/]+\.jpe?g")
    trees = sorted({tree for (tree,) in pictures if tree})
    if not trees:
        what = f"JPEGImages/*.jpg (it holds: {source.holds})"
        raise RECORD.missing(source.place, what, TRAINVAL[f"VOC{year or 2012}"])
    wanted = [tree for tree in trees if not year or tree.endswith(year)]
    if len(wanted) == 1:
        return wanted[0]
    what = f"{source.place} holds {', '.join(trees)}, expected one of them to be chosen"
    raise UsageError("U002", what, f"--year {trees[-1].removeprefix('VOC')}")
