"""VOC and SBD from miniature archives with the true member paths; the lists against real ones."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import published
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.prepare import sbd, voc
from pixelwise.data.prepare.archives import Entry
from pixelwise.data.prepare.mats import MatFiles
from pixelwise.data.prepare.record import Published
from pixelwise.data.prepare.source import Source, open_source
from pixelwise.data.prepare.work import Plan, Planner, kept_png, prepare
from problems import told

SPLITS = {
    "train": ["2007_000032", "2008_000008"],
    "val": ["2007_000033", "2007_000042", "2009_000074"],
    "trainval": ["2007_000032", "2007_000033", "2007_000042", "2008_000008", "2009_000074"],
}
SBD_TRAIN, SBD_VAL = ["2007_000042", "2010_000003"], ["2007_000033", "2010_000005"]


def made(record: Published, planner: Planner, source: Path, out: Path) -> dict[str, bytes]:
    prepare(record, planner, [source], out)
    return published.contents(out)


def splits_of(out: Path) -> dict[str, list[str]]:
    return {s: [i.name for i in items] for s, items in open_dataset(out).splits.items()}


@pytest.mark.parametrize("form", ["tar", "tgz", "zip", "devkit", "year", "odd", "both"])
def test_archives_and_folders_give_the_same(tmp_path: Path, form: str) -> None:
    files = published.voc(2012, SPLITS)
    home = tmp_path / "src"
    reference = published.unpack(files, tmp_path / "plain")
    made(voc.RECORD, voc.plan, reference, tmp_path / "reference")
    match form:
        case "tar":
            source = published.tar(files, home / "VOCtrainval_11-May-2012.tar")
        case "tgz":
            source = published.tar(files, home / "voc.tar.gz", "w:gz").parent
        case "zip":
            source = published.zipped(files, home / "voc.zip").parent
        case "devkit":
            source = published.unpack(files, home) / "VOCdevkit"
        case "year":
            source = published.unpack(files, home) / "VOCdevkit" / "VOC2012"
        case "odd":  # what a name holds is no pattern
            source = published.unpack(files, home) / "VOCdevkit" / "VOC2012"
            source = source.rename(source.parent / "voc (1)+[a")
        case _:  # pictures in an archive, the rest unpacked
            pictures = {n: c for n, c in files.items() if n.endswith(".jpg")}
            published.tar(pictures, home / "voc.tar")
            source = published.unpack({n: c for n, c in files.items() if n not in pictures}, home)
    found = made(voc.RECORD, voc.plan, source, tmp_path / "out")
    expected = published.contents(tmp_path / "reference")
    assert found.keys() == expected.keys()
    assert {n: c for n, c in found.items() if n != "dataset.json"} == {
        n: c for n, c in expected.items() if n != "dataset.json"
    }


def test_pictures_and_right_label_maps_keep_their_bytes(tmp_path: Path) -> None:
    files = published.voc(2012, SPLITS)
    out = tmp_path / "out"
    found = made(voc.RECORD, voc.plan, published.tar(files, tmp_path / "voc.tar"), out)
    for name in SPLITS["trainval"]:
        home = "VOCdevkit/VOC2012"
        assert found[f"images/{name}.jpg"] == files[f"{home}/JPEGImages/{name}.jpg"]
        assert found[f"labels/{name}.png"] == files[f"{home}/SegmentationClass/{name}.png"]
    assert splits_of(out) == SPLITS
    assert not inspect(open_dataset(out)).problems


def test_label_maps_without_vocs_colours_are_written_anew(tmp_path: Path) -> None:
    files = published.voc(2012, SPLITS)
    labels = published.voc_labels("x")
    name = "VOCdevkit/VOC2012/SegmentationClass/2007_000032.png"
    files[name] = published.encoded(published.Image.fromarray(labels), "PNG")
    out = tmp_path / "out"
    found = made(voc.RECORD, voc.plan, published.tar(files, tmp_path / "voc.tar"), out)
    assert found["labels/2007_000032.png"] != files[name]
    dataset = open_dataset(out)
    assert (dataset.read(dataset.all_items()[0]).labels == labels).all()
    assert b"PLTE" in found["labels/2007_000032.png"]


def test_the_pictures_of_the_test_server_have_no_labels(tmp_path: Path) -> None:
    source = tmp_path / "src"
    published.tar(published.voc(2012, SPLITS), source / "VOCtrainval_11-May-2012.tar")
    names = ["2008_000006", "2008_000011"]
    published.tar(published.voc(2012, {"test": names}, names), source / "VOC2012test.tar")
    out = tmp_path / "out"
    made(voc.RECORD, voc.plan, source, out)
    assert splits_of(out) == {**SPLITS, "test": names}
    assert not any(item.labels for item in open_dataset(out).splits["test"])


def both(folder: Path) -> Path:
    """VOC 2011 and SBD, as they are downloaded: the second is a tar that is called tgz."""
    published.tar(published.voc(2011, SPLITS), folder / "VOCtrainval_25-May-2011.tar")
    published.tar(published.sbd(SBD_TRAIN, SBD_VAL), folder / "benchmark.tgz")
    return folder


def test_sbd_beside_voc_gives_the_splits_of_the_paper(tmp_path: Path) -> None:
    out = tmp_path / "out"
    made(voc.RECORD, voc.plan, both(tmp_path / "src"), out)
    found = splits_of(out)
    assert found["seg11valid"] == ["2007_000033", "2009_000074"]
    expected = ["2007_000032", "2008_000008", "2010_000003", "2010_000005"]
    assert found["trainaug"] == expected  # VOC's train and SBD, without VOC's val
    dataset = open_dataset(out)
    by_name = {item.name: dataset.read(item).labels for item in dataset.all_items()}
    assert (by_name["2007_000032"] == published.voc_labels("2007_000032")).all()
    assert (by_name["2010_000003"] == published.sbd_labels("2010_000003")).all()
    assert not inspect(dataset).problems


def test_for_seg11valid_the_two_lists_are_enough(tmp_path: Path) -> None:
    """Pictures of 2012, the list of 2011, and SBD's list without its label maps."""
    source = published.unpack(published.voc(2012, SPLITS), tmp_path / "src")
    lists = {
        "VOC2011/ImageSets/Segmentation/val.txt": published.lines(SPLITS["val"][1:]),
        "benchmark_RELEASE/dataset/train.txt": published.lines(SBD_TRAIN),
    }
    published.unpack(lists, source)
    plan = prepare(voc.RECORD, voc.plan, [source], tmp_path / "out")
    assert plan.splits["seg11valid"] == ["2009_000074"]
    assert plan.notes == ("no split trainaug: it needs all of benchmark.tgz",)


