"""What is doubtful and not refused is told, with the names of all pictures that it is about."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import canonical_set, folder_set, picture
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.remarks import Remark

COLOURS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
Sample = tuple[np.ndarray, np.ndarray]


def sample(seed: int) -> Sample:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    image = Image.fromarray(coarse).resize((60, 40), Image.Resampling.BICUBIC)
    return np.asarray(image), picture(seed, (40, 60))[1]


def told(root: Path, about: str) -> Remark:
    """The only remark with these words."""
    (remark,) = (r for r in inspect(open_dataset(root)).remarks if about in r.text)
    return remark


def darker(pair: Sample) -> Sample:
    return (pair[0] * 0.9).astype(np.uint8), pair[1]


def test_good_data_is_not_remarked_on(tmp_path: Path) -> None:
    splits = {"train": [sample(i) for i in range(6)], "val": [sample(i) for i in range(6, 9)]}
    assert not inspect(open_dataset(canonical_set(tmp_path / "d", splits, COLOURS))).remarks


def test_copies_are_told_and_those_whose_labels_differ(tmp_path: Path) -> None:
    one, other = sample(0), sample(1)
    train = [one, other, one, (other[0], one[1]), sample(2)]
    root = canonical_set(tmp_path / "d", {"train": train, "val": [sample(3)]}, COLOURS)
    copies = told(root, "are copies of each other")
    assert copies.text.startswith(
        "4 of 6 pictures are copies of each other, 2 without them (train0"
    )
    assert copies.pictures == ("train0", "train1", "train2", "train3")
    assert told(root, "label maps differ").pictures == ("train1", "train3")


def test_pictures_that_look_alike_are_told_by_split(tmp_path: Path) -> None:
    first = [sample(i) for i in range(4)]
    splits = {
        "train": [*first, darker(first[0])],
        "val": [darker(first[1]), sample(5), darker(first[2])],
        "test": [sample(6), darker(sample(5))],
    }
    root = canonical_set(tmp_path / "d", splits, COLOURS)
    leak = told(root, "of split val look like others of split train")
    assert leak.text == (
        "2 pictures of split val look like others of split train (val0 like train1, val2 like "
        "train2): scores on it say too much"
    )
    assert leak.pictures == ("train1", "train2", "val0", "val2")
    assert told(root, "of split test look like others of split val").pictures == ("test1", "val1")
    own = told(root, "of split train look like others of it")
    assert own.text.endswith("(train4 like train0)")


def test_groups_in_two_splits_are_told(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 0)
    frames = [f"clip{c}_{i:03d}" for c in range(4) for i in range(3)]
    for i, name in enumerate(frames):
        for kind, array in zip(("images", "labels"), sample(i), strict=True):
            Image.fromarray(array).save(root / kind / f"{name}.png")
    (root / "classes.txt").write_text("a\nb\nc\n")
    assert not [r for r in inspect(open_dataset(root)).remarks if "groups" in r.text]
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("\n".join(frames[:8]))
    (root / "splits/val.txt").write_text("\n".join(frames[8:]))
    remark = told(root, "of groups")
    assert remark.text == (
        "1 of 4 pictures of split val are of groups that train has too, as clip2_002 of clip2: "
        "scores on it say too much"
    )
    assert remark.pictures == ("clip2_002",)


def test_label_maps_of_one_class_are_counted_by_class(tmp_path: Path) -> None:
    full = np.zeros((40, 60), np.uint8)
    with_void = full.copy()
    with_void[:9] = 255
    train = [sample(0), (sample(1)[0], full), (sample(2)[0], with_void), (sample(3)[0], full + 2)]
    root = canonical_set(tmp_path / "d", {"train": train, "val": [sample(4)]}, COLOURS)
    red = told(root, "hold `red` and no other class")
    assert red.text.startswith("2 of 5 pictures")
    assert red.pictures == ("train1", "train2")
    assert told(root, "hold `blue` and no other class").pictures == ("train3",)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_pictures_that_exif_turns_are_told(tmp_path: Path, suffix: str) -> None:
    root = folder_set(tmp_path / "d", 4)
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(np.rot90(picture(1)[0]).copy())
    (root / "images/p1.png").unlink()
    image.save(root / f"images/p1.{suffix}", exif=exif)
    assert told(root, "EXIF").pictures == ("p1",)


def test_json_has_every_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = [sample(0)] * 9
    root = canonical_set(tmp_path / "d", {"train": train, "val": [sample(1)]}, COLOURS)
    assert run(["data", "inspect", str(root), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    (copies,) = (r for r in answer["remarks"] if "copies" in r["text"])
    assert copies["text"] in answer["warnings"]
    assert "and 4 more" in copies["text"]
    assert copies["pictures"] == [f"train{i}" for i in range(9)]
