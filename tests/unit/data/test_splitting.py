"""Splits that are written down: exact, whole groups, each class in its share, nothing replaced."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set, picture
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.splitting import Shares, draw
from problems import told

Out = pytest.CaptureFixture[str]


def lists(folder: Path) -> dict[str, list[str]]:
    return {p.stem: p.read_text().split() for p in sorted(folder.glob("*.txt"))}


def clips(root: Path, **frames: int) -> Path:
    """``CLIP_0001.png`` and so on, with classes that are named."""
    folder_set(root, 0)
    for clip, count in frames.items():
        for i in range(count):
            image, labels = picture(i)
            Image.fromarray(image).save(root / f"images/{clip}_{i:04d}.png")
            Image.fromarray(labels).save(root / f"labels/{clip}_{i:04d}.png")
    (root / "classes.txt").write_text("red\ngreen\nblue\n")
    return root


def test_train_val_and_test_are_written_and_read_again(tmp_path: Path, capsys: Out) -> None:
    root = folder_set(tmp_path / "d", 20)
    assert run(["data", "split", str(root), "--test", "0.3", "--json"]) == 0
    drawn = json.loads(capsys.readouterr().out)
    assert {s: drawn[s] for s in ("train", "val", "test")} == {"train": 10, "val": 4, "test": 6}
    dataset = open_dataset(root)
    assert {s: len(items) for s, items in dataset.splits.items()} == {
        "test": 6,
        "train": 10,
        "val": 4,
    }
    for row in drawn["classes"]:
        id_ = drawn["classes"].index(row)
        for split in dataset.splits:
            maps = [dataset.read(i).labels == id_ for i in dataset.items(split)]
            assert row["pixels"][split] == sum(int(m.sum()) for m in maps)
            assert row["images"][split] == sum(bool(m.any()) for m in maps)


def test_folds_hold_each_picture_out_once_and_the_test_split_never(tmp_path: Path) -> None:
    root = clips(tmp_path / "d", clip1=3, clip2=3, clip3=3, clip4=3, clip5=3, clip6=3)
    assert run(["data", "split", str(root), "--folds", "4", "--test", "0.33"]) == 0
    made = lists(root / "splits")
    assert set(made) == {"test", *(f"fold{k}-{s}" for k in range(4) for s in ("train", "val"))}
    held = [name for k in range(4) for name in made[f"fold{k}-val"]]
    everything = {p.stem for p in (root / "images").iterdir()}
    assert sorted([*held, *made["test"]]) == sorted(everything)
    for k in range(4):
        assert set(made[f"fold{k}-train"]) == set(held) - set(made[f"fold{k}-val"])
        of = {s: {name[:5] for name in made[f"fold{k}-{s}"]} for s in ("train", "val")}
        assert not of["train"] & of["val"]
    assert open_dataset(root).items("fold2-train")


def test_what_stays_whole_can_be_said(tmp_path: Path, capsys: Out) -> None:
    root = clips(tmp_path / "d", red_cup=6, red_pot=2, blue_cup=4, blue_pot=4)
    assert not draw(open_dataset(root), Shares(0.25)).grouping.evidence
    assert run(["data", "split", str(root), "--by", "^red|^blue", "--held", "0.5"]) == 0
    assert "no group is parted: 2 groups by `^red|^blue`, as `blue`" in capsys.readouterr().err
    made = lists(root / "splits")
    assert {name[0] for name in made["val"]} != {name[0] for name in made["train"]}
    assert len(made["val"]) == 8
    assert run(["data", "split", str(root), "--by", "(", "--force"]) == 2
    assert "--by is `(`, which is no regular expression" in capsys.readouterr().err
    assert run(["data", "split", str(root), "--by", "^green", "--force"]) == 2
    assert "--by is `^green`, which joins no two of 16 pictures" in capsys.readouterr().err
    assert run(["data", "split", str(root), "--by", "^red|^blue", "--test", "0.1", "--force"]) == 2
    assert "holds 2 groups, expected 3 at least" in capsys.readouterr().err
    assert lists(root / "splits") == made


def test_each_split_gets_its_share_of_a_rare_class_where_that_is_asked_for(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 30)
    (root / "classes.txt").write_text("red\ngreen\nblue\nrare\n")
    for i in (3, 4, 5):
        labels = picture(i)[1]
        labels[:4, :4] = 3
        Image.fromarray(labels).save(root / f"labels/p{i}.png")
    dataset, shares = open_dataset(root), Shares(1 / 3, 1 / 3)
    for seed in range(5):
        drawn = draw(dataset, shares, seed=seed, stratified=True)
        assert {s: int(n[3]) for s, n in drawn.images_with.items()} == {
            "train": 1,
            "val": 1,
            "test": 1,
        }
        assert {s: int(n[3]) for s, n in drawn.pixels.items()} == {
            "train": 16,
            "val": 16,
            "test": 16,
        }
        assert {len(items) for items in drawn.splits.values()} == {10}
        assert not any(drawn.absent(dataset.classes).values())
        share = [n[:3] / n[:3].sum() for n in drawn.pixels.values()]
        assert np.abs(share[1] - share[2]).max() < 0.06
    plain = [draw(dataset, shares, seed=seed).absent(dataset.classes) for seed in range(5)]
    assert any("rare" in names for absent in plain for names in absent.values())


def test_lists_that_are_there_are_kept_unless_told_otherwise(tmp_path: Path, capsys: Out) -> None:
    root = folder_set(tmp_path / "d", 12)
    (root / "splits").mkdir()
    (root / "splits/val.txt").write_text("p0\np1\n")
    (root / "splits/test.txt").write_text("p2\np3\n")
    before = lists(root / "splits")
    assert run(["data", "split", str(root)]) == 2
    assert "holds val.txt, which would be replaced" in capsys.readouterr().err
    assert lists(root / "splits") == before
    assert run(["data", "split", str(root), "-o", str(tmp_path / "mine")]) == 0
    assert lists(root / "splits") == before
    assert set(lists(tmp_path / "mine")) == {"train", "val"}
    assert run(["data", "split", str(root), "--force"]) == 0
    now = lists(root / "splits")
    assert now["test"] == before["test"]
    assert not {*now["test"]} & {*now["train"], *now["val"]}
    assert "the 2 pictures of split test stay in it, and in no other" in capsys.readouterr().err


def test_only_labelled_pictures_are_drawn_and_unreadable_maps_are_told(
    tmp_path: Path, capsys: Out
) -> None:
    root = clips(tmp_path / "d", a=8)
    (root / "splits").mkdir()
    (root / "splits/all.txt").write_text("".join(f"a_{i:04d}\n" for i in range(8)))
    (root / "labels/a_0003.png").unlink()
    (root / "labels/a_0004.png").write_bytes(b"no picture")
    assert run(["data", "split", str(root)]) == 0
    err = capsys.readouterr().err
    assert "1 pictures without labels are in no list" in err
    assert "its classes are not counted: " in err
    assert "a_0004.png: cannot be read" in err
    made = lists(root / "splits")
    assert sorted([*made["train"], *made["val"]]) == sorted({*made["all"]} - {"a_0003"})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"held": 0}, "--held is 0, expected a share between 0 and 1"),
        ({"held": 1.5}, "--held is 1.5, expected a share between 0 and 1"),
        ({"test": -0.1}, "--test is -0.1, expected a share that leaves something"),
        (
            {"held": 0.5, "test": 0.5},
            "--test is 0.5, expected a share that leaves something beside --held 0.5",
        ),
        ({"folds": 1}, "--folds is 1, expected 2 or more"),
        ({"folds": -3}, "--folds is -3, expected 2 or more"),
        ({"folds": 3, "test": 1}, "--test is 1, expected a share from 0 to 1"),
    ],
)
def test_shares_that_leave_nothing_are_refused(options: dict[str, float], problem: str) -> None:
    (message,) = told(lambda: Shares(**options))
    assert message.startswith("U002")
    assert problem in message


def test_folders_that_are_splits_are_not_split_again(tmp_path: Path, capsys: Out) -> None:
    for part in ("train", "val"):
        folder_set(tmp_path / "d" / part, 3)
    assert run(["data", "split", str(tmp_path / "d"), "--force"]) == 2
    assert "says itself what its splits are, and reads no lists" in capsys.readouterr().err
    assert run(["data", "split", str(tmp_path / "d"), "-o", str(tmp_path / "lists")]) == 0
    assert len(lists(tmp_path / "lists")["train"]) == 5
