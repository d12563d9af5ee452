"""SIFT Flow: 2,686 outdoor pictures of 256x256, each labelled twice, by 33 things and 3 surfaces.

Both label maps are one MATLAB variable each; they are brought to class ids by the rule of the
released layer (siftflow_layers.py): -1 becomes 0, then one is taken off, so that 0 is void. Of the
33 classes 30 occur in the test pictures; ``mean_iu`` leaves out those that do not (arXiv
1411.4038v2, footnote 10).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from pixelwise.data.classes import numbered
from pixelwise.data.formats.canonical import Description
from pixelwise.data.prepare.archives import Entry
from pixelwise.data.prepare.mats import MatFiles, counted_from_one
from pixelwise.data.prepare.record import Download, Published
from pixelwise.data.prepare.source import Source, listed_names
from pixelwise.data.prepare.work import Piece, Plan, picture_piece, planned, refuse_unlabelled
from pixelwise.errors import DataError, first_few
from pixelwise.labels import Labels, voc_palette

# data/sift-flow/classes.txt of the release, in the order of the net's outputs.
SEMANTIC = (
    "awning", "balcony", "bird", "boat", "bridge", "building", "bus", "car", "cow", "crosswalk",
    "desert", "door", "fence", "field", "grass", "moon", "mountain", "person", "plant", "pole",
    "river", "road", "rock", "sand", "sea", "sidewalk", "sign", "sky", "staircase", "streetlight",
    "sun", "tree", "window",
)  # fmt: skip
GEOMETRIC = ("sky", "horizontal", "vertical")
HEADS = {
    head: numbered(names, voc_palette(len(names)).tolist())
    for head, names in (("sem", SEMANTIC), ("geo", GEOMETRIC))
}
"""By the names that the released nets give their heads; coloured as the release shows them (VOC's
rule, vis.py)."""
FOLDERS = {"sem": "SemanticLabels", "geo": "GeoLabels"}
LEAST = {"sem": 0, "geo": -1}
SCENES = "spatial_envelope_256x256_static_8outdoorcategories"
UNANNOTATED = ("highway_bost181", "street_urb506")  # data/sift-flow/classes.txt
ARCHIVE = Download(
    "SiftFlowDataset.zip",
    "Images/, SemanticLabels/ and GeoLabels/",
    "http://www.cs.unc.edu/~jtighe/Papers/ECCV10/siftflow/SiftFlowDataset.zip",
)
TEST = Download(
    "test.txt",
    "the names of the 200 test pictures",
    "https://github.com/shelhamer/fcn.berkeleyvision.org/tree/master/data/sift-flow",
    "where the archive has no TestSet1.txt; trainval.txt beside it counts too",
)
RECORD = Published(
    name="siftflow",
    title="SIFT Flow, 33 semantic and 3 geometric classes",
    class_maps=HEADS,
    preprocess=("siftflow",),
    citation=(
        "C. Liu, J. Yuen, A. Torralba, Nonparametric Scene Parsing via Label Transfer, PAMI "
        "33(12), 2011, 2368-2382; geometric labels of J. Tighe, S. Lazebnik, SuperParsing: "
        "Scalable Nonparametric Image Parsing with Superpixels, ECCV 2010"
    ),
    terms="none stated by the authors; pictures and labels of LabelMe, made for research",
    files=(ARCHIVE, TEST),
    archives=("*sift*",),
)


def plan(source: Source, mats: MatFiles) -> Plan:
    """All annotated pictures under two heads, in ``trainval`` and ``test``.

    ``trainval`` is every picture that is not in ``test``, unless there is a list of its own.

    Raises:
        DataError: D010 what is missing; D031 pictures without label maps; D034 a list of another
            data set.
    """
    pictures = source.named(rf"Images/{SCENES}/([^/]+)\.jpe?g")
    maps = {head: source.named(rf"{f}/{SCENES}/([^/]+)\.mat") for head, f in FOLDERS.items()}
    wanted = {"Images/*.jpg": pictures, **{f"{f}/*.mat": maps[h] for h, f in FOLDERS.items()}}
    if absent := [what for what, there in wanted.items() if not there]:
        folder, _, name = absent[0].partition("/")
        what = f"{folder}/{SCENES}/{name} (it holds: {source.holds})"
        raise RECORD.missing(source.place, what, ARCHIVE.file)
    splits = _splits(source, pictures)
    names = sorted({name for listed in splits.values() for name in listed})
    both = {name for name in names if all(name in entries for entries in maps.values())}
    refuse_unlabelled(splits, dict.fromkeys(both))
    left = sorted(pictures.keys() - set(names))
    notes = [f"{len(left)} pictures are left out: {first_few(left)}"] if left else []
    if bare := [name for name in left if name in UNANNOTATED]:
        notes = [f"{' and '.join(bare)} have no annotation and are left out"]
        notes += [f"so are {len(left) - len(bare)} that no list names"] * (left != bare)

    def piece(name: str) -> Piece:
        drawn = {h: (partial(_drawn, mats, maps[h][name], h), HEADS[h]) for h in HEADS}
        return picture_piece(name, pictures[name], drawn)

    description = Description(HEADS, heads={head: head for head in HEADS})
    return planned(source, "SIFT Flow", description, splits, piece, notes)


def _splits(source: Source, pictures: Mapping[str, Entry]) -> dict[str, list[str]]:
    """``trainval`` and ``test``, of which no picture is in both."""
    lists = source.named(r"(trainval|test|TestSet1)\.txt")
    tests = [name for name in ("test", "TestSet1") if name in lists]
    if not tests:
        raise RECORD.missing(source.place, "test.txt or TestSet1.txt", TEST.file)
    test = listed_names(lists[tests[0]], pictures)
    rest = sorted(pictures.keys() - {*test, *UNANNOTATED})
    trainval = listed_names(lists["trainval"], pictures) if "trainval" in lists else rest
    if twice := [name for name in test if name in set(trainval)]:
        what = f"{lists['trainval']} and {lists[tests[0]]} both name {first_few(twice)}"
        raise DataError("D033", what, "get both lists again")
    return {"trainval": trainval, "test": test}


def _drawn(mats: MatFiles, entry: Entry, head: str) -> tuple[Labels, bytes]:
    """``S`` as class ids: -1 counts as 0, and 0 is void."""
    raw = np.maximum(mats.whole_numbers(entry, "S", least=LEAST[head]), 0).astype(np.uint16)
    return counted_from_one(HEADS[head]).ids(raw, entry.place), b""
