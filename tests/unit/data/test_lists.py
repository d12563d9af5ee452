"""What a list says concerns those who use its split, and nobody else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import camvid_set, folder_set, picture
from pixelwise.cli.app import run
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from problems import refusal, told


def voc_set(root: Path, **lists: str) -> Path:
    """Six pictures, p0 to p5, with label maps for p0 to p3, and lists of lines."""
    folder_set(root, 6, images="JPEGImages", labels="SegmentationClass")
    for i in (4, 5):
        (root / f"SegmentationClass/p{i}.png").unlink()
    (root / "classes.txt").write_text("red\ngreen\nblue\n")
    folder = root / "ImageSets/Segmentation"
    folder.mkdir(parents=True)
    for name, lines in {"train": "p0 p1 p2", "val": "p3", **lists}.items():
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines.split()))
    return root


def test_a_list_of_pictures_without_labels_blocks_nobody_else(tmp_path: Path, capsys) -> None:
    root = voc_set(tmp_path / "v", test="p4 p5")
    dataset = open_dataset(root)
    assert {s: len(items) for s, items in dataset.splits.items()} == {
        "test": 2,
        "train": 3,
        "val": 1,
    }
    assert inspect(dataset, ["train"]).statistics("train").images == 3
    assert not inspect(dataset, ["train", "val"]).problems
    inspected = inspect(dataset)
    assert not inspected.problems
    assert (
        "2 of 2 pictures in split test have no label map (p4, p5): they can be predicted, not "
        "evaluated on"
    ) in inspected.warnings
    assert inspected.sizes().total() == 6  # they are read all the same
    assert run(["data", "inspect", str(root)]) == 0
    capsys.readouterr()
    assert [p[:4] for p in told(lambda: dataset.items("test"))] == ["D031", "D031"]
    assert run(["data", "stats", str(root), "--split", "test"]) == 3
    assert "predict MODEL DATA --split test" in capsys.readouterr().err
    assert [i.name for i in dataset.items("test", labelled=False)] == ["p4", "p5"]


@pytest.mark.parametrize("layout", ["folder", "canonical"])
def test_so_do_the_lists_of_other_layouts(tmp_path: Path, layout: str) -> None:
    root = folder_set(tmp_path / "d", 6)
    (root / "labels/p5.png").unlink()
    if layout == "canonical":
        (root / "dataset.json").write_text('{"classes": ["a", "b", "c"]}')
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("p0\np1\np2\n")
    (root / "splits/val.txt").write_text("p3\np4\n")
    assert [p[:4] for p in told(lambda: open_dataset(root))] == ["D031"]  # nobody lists p5
    (root / "splits/test.txt").write_text("p5\n")
    dataset = open_dataset(root)
    assert dataset.layout == layout
    assert not inspect(dataset).problems
    assert [p[:4] for p in told(lambda: dataset.items("test"))] == ["D031"]
    again = open_dataset(convert(dataset, tmp_path / "out"))
    assert [i.name for i in again.items("test", labelled=False)] == ["p5"]
    assert not again.items("test", labelled=False)[0].labels
    (root / "splits/val.txt").write_text("p3\np5\n")
    (problem,) = refusal(open_dataset(root))
    assert "p5.png (split `val`) has no label map" in problem


def test_camvids_frames_without_label_maps_are_a_split(tmp_path: Path) -> None:
    root = camvid_set(tmp_path / "c")
    shutil.rmtree(root / "testannot")
    dataset = open_dataset(root)
    assert len(dataset.items("train")) == 20
    assert len(dataset.items("test", labelled=False)) == 2
    (root / "valannot/0016E5_07961.png").unlink()
    (root / "val.txt").unlink()  # without a list each frame needs its label map
    assert [p[:4] for p in told(lambda: open_dataset(root))] == ["D031"]


def test_a_list_that_is_not_used_only_warns(tmp_path: Path, capsys) -> None:
    root = voc_set(tmp_path / "v", train_aug="p0 nobody p0", empty="")
    dataset = open_dataset(root)
    assert not inspect(dataset, ["train", "val"]).problems
    warnings = inspect(dataset).warnings
    assert any("train_aug.txt: `nobody` is no picture" in w for w in warnings)
    assert any("train_aug.txt: `p0` is listed twice" in w for w in warnings)
    assert any("split `empty` is empty" in w for w in warnings)
    assert run(["data", "inspect", str(root)]) == 0
    assert [p[:4] for p in told(lambda: dataset.items("train_aug"))] == ["D031", "D034"]
    problems = told(lambda: convert(dataset, tmp_path / "out"))  # which writes every list
    assert [p[:4] for p in problems] == ["D031", "D032", "D034"]


def test_an_empty_split_is_told_once(tmp_path: Path, capsys) -> None:
    root = voc_set(tmp_path / "v", val="")
    assert [p[:4] for p in refusal(open_dataset(root))] == ["D032"]
    assert run(["data", "inspect", str(root)]) == 3
    assert capsys.readouterr().err.count("split `val`") == 1
    assert run(["train", str(root), "--net", "fcn8s-tiny", "-o", str(tmp_path / "run")]) == 3
    assert capsys.readouterr().err.count("split `val`") == 1


@pytest.mark.parametrize("line", ["{i} {l}", "/{i} /{l}", "/x/VOC/{i}\t/x/VOC/{l}"])
def test_the_second_column_says_where_the_labels_are(tmp_path: Path, line: str) -> None:
    root = voc_set(tmp_path / "v")
    (root / "SegmentationClassAug").mkdir()
    for i in range(6):
        values = np.full((40, 48), i % 3, np.uint8)
        Image.fromarray(values).save(root / f"SegmentationClassAug/p{i}.png")
    lines = [
        line.format(i=f"JPEGImages/p{i}.png", l=f"SegmentationClassAug/p{i}.png") for i in range(6)
    ]
    (root / "ImageSets/Segmentation/train_aug.txt").write_text("\n".join(lines))
    dataset = open_dataset(root)
    for item in dataset.items("train_aug"):
        assert (dataset.read(item).labels == int(item.name[1:]) % 3).all()
    for item in dataset.items("train"):
        assert np.array_equal(dataset.read(item).labels, picture(int(item.name[1:]))[1])
    problems = told(lambda: convert(dataset, tmp_path / "out"))  # one name, two label maps
    assert [p[:4] for p in problems] == ["D030"] * 4


def test_a_picture_only_in_segmentation_class_aug_is_labelled_by_it(tmp_path: Path) -> None:
    root = voc_set(tmp_path / "v", train_aug="p0 p4 p5")
    (root / "SegmentationClassAug").mkdir()
    for i in (0, 4, 5):
        Image.fromarray(np.full((40, 48), 2, np.uint8)).save(
            root / f"SegmentationClassAug/p{i}.png"
        )
    dataset = open_dataset(root)
    p0, p4, _ = dataset.items("train_aug")
    assert (dataset.read(p4).labels == 2).all()
    assert np.array_equal(dataset.read(p0).labels, picture(0)[1])


def test_a_second_column_labels_the_head_that_is_read(tmp_path: Path) -> None:
    """It went to a head called ``labels``, also where the data set names its heads."""
    root = folder_set(tmp_path / "d", 4)
    (root / "labels/p3.png").rename(root / "p3.png")
    heads = {"things": {"folder": "labels"}}
    (root / "dataset.json").write_text(json.dumps({"classes": ["a", "b", "c"], "heads": heads}))
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("p0\np3 p3.png\n")
    dataset = open_dataset(root)
    read = [dataset.read(item).labels for item in dataset.items("train")]
    assert [labels.tolist() for labels in read] == [picture(i)[1].tolist() for i in (0, 3)]


def test_a_second_column_that_leads_nowhere_or_out_is_told(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 4)
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("p0 other/x.png\np1 ../../labels/p1.png\n")
    problems = told(lambda: open_dataset(root).items("train"))
    assert [p[:4] for p in problems] == ["D031", "D034"]
    assert "there is no label map other/x.png" in problems[0]
    assert "leads out of the data set" in problems[1]


def test_names_with_spaces_are_names(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 4)
    for kind in ("images", "labels"):
        (root / kind / "p0.png").rename(root / kind / "p1 p2.png")
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("p1 p2\np1\n")
    assert [i.name for i in open_dataset(root).items("train")] == ["p1 p2", "p1"]


def test_conversion_tells_a_picture_in_train_and_val(tmp_path: Path, caplog) -> None:
    root = folder_set(tmp_path / "d", 4)
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("p0\np1\n")
    (root / "splits/val.txt").write_text("p2\n")
    (root / "splits/all.txt").write_text("p0\np1\np2\n")
    shutil.copyfile(root / "images/p1.png", root / "images/p2.png")
    convert(open_dataset(root), tmp_path / "out")
    (record,) = caplog.records
    assert "p1.png (train)" in record.getMessage()
    assert "p2.png (val) hold the same picture" in record.getMessage()


def test_pictures_without_labels_are_predicted_by_split(tmp_path: Path, tiny_model: Path) -> None:
    root = voc_set(tmp_path / "v", test="p4 p5")
    out = tmp_path / "out"
    assert run(["predict", str(tiny_model), str(root), "--split", "test", "-o", str(out)]) == 0
    assert sorted(p.name for p in out.glob("*.png")) == ["p4.png", "p5.png"]
    assert run(["predict", str(tiny_model), str(root), "--split", "no", "-o", str(out)]) == 3


@pytest.fixture
def tiny_model(tmp_path: Path) -> Path:
    from small_model import save_model

    return save_model(tmp_path / "m.safetensors")


def test_a_description_without_lists_draws_from_what_is_labelled(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 6)
    (root / "labels/p2.png").unlink()
    (root / "dataset.json").write_text(json.dumps({"classes": ["a", "b", "c"]}))
    dataset = open_dataset(root, strict=False)
    assert [p.code for p in dataset.problems] == ["D031"]
    assert "p2" not in {i.name for i in dataset.all_items()}
