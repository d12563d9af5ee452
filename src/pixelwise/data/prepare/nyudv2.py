"""NYUDv2: 1,449 indoor frames in colour and depth, in the 40 classes of Gupta et al.

From the file of its authors, ``nyu_depth_v2_labeled.mat``, by the steps of Gupta's scripts, which
made what the released nets were trained on: 480x640 is cropped to 425x560, metres become whole
millimetres, 894 names become 40 classes. Or from the archive of the FCN authors, where that is
done, and HHA with it (fact sheet 3.3).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.data.classes import ClassMap, numbered
from pixelwise.data.depth import HhaOf
from pixelwise.data.formats.canonical import Description
from pixelwise.data.hha import hha as depth_as_hha
from pixelwise.data.prepare.archives import Entry
from pixelwise.data.prepare.mats import MatFiles, counted_from_one
from pixelwise.data.prepare.record import Download, Published
from pixelwise.data.prepare.source import Source
from pixelwise.data.prepare.work import Piece, Plan, picture_piece
from pixelwise.errors import DataError, first_few
from pixelwise.labels import VOID, Labels, voc_palette
from pixelwise.pictures.images import write_image, write_labels

# Gupta's mapping, classMapping40.mat (``mapClass``): the number of 1 to 894 that each of the first
# 37 classes has in the labels; each is the name itself. Numbers in neither table are otherprop.
NUMBERS = {
    "wall": 21, "floor": 11, "cabinet": 3, "bed": 157, "chair": 5, "sofa": 83, "table": 19,
    "door": 28, "window": 59, "bookshelf": 88, "picture": 64, "counter": 7, "blinds": 80,
    "desk": 36, "shelves": 42, "curtain": 89, "dresser": 169, "pillow": 119, "mirror": 122,
    "floor mat": 143, "clothes": 141, "ceiling": 4, "books": 85, "refridgerator": 17,
    "television": 172, "paper": 15, "towel": 135, "shower curtain": 123, "box": 26,
    "whiteboard": 45, "person": 331, "night stand": 158, "toilet": 124, "sink": 24, "lamp": 144,
    "bathtub": 136, "bag": 55,
}  # fmt: skip
OTHERS = {
    "otherstructure": (
        8, 25, 33, 38, 51, 53, 57, 58, 62, 65, 79, 94, 104, 112, 134, 153, 215, 216, 223, 225, 238,
        241, 242, 256, 295, 301, 339, 342, 354, 363, 372, 380, 392, 408, 412, 453, 456, 463, 477,
        497, 541, 550, 553, 567, 573, 582, 591, 609, 612, 615, 642, 645, 657, 658, 659, 663, 667,
        668, 686, 700, 702, 777, 778, 782, 850, 861, 868, 874,
    ),
    "otherfurniture": (
        12, 43, 48, 50, 87, 106, 111, 161, 163, 174, 183, 204, 214, 219, 221, 224, 236, 262, 278,
        291, 298, 313, 343, 344, 356, 359, 373, 393, 401, 414, 418, 419, 430, 443, 444, 447, 448,
        457, 458, 460, 462, 475, 479, 485, 486, 493, 494, 498, 499, 509, 510, 515, 521, 524, 540,
        549, 551, 554, 556, 558, 576, 580, 608, 625, 703, 734, 770, 772, 797, 800, 803, 804, 813,
        814, 815, 820, 829, 835, 858, 863, 882, 892,
    ),
    "otherprop": (),
}  # fmt: skip
NAMES = 894
CLASSES = numbered((*NUMBERS, *OTHERS), voc_palette(40).tolist())
"""Coloured as the release shows them: VOC's rule (vis.py)."""
# train, val and test (s) in runs of frames; the sets are those of the lists of the release
# (data/nyud/*.txt), which are NYU's splits.mat with train divided.
RUNS = (
    "s2 t6 s1 v4 s5 t2 s1 v6 s16 t2 s2 v8 s2 t1 s5 v12 s4 t4 s8 v25 s3 t5 s5 v1 s4 t2 s1 v15 s3 "
    "t11 s3 v1 s6 t3 s23 v4 s6 t7 s3 v27 s1 t13 s1 v6 s3 t5 s7 v10 s7 t7 s3 v2 s3 t7 s11 v15 s2 "
    "t2 s10 v19 s7 t4 s3 v13 s4 t15 s6 v5 s8 t13 s5 v2 s9 t30 s6 v1 s12 t4 s3 v3 s3 t9 s3 v3 s17 "
    "t7 s5 v7 s4 t8 s5 v4 s2 t3 s5 v11 s6 t5 s2 v4 s2 t4 s3 v4 s2 t3 s6 v2 s6 t4 s5 v2 s2 t2 s3 "
    "v6 s8 t3 s2 v5 s5 t2 s4 v8 s2 t14 s29 v12 s5 t5 s5 v6 s3 t9 s14 v3 s3 t4 s6 v6 s3 t34 s3 v8 "
    "s3 t6 s3 v3 s4 t9 s3 v11 s4 t2 s3 v2 s8 t13 s5 v5 s4 t5 s3 v8 s3 t8 s3 v3 s2 t8 s2 v2 s2 t3 "
    "s2 v16 s10 t3 s9 v1 s7 t1 s4 v7 s3 t3 s9 v3 s2 t7 s15 v3 s6 t2 s2 v2 s3 t2 s6 v7 s5 t4 s12 "
    "v3 s5 t5 s5 v2 s3 t11 s4 v3 s12 t9 s6 v4 s11 t1 s3 v2 s7 t5 s2 v13 s4 t2 s6 v6 s3 t3 s4 v7 "
    "s2 t2 s2 v14 s8 t2 s8 v5 s8 t6 s4 v5 s4 v7 s9"
)
FIRST = 5001  # the first frame's name in Gupta's data
FRAME = (480, 640)
CROP = slice(45, 470), slice(40, 600)  # MATLAB's 46:470 and 41:600 (cropIt.m)
VARIABLES = {"images": (*FRAME, 3), "depths": FRAME, "rawDepths": FRAME, "labels": FRAME}
LABELLED = Download(
    "nyu_depth_v2_labeled.mat",
    "1,449 frames: images, depths, rawDepths, labels, names",
    "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html",
    "this or the other",
)
RELEASED = Download(
    "nyud.tar.gz",
    "data/ with images/, depth/, hha/, and segmentation/, by the authors of FCN",
    "http://dl.caffe.berkeleyvision.org/nyud.tar.gz",
    "this or the other; it has HHA",
)
RECORD = Published(
    name="nyudv2",
    title="NYUDv2, 40 classes",
    class_maps={"labels": CLASSES},
    preprocess=("nyud-color", "nyud-hha", "nyud-color-d", "nyud-color-hha"),
    citation=(
        "N. Silberman, D. Hoiem, P. Kohli, R. Fergus, Indoor Segmentation and Support Inference "
        "from RGBD Images, ECCV 2012; 40 classes of S. Gupta, P. Arbelaez, J. Malik, Perceptual "
        "Organization and Recognition of Indoor Scenes from RGB-D Images, CVPR 2013"
    ),
    terms="none stated by the authors; made for research",
    files=(LABELLED, RELEASED),
    archives=("*nyu*",),
)


