"""PASCAL-Context: every pixel of VOC 2010's train and val, 459 names, of which 59 are taken.

What is none of the 59 becomes 0, background, which is a class and is trained; 255 never occurs
(fact sheet 3.5; pascalcontext_layers.py of the release). Later work leaves the background out, of
the mean (protocol ``foreground``) or of truth and classes (``background="void"``); the figures
differ by points.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassMap
from pixelwise.data.formats.canonical import Description
from pixelwise.data.prepare import voc
from pixelwise.data.prepare.archives import Entry
from pixelwise.data.prepare.mats import MatFiles
from pixelwise.data.prepare.record import Download, Published
from pixelwise.data.prepare.source import Source, listed_names
from pixelwise.data.prepare.work import Piece, Plan, picture_piece, planned, refuse_unlabelled
from pixelwise.errors import DataError, UsageError, first_few
from pixelwise.labels import VOID, Labels, colours_for, voc_palette
from pixelwise.pictures.images import read_labels

INDEX = {
    "aeroplane": 2, "bicycle": 23, "bird": 25, "boat": 31, "bottle": 34, "bus": 45, "car": 59,
    "cat": 65, "chair": 72, "cow": 98, "diningtable": 397, "dog": 113, "horse": 207,
    "motorbike": 258, "person": 284, "pottedplant": 308, "sheep": 347, "sofa": 368, "train": 416,
    "tvmonitor": 427, "bag": 9, "bed": 18, "bench": 22, "book": 33, "building": 44, "cabinet": 46,
    "ceiling": 68, "clothes": 80, "computer": 85, "cup": 104, "door": 115, "fence": 144,
    "floor": 158, "flower": 159, "food": 162, "grass": 187, "ground": 189, "keyboard": 220,
    "light": 232, "mountain": 259, "mouse": 260, "curtain": 105, "platform": 296, "sign": 355,
    "plate": 295, "road": 324, "rock": 326, "shelves": 349, "sidewalk": 354, "sky": 360,
    "snow": 366, "bedcloth": 19, "track": 415, "tree": 420, "truck": 424, "wall": 440,
    "water": 445, "window": 454, "wood": 458,
}  # fmt: skip
"""The 59 names of the task, in its order, to their numbers in ``LabelMap`` (fact sheet 3.5)."""
RAW_NAMES = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}
"""Those that the list of 459 calls otherwise."""
RAW = 459
BACKGROUND = "background"


def class_map(names: Sequence[str], *, background: bool = True) -> ClassMap:
    """Some of the 59, in this order; the others are background, which is class 0 or void."""
    first = (BACKGROUND,) if background else ()
    values = dict.fromkeys(range(RAW + 1), 0 if background else VOID)
    values |= {INDEX[name]: i for i, name in enumerate(names, len(first))}
    # FCN's tools draw label maps in VOC's colours, whatever the classes.
    palette = voc_palette(len(names) + 1)[1 - len(first) :].tolist()
    return ClassMap((*first, *names), colours_for(len(palette), palette), values)


ANNOTATIONS = Download(
    "trainval.tar.gz",
    "trainval/*.mat with LabelMap; or the same numbers as 16-bit PNG",
    "https://cs.stanford.edu/~roozbeh/pascal-context/",
)
PICTURES = Download(
    voc.TRAINVAL["VOC2010"],
    "VOC2010/ with JPEGImages/, ImageSets/Main/train.txt and val.txt",
    f"{voc.HOST}/voc2010/",
)
RECORD = Published(
    name="context",
    title="PASCAL-Context, 59 classes and background",
    class_maps={"labels": class_map(tuple(INDEX))},
    preprocess=("caffe",),
    citation=(
        "R. Mottaghi, X. Chen, X. Liu, N.-G. Cho, S.-W. Lee, S. Fidler, R. Urtasun, A. Yuille, The "
        "Role of Context for Object Detection and Semantic Segmentation in the Wild, CVPR 2014"
    ),
    terms="annotations for research; photographs from Flickr, under Flickr's terms of use",
    files=(PICTURES, ANNOTATIONS),
    archives=("*voc*2010*", "trainval*.tar*", "*context*"),
)


def plan(
    source: Source, mats: MatFiles, *, names: Sequence[str] = (), background: bool = True
) -> Plan:
    """The train and val of VOC 2010 by the annotation of all pixels.

    ``names`` are the classes that are taken, in their order, by default the 59; everything else is
    ``background``, class 0, or else void.

    Raises:
        DataError: D010 what is missing; D031 pictures without annotation; D034 a list of another
            data set.
    """
    where = source.place
    pictures = source.named(r"VOC2010/JPEGImages/([^/]+)\.jpe?g")
    lists = source.named(r"VOC2010/ImageSets/Main/(train|val)\.txt")
    if not pictures or len(lists) < 2:
        what = "ImageSets/Main/train.txt and val.txt" if pictures else "JPEGImages/*.jpg"
        raise RECORD.missing(where, f"VOC2010/{what} (it holds: {source.holds})", PICTURES.file)
    maps = source.named(r"trainval/([^/]+)\.(mat|png)")
    if not maps:
        what = f"trainval/*.mat (it holds: {source.holds})"
        raise RECORD.missing(where, what, ANNOTATIONS.file)
    for entry in source.matching(r"labels\.txt").values():
        _check_names(entry)
    splits = {split: listed_names(entry, pictures) for split, entry in sorted(lists.items())}
    refuse_unlabelled(splits, maps)
    classes = class_map(names or tuple(INDEX), background=background)

    def drawn(entry: Entry) -> tuple[Labels, bytes]:
        return classes.ids(_raw(mats, entry), entry.place), b""

    def piece(name: str) -> Piece:
        return picture_piece(
            name, pictures[name], {"labels": (partial(drawn, maps[name]), classes)}
        )

    return planned(source, "PASCAL-Context", Description({"labels": classes}), splits, piece)


def _raw(mats: MatFiles, entry: Entry) -> NDArray[np.uint16]:
    """(H, W) numbers of 0 to 459."""
    if entry.suffix == ".png":
        return read_labels(entry.place, entry.bytes()).astype(np.uint16)
    return mats.whole_numbers(entry, "LabelMap").astype(np.uint16)


def _check_names(entry: Entry) -> None:
    """The list of 459, where it is there, gives the 59 the numbers that are taken.

    Raises:
        DataError: D034 it does not.
    """
    text = entry.bytes().decode("utf-8", "replace")
    told = {m[2].replace(" ", ""): int(m[1]) for m in re.finditer(r"(\d+):\s*([^\r\n]+)", text)}
    other = [n for n, i in INDEX.items() if told.get(RAW_NAMES.get(n, n)) != i]
    if other:
        what = f"{entry}: the numbers of {first_few(other)} are not those of PASCAL-Context"
        raise DataError("D034", what, "move the list away, or get the annotations again")


def chosen_names(path: Path) -> tuple[str, ...]:
    """The classes in a file, one name a line, with or without a number in front: ``1: aeroplane``.

    Raises:
        UsageError: U002 it cannot be read, or names what is none of the 59, or one twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        hint = "give a text file, one class a line"
        raise UsageError("U002", f"--classes {path}: cannot be read ({error})", hint) from error
    words = [re.sub(r"^\d+[:.\s]\s*", "", line.strip()).replace(" ", "") for line in lines]
    back = {raw: name for name, raw in RAW_NAMES.items()}
    names = [back.get(word, word) for word in words if word and word != BACKGROUND]
    strange = [name for name in names if name not in INDEX or names.count(name) > 1]
    if strange or not names:
        said = f"`{strange[0]}` is none of the 59, or there twice" if strange else "it names none"
        hint = f"known: {', '.join(INDEX)}"
        raise UsageError("U002", f"--classes {path}: {said}", hint)
    return tuple(names)