def test_sbd_with_voc_beside_is_what_the_released_nets_saw(tmp_path: Path) -> None:
    out = tmp_path / "out"
    made(sbd.RECORD, sbd.plan, both(tmp_path / "src"), out)
    found = splits_of(out)
    assert found == {
        "train": SBD_TRAIN,
        "val": SBD_VAL,
        "seg11valid": ["2007_000033", "2009_000074"],
    }
    dataset = open_dataset(out)
    own, judged = dataset.items("val")[0], dataset.items("seg11valid")[0]
    assert own.name == judged.name == "2007_000033"  # with a label map of each
    assert (dataset.read(own).labels == published.sbd_labels(own.name)).all()
    assert (dataset.read(judged).labels == published.voc_labels(own.name)).all()
    assert not inspect(dataset, ["train", "seg11valid"]).problems


def test_sbd_alone_has_its_own_splits_and_says_what_lacks(tmp_path: Path) -> None:
    source = published.unpack(published.sbd(SBD_TRAIN, SBD_VAL), tmp_path / "src")
    plan = prepare(sbd.RECORD, sbd.plan, [source / "benchmark_RELEASE" / "dataset"], tmp_path / "o")
    assert plan.splits == {"train": SBD_TRAIN, "val": SBD_VAL}
    assert plan.notes == (
        "no split seg11valid: it needs VOC2011/ImageSets/Segmentation/val.txt of "
        "VOCtrainval_25-May-2011.tar",
    )


def test_the_command_takes_places_beside_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = both(tmp_path / "src"), tmp_path / "out"
    first, second = source / "benchmark.tgz", source / "VOCtrainval_25-May-2011.tar"
    command = ["data", "prepare", "sbd", str(first), str(out), "--with", str(second), "--json"]
    assert run(command) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(out),
        "pictures": 5,
        "splits": {"train": 2, "val": 2, "seg11valid": 2},
        "notes": [],
    }