def plan(source: Source, mats: MatFiles, *, hha: bool = False) -> Plan:
    """All frames, with the inputs that are there; colour is used unless others are asked for.

    ``hha`` is computed from both depths of the authors' file; FCN's archive brings its own.

    Raises:
        DataError: D010 what is missing; D026 a file with other variables, sizes or names.
    """
    labelled = source.matching(re.escape(LABELLED.file))
    if labelled:
        return _of_labelled(source, mats, next(iter(labelled.values())), hha=hha)
    return _of_released(source, mats, hha=hha)


def frames() -> list[str]:
    """Their names, 5001 to 6449, as in the lists of the release."""
    return sorted({name for listed in members().values() for name in listed})


def members() -> dict[str, list[str]]:
    """Split to the names of its frames: 381, 414, both, and 654."""
    letters = "".join(c * int(n) for c, n in re.findall(r"([tvs])(\d+)", RUNS))
    named = [(str(i), letter) for i, letter in enumerate(letters, FIRST)]
    splits = {"train": "t", "val": "v", "trainval": "tv", "test": "s"}
    return {split: [name for name, c in named if c in own] for split, own in splits.items()}


def _planned(source: Source, pieces: tuple[Piece, ...], inputs: Mapping[str, str]) -> Plan:
    computed = {}
    if "depth" in inputs and "hha" not in inputs:  # as the release made it, from both
        computed["hha"] = HhaOf("depth", raw="rawdepth" if "rawdepth" in inputs else "")
    maps, use = {"labels": CLASSES}, ("color", "labels")
    description = Description(maps, inputs, use=use, computed=computed)
    return Plan(description, members(), pieces, f"NYUDv2, of {source.place}", source.notes)


