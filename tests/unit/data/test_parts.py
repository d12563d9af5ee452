"""Folders of splits: inside, outside, and what is said of those that are not used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from make_data import folder_set, picture
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import DataError
from problems import told


def by_part(root: Path, **counts: int) -> Path:
    """``images/PART/pN.png`` beside ``labels/PART/pN.png``; every part counts from 0."""
    for part, count in counts.items():
        folder_set(root.parent / part, count)
        for kind in ("images", "labels"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            (root.parent / part / kind).rename(root / kind / part)
    return root


def in_one_folder(place: Path, count: int, *, end: str = "") -> None:
    """``pN.png`` beside ``pN_mask.png``; ``end`` is what both names have more."""
    made = folder_set(place / "made", count)
    for i in range(count):
        (made / f"images/p{i}.png").rename(place / f"p{i}{end}.png")
        (made / f"labels/p{i}.png").rename(place / f"p{i}{end}_mask.png")
    shutil.rmtree(made)


def test_subfolders_by_split_hold_other_pictures_of_the_same_names(tmp_path: Path) -> None:
    dataset = open_dataset(by_part(tmp_path / "d", training=4, validation=3))
    names = {s: [i.name for i in items] for s, items in dataset.splits.items()}
    assert names["train"] == ["train_p0", "train_p1", "train_p2", "train_p3"]
    assert names["val"] == ["val_p0", "val_p1", "val_p2"]
    assert len(dataset.all_items()) == 7
    out = convert(dataset, tmp_path / "o")
    assert len(list((out / "images").iterdir())) == 7
    for item in open_dataset(out).items("val"):
        assert np.array_equal(open_dataset(out).read(item).image, picture(int(item.name[-1]))[0])


def test_subfolders_whose_names_do_not_clash_keep_them(tmp_path: Path) -> None:
    root = by_part(tmp_path / "d", train=3, val=1)
    for kind in ("images", "labels"):
        (root / kind / "val" / "p0.png").rename(root / kind / "val" / "x.png")
    dataset = open_dataset(root)
    assert [i.name for i in dataset.all_items()] == ["p0", "p1", "p2", "x"]


def test_two_folders_for_one_split(tmp_path: Path) -> None:
    problems = told(lambda: open_dataset(by_part(tmp_path / "d", val=2, validation=2)))
    assert problems[0].startswith("D030")
    assert "`val`" in problems[0]


@pytest.mark.parametrize(("images", "labels"), [("images", "labels"), ("img", "masks")])
def test_folders_by_split_outside(tmp_path: Path, images: str, labels: str) -> None:
    for part, count in {"Train": 3, "valid": 2}.items():
        folder_set(tmp_path / part, count, images=images, labels=labels)
    (tmp_path / "test" / images).mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("red\ngreen\nblue\n")
    dataset = open_dataset(tmp_path)
    assert {s: len(items) for s, items in dataset.splits.items()} == {"train": 3, "val": 2}
    assert dataset.classes == ("red", "green", "blue")
    assert dataset.evidence == f"folders Train/{images}/ and Train/{labels}/"
    assert "test/ has no label maps and is left out" in dataset.notes
    assert "valid/ is split val" in dataset.notes
    assert [i.name for i in dataset.items("val")] == ["val_p0", "val_p1"]


def test_label_maps_that_are_missing_for_one_split_inside(tmp_path: Path) -> None:
    root = by_part(tmp_path / "d", train=3)
    (root / "images" / "test").mkdir()
    dataset = open_dataset(root)
    assert set(dataset.splits) == {"train"}
    assert "images/test/ has no label maps and is left out" in dataset.notes


def test_no_split_vanishes_without_a_word(tmp_path: Path) -> None:
    for name in ("train", "VAL", "dev"):
        folder_set(tmp_path / name, 2, images="Images", labels="Masks")
    (tmp_path / "test" / "labels").mkdir(parents=True)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train.txt").write_text("p0\n")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    dataset = open_dataset(tmp_path)
    assert {s: len(items) for s, items in dataset.splits.items()} == {"train": 2, "val": 2}
    for note in (
        "VAL/ is split val",
        "test/ has no pictures and is left out",
        "dev/ is left out: its name is that of no split",
        "splits/ is not read: the folders say what the splits are",
    ):
        assert note in dataset.notes
    assert not any("ipynb" in note for note in dataset.notes)


def test_flat_pictures_go_before_folders_of_splits_and_empty_ones_do_not(tmp_path: Path) -> None:
    folder_set(tmp_path / "train", 4)
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    assert len(open_dataset(tmp_path).items("train")) == 4
    (tmp_path / "images").rmdir()
    (tmp_path / "labels").rmdir()
    folder_set(tmp_path, 10)
    dataset = open_dataset(tmp_path)
    assert dataset.drawn
    assert len(dataset.all_items()) == 10
    assert "train/ is left out: there are pictures outside the splits" in dataset.notes


@pytest.mark.parametrize("parts", [("",), ("train", "valid")])
def test_pictures_and_label_maps_in_one_folder(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        in_one_folder(tmp_path / part, 5)
    dataset = open_dataset(tmp_path)
    assert set(dataset.splits) == {"train", "val"}
    assert dataset.evidence.endswith("in one folder")
    for item in dataset.all_items():
        assert (item.image.suffix, item.files[1].stem) == (".png", f"{item.image.stem}_mask")
        assert np.array_equal(dataset.read(item).labels, picture(int(item.image.stem[-1]))[1])
    (tmp_path / parts[0] / "p0_mask.png").unlink()
    (problem,) = told(lambda: open_dataset(tmp_path))
    assert problem.startswith("D031")
    assert f"expected a label map {tmp_path / parts[0] / 'p0_mask.png'}" in problem


def test_two_label_maps_of_one_picture_are_told(tmp_path: Path) -> None:
    in_one_folder(tmp_path, 3)
    shutil.copyfile(tmp_path / "p1_mask.png", tmp_path / "p1_seg.png")
    (problem,) = told(lambda: open_dataset(tmp_path))
    names = f"{tmp_path / 'p1_mask.png'} and {tmp_path / 'p1_seg.png'}"
    assert problem == f"D030 {names} are both label maps of p1.png"


def test_endings_that_pictures_have_by_nature_and_a_stray(tmp_path: Path) -> None:
    in_one_folder(tmp_path, 3, end="_gt")
    assert [i.name for i in open_dataset(tmp_path).all_items()] == ["p0_gt", "p1_gt", "p2_gt"]
    shutil.copyfile(tmp_path / "p0_gt.png", tmp_path / "stray_seg.png")
    (problem,) = told(lambda: open_dataset(tmp_path))
    assert (
        f"stray_seg.png has no partner, expected a label map {tmp_path}/stray_seg_mask" in problem
    )


def test_a_folder_nobody_asked_for_need_not_be_readable(tmp_path, monkeypatch) -> None:
    folder_set(tmp_path, 3)
    folder_set(tmp_path / "apart" / "train", 2)
    for root in (tmp_path, tmp_path / "apart"):
        (root / "lost+found").mkdir()
    real = Path.iterdir

    def refused(path: Path):
        if path.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    assert len(open_dataset(tmp_path).all_items()) == 3
    assert len(open_dataset(tmp_path / "apart").all_items()) == 2


def test_a_shelf_of_data_sets_is_not_one(tmp_path: Path) -> None:
    for name in ("mine", "yours"):
        folder_set(tmp_path / name, 2)
    with pytest.raises(DataError, match="it holds several data sets"):
        open_dataset(tmp_path)