def test_label_maps_of_another_kind_are_refused(tmp_path: Path) -> None:
    files = published.sbd(SBD_TRAIN, SBD_VAL)
    home = "benchmark_RELEASE/dataset/cls"
    for name, key, values in (
        (SBD_TRAIN[0], "GTinst", published.sbd_labels("x")),
        (SBD_TRAIN[1], "GTcls", published.sbd_labels("x").astype(float)),
        (SBD_VAL[0], "GTcls", published.sbd_labels("x", (30, 41))),
        (SBD_VAL[1], "GTcls", np.full((30, 40), 21, np.uint8)),
    ):
        files[f"{home}/{name}.mat"] = published.mat({key: {"Segmentation": values}})
    archive = published.tar(files, tmp_path / "benchmark.tgz")
    lines = told(lambda: made(sbd.RECORD, sbd.plan, archive, tmp_path / "out"))
    assert [line.partition(f"{archive}: benchmark_RELEASE/dataset/")[::2] for line in lines] == [
        (
            "D012 ",
            f"cls/{SBD_VAL[1]}.mat: value 21 names no class (1200 px, first at x=0 y=0; "
            "expected 0..20, 255)",
        ),
        (
            "D013 ",
            f"img/{SBD_VAL[0]}.jpg is 30x40, its label map is 30x41 (HxW); expected the same size",
        ),
        ("D026 ", f"cls/{SBD_TRAIN[0]}.mat: holds no `GTcls` (it holds: GTinst)"),
        (
            "D026 ",
            f"cls/{SBD_TRAIN[1]}.mat: GTcls.Segmentation is float64 of shape (30, 40), "
            "expected uint8 (H, W)",
        ),
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("gone", ["img", "train.txt", "val.txt"])
def test_a_part_of_sbd_that_is_missing_is_named(tmp_path: Path, gone: str) -> None:
    files = {n: c for n, c in published.sbd(SBD_TRAIN, SBD_VAL).items() if f"/{gone}" not in n}
    archive = published.tar(files, tmp_path / "benchmark.tgz")
    what = f"dataset/{'img/*.jpg' if gone == 'img' else gone}"
    line, *_ = told(lambda: made(sbd.RECORD, sbd.plan, archive, tmp_path / "out"))
    assert line.startswith(f"D010 {archive}: there is no {what}, expected benchmark.tgz")
    published.tar(published.voc(2012, SPLITS), tmp_path / "VOCtrainval.tar")
    line, *_ = told(lambda: made(voc.RECORD, voc.plan, tmp_path, tmp_path / "out"))
    assert line.startswith(f"D010 {tmp_path}: there is no {what}, expected benchmark.tgz")


def test_of_several_years_one_is_chosen(tmp_path: Path) -> None:
    source = published.unpack(published.voc(2011, SPLITS), tmp_path / "src")
    published.unpack(published.voc(2012, {"val": ["2007_000033"]}), source)
    (line,) = told(lambda: made(voc.RECORD, voc.plan, source, tmp_path / "out"))
    assert line == f"U002 {source} holds VOC2011, VOC2012, expected one of them to be chosen"
    plan = prepare(voc.RECORD, partial(voc.plan, year="2012"), [source], tmp_path / "out")
    assert plan.splits == {"val": ["2007_000033"]}


def lists(real_data: Path) -> dict[str, list[str]]:
    folder = real_data / "voc_samples" / "lists"
    names = {
        "seg11valid": "fcn_pascal/seg11valid.txt",
        "trainaug": "trainaug_10582.txt",
        "train": "voc12_train_1464.txt",
        "val": "voc12_val_1449.txt",
    }
    return {n: (folder / file).read_text().split() for n, file in names.items()}


def planned(names: dict[str, list[str]], tmp_path: Path) -> Plan:
    """With the true lists and no pictures: only names are planned."""
    train12, val12 = names["train"], names["val"]
    # SBD is 11,355 of the pictures of 2011; which of them are its train is known only of val.
    extra = [n for n in names["trainaug"] if n not in set(train12)]
    seg11 = set(names["seg11valid"])
    in_val11 = sorted({*seg11, *[n for n in val12 if n not in seg11][:375]})
    texts = {
        "VOC2012/ImageSets/Segmentation/train.txt": train12,
        "VOC2012/ImageSets/Segmentation/val.txt": val12,
        "VOC2011/ImageSets/Segmentation/val.txt": in_val11,
        "sbd/train.txt": [*extra[:8123], *(n for n in in_val11 if n not in seg11)],
        "sbd/val.txt": [*extra[8123:], *names["seg11valid"][:300]],
    }
    entries = [Entry(p, tmp_path / p, partial(published.lines, n)) for p, n in texts.items()]
    ours, theirs = {*train12, *val12}, {*texts["sbd/train.txt"], *texts["sbd/val.txt"]}
    paths = [f"VOC2012/JPEGImages/{n}.jpg" for n in ours]
    paths += [f"VOC2012/SegmentationClass/{n}.png" for n in ours]
    paths += [f"sbd/img/{n}.jpg" for n in theirs] + [f"sbd/cls/{n}.mat" for n in theirs]
    entries += [Entry(path, tmp_path, bytes) for path in paths]
    with MatFiles(tmp_path) as mats:
        return voc.plan(Source("src", tuple(entries)), mats, year="2012")


def test_the_real_lists_come_out_to_the_byte(real_data: Path, tmp_path: Path) -> None:
    """seg11valid is the file that was published with the nets: its git blob is known."""
    names = lists(real_data)
    plan = planned(names, tmp_path)
    for split in ("seg11valid", "trainaug", "train", "val"):
        assert plan.splits[split] == names[split], split
    assert [len(plan.splits[s]) for s in ("seg11valid", "trainaug")] == [736, 10_582]
    text = published.lines(plan.splits["seg11valid"])
    blob = hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()
    assert blob == "1cfd8a2a72365b7745584a719222539ccdf03164"


def test_the_real_label_maps_are_kept_as_they_are(real_data: Path) -> None:
    source = open_source([real_data / "voc_samples" / "SegmentationClass"], [], Path())
    maps = source.matching(r"SegmentationClass/([^/]+)\.png")
    assert len(maps) == 1449
    seen = np.zeros(256, int)
    for name in lists(real_data)["seg11valid"][::25]:
        entry = maps[name,]
        labels, data = kept_png(entry, voc.CLASSES)()
        assert data == entry.home.read_bytes()
        seen += np.bincount(labels.ravel(), minlength=256)
    assert seen[255]
    assert not seen[21:255].any()