# -- from the file of the data set's authors -------------------------------------------------------
def _of_labelled(source: Source, mats: MatFiles, entry: Entry, *, hha: bool) -> Plan:
    if not entry.unpacked:
        what = f"{entry}: lies in an archive, expected the file itself: it is read frame by frame"
        raise DataError("D010", what, f"unpack {entry.home.name} and give its folder")
    names, shapes = frames(), mats.variables(entry)
    again = f"get {LABELLED.file} from {LABELLED.url}"
    for variable, frame in VARIABLES.items():
        expected = (*frame, len(names))
        if shapes.get(variable) != expected:
            has = f"of shape {shapes[variable]}" if variable in shapes else "missing"
            what = f"{entry}: `{variable}` is {has}, expected shape {expected}"
            raise DataError("D026", what, again)
    words = mats.read(entry, "names")[0].tolist()
    other = [name for name, i in NUMBERS.items() if words[i - 1 : i] != [name]]
    if other or len(words) != NAMES:
        what = f"{entry}: {len(words)} names, in other places {first_few(other) or 'none'}"
        raise DataError("D026", f"{what}, expected the {NAMES} of NYUDv2", again)
    inputs = {"color": "images", "depth": "depth", "rawdepth": "rawdepth"}
    inputs |= {"hha": "hha"} if hha else {}
    folders = ("labels", *inputs.values())
    pieces = tuple(
        Piece(
            name,
            tuple(f"{folder}/{name}.png" for folder in folders),
            partial(_write_labelled, mats, entry, number, name, hha=hha),
        )
        for number, name in enumerate(names)
    )
    return _planned(source, pieces, inputs)


def _write_labelled(
    mats: MatFiles, entry: Entry, number: int, name: str, content: Path, *, hha: bool
) -> None:
    keys = [f"{variable}[{number}]" for variable in VARIABLES]
    image, depth, raw, numbers = (array[CROP] for array in mats.read(entry, *keys))
    labels = numbers_to_classes().ids(numbers, Path(f"{entry}: {keys[3]}"))
    arrays = {"images": image, "depth": millimetres(depth), "rawdepth": millimetres(raw)}
    if hha:
        try:
            arrays["hha"] = depth_as_hha(arrays["depth"], arrays["rawdepth"])
        except DataError as error:
            raise DataError(error.code, f"{entry}: {keys[1]}: {error}", error.hint) from error
    for folder, array in arrays.items():
        write_image(content / folder / f"{name}.png", array)
    write_labels(content / f"labels/{name}.png", labels, np.asarray(CLASSES.palette, np.uint8))


def numbers_to_classes() -> ClassMap:
    """From the 894 numbers of the labels to 40 classes; 0 is void."""
    ids = {name: i for i, name in enumerate(CLASSES.classes)}
    values = dict.fromkeys(range(1, NAMES + 1), ids["otherprop"]) | {0: VOID}
    values |= {number: ids[name] for name, number in NUMBERS.items()}
    values |= {number: ids[name] for name, listed in OTHERS.items() for number in listed}
    return ClassMap(CLASSES.classes, CLASSES.palette, values)


def millimetres(metres: NDArray[Any]) -> NDArray[np.uint16]:
    """``uint16(metres * 1000)`` as MATLAB has it: the product in single precision, the nearest
    number, halves up, 65535 for all beyond, 0 for what is none.
    """
    product = (metres.astype(np.float32) * np.float32(1000)).astype(np.float64)
    nearest = np.floor(np.nan_to_num(product, posinf=np.inf) + 0.5)
    return nearest.clip(0, 65535).astype(np.uint16)


# -- from the archive of the authors of FCN --------------------------------------------------------
def _of_released(source: Source, mats: MatFiles, *, hha: bool) -> Plan:
    kinds = {"color": r"images/img_(\d+)\.png", "segmentation": r"segmentation/img_(\d+)\.mat"}
    kinds |= {kind: rf"{kind}/img_(\d+)\.png" for kind in ("depth", "hha")}
    files = {kind: source.named(pattern) for kind, pattern in kinds.items()}
    if not files["color"] and not files["segmentation"]:
        what = f"{LABELLED.file} (it holds: {source.holds})"
        raise RECORD.missing(source.place, what, LABELLED.file)
    names = frames()
    further = [kind for kind in ("depth", "hha") if files[kind] or (kind == "hha" and hha)]
    for kind in ("color", "segmentation", *further):
        if bare := [name for name in names if name not in files[kind]]:
            what = f"{source.place}: {len(bare)} of {len(names)} frames have no {kind} file"
            hint = f"unpack {RELEASED.file} anew, or get it again from {RELEASED.url}"
            raise DataError("D031", f"{what}: {first_few(bare)}", hint)

    def piece(name: str) -> Piece:
        maps = {"labels": (partial(_released_labels, mats, files["segmentation"][name]), CLASSES)}
        beside = {kind: files[kind][name] for kind in further}
        return picture_piece(name, files["color"][name], maps, further=beside)

    inputs = {"color": "images", **{kind: kind for kind in further}}
    return _planned(source, tuple(map(piece, names)), inputs)


def _released_labels(mats: MatFiles, entry: Entry) -> tuple[Labels, bytes]:
    """0 to 40, less one, so that 0 is void (nyud_layers.py)."""
    raw = mats.whole_numbers(entry, "segmentation")
    return counted_from_one(CLASSES).ids(raw.astype(np.uint16), entry.place), b""
