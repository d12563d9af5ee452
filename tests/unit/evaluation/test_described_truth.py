"""What a data set says of its label maps holds for `score` as it does for `evaluate`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import camvid_set, folder_set
from pixelwise.cli.app import run
from pixelwise.errors import DataError, UsageError
from pixelwise.evaluation.foreign import score_folders
from pixelwise.labels import CAMVID_CLASSES, VOC_CLASSES

IDS = np.array([[0, 1, 2, 2], [2, 1, 0, 0]], np.uint8)


def put(path: Path, values: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)
    return path


def described(root: Path, told: object, *, name: str = "classes.json") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(told if isinstance(told, str) else json.dumps(told))
    return root


@pytest.mark.parametrize("place", ["", "labels", "masks", "GT"])
def test_values_are_read_as_described(tmp_path: Path, place: str, capsys) -> None:
    told = {"classes": {"0": "a", "10": "b", "20": "c"}}
    truth = described(tmp_path / "data", told)
    put(truth / place / "x.png", IDS * 10)
    put(tmp_path / "guesses/x.png", IDS)
    for given in (truth, truth / place):
        evaluation = score_folders(tmp_path / "guesses", given)
        assert evaluation.scores.mean_iu == 1
        assert evaluation.classes == ("a", "b", "c")
    assert run(["score", str(tmp_path / "guesses"), str(truth), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["mean_iu"], printed["classes"]) == (1, ["a", "b", "c"])


@pytest.mark.parametrize("place", ["labels/val", "valid/masks", "masks/part7"])
def test_the_folder_of_a_split_belongs_to_its_data_set(tmp_path: Path, place: str) -> None:
    truth = described(tmp_path / "data", {"classes": {"0": "a", "10": "b", "20": "c"}})
    put(truth / place / "x.png", IDS * 10)
    put(truth / "apart/masks/x.png", IDS)  # another data set within
    put(tmp_path / "guesses/x.png", IDS)
    for given in (truth / place, truth / "apart/masks"):
        assert score_folders(tmp_path / "guesses", given).scores.mean_iu == 1


def test_0_and_255_are_two_classes_where_they_are_described_so(tmp_path: Path) -> None:
    told = {"classes": {"0": "membrane", "255": "cell"}}
    put(described(tmp_path / "data", told) / "labels/x.png", [[0, 0, 255, 255]])
    put(tmp_path / "guesses/x.png", [[0, 0, 0, 0]])
    for classes in (None, 2):
        scores = score_folders(tmp_path / "guesses", tmp_path / "data", classes=classes).scores
        assert scores.pixel_accuracy == 0.5
        assert scores.mean_iu == 0.25  # 2 of 4 for membrane, none of 2 for cell
    with pytest.raises(UsageError, match=r"3 classes were asked for, .* described with 2"):
        score_folders(tmp_path / "guesses", tmp_path / "data", classes=3)


def test_colours_are_read_as_described_on_both_sides(tmp_path: Path) -> None:
    table = np.array([[0, 0, 0], [128, 0, 0], [9, 9, 9], [255, 255, 255]], np.uint8)
    told = {
        "colours": {"0,0,0": "a", "128,0,0": "b", "9,9,9": "c"},
        "ignore": ["255,255,255"],
    }
    truth = described(tmp_path / "data", told)
    put(truth / "labels/x.png", table[np.where(IDS == 1, 3, IDS)])
    put(tmp_path / "numbers/x.png", IDS)
    put(tmp_path / "colours/x.png", table[IDS])
    for guesses in ("numbers", "colours"):
        evaluation = score_folders(tmp_path / guesses, truth)
        assert evaluation.scores.pixel_accuracy == 1
        assert evaluation.per_class[1].truth_pixels == 0  # void
    with pytest.raises(UsageError, match="described by colours"):
        score_folders(tmp_path / "numbers", truth, ignore=[2])


@pytest.mark.parametrize(
    ("name", "text"), [("classes.txt", "a\nb\nc\n"), ("class_names.txt", "a\nb\nc")]
)
def test_lists_of_names_are_read_too(tmp_path: Path, name: str, text: str) -> None:
    put(described(tmp_path / "data", text, name=name) / "labels/x.png", IDS)
    put(tmp_path / "guesses/x.png", IDS)
    assert score_folders(tmp_path / "guesses", tmp_path / "data").classes == ("a", "b", "c")


def test_void_is_what_is_described_and_what_is_asked_for(tmp_path: Path) -> None:
    told = {"classes": {"0": "a", "1": "b"}, "ignore": [7]}
    put(described(tmp_path / "data", told) / "labels/x.png", [[0, 1, 7, 9]])
    put(tmp_path / "guesses/x.png", [[0, 1, 0, 0]])
    with pytest.raises(DataError, match="value 9 names no class"):
        score_folders(tmp_path / "guesses", tmp_path / "data")
    evaluation = score_folders(tmp_path / "guesses", tmp_path / "data", ignore=[9])
    assert evaluation.counts.tolist() == [[1, 0], [0, 1]]


def test_names_beside_a_folder_that_no_layout_knows_are_not_taken(tmp_path: Path) -> None:
    put(described(tmp_path, {"classes": ["x", "y", "z"]}) / "truth/x.png", IDS)
    put(tmp_path / "guesses/x.png", IDS)
    assert score_folders(tmp_path / "guesses", tmp_path / "truth").classes == ("0", "1", "2")


def test_a_malformed_description_is_told(tmp_path: Path) -> None:
    put(described(tmp_path / "data", "{}") / "labels/x.png", IDS)
    put(tmp_path / "guesses/x.png", IDS)
    with pytest.raises(DataError, match=r"classes\.json: classes is missing"):
        score_folders(tmp_path / "guesses", tmp_path / "data")


def test_layouts_with_classes_of_their_own_are_known_by_their_folders(tmp_path: Path) -> None:
    voc = folder_set(tmp_path / "v", 2, images="JPEGImages", labels="SegmentationClass")
    assert score_folders(voc / "SegmentationClass", voc).classes == ("0", "1", "2")
    for path in [*voc.rglob("*.png")]:
        path.rename(path.with_stem(f"2007_00000{path.stem[1:]}"))
    for truth in (voc, voc / "SegmentationClass"):
        assert score_folders(voc / "SegmentationClass", truth).classes == VOC_CLASSES
    described(voc, {"classes": {"0": "a", "1": "b", "2": "c"}})
    assert score_folders(voc / "SegmentationClass", voc, classes=3).classes == ("a", "b", "c")
    with pytest.raises(UsageError, match="21 classes were asked for"):
        score_folders(voc / "SegmentationClass", voc, classes=21)
    camvid = camvid_set(tmp_path / "c")
    for place in (camvid / "testannot").iterdir():
        put(tmp_path / "guesses" / place.name, np.asarray(Image.open(place)) % 11)
    evaluation = score_folders(tmp_path / "guesses", camvid / "testannot")
    assert evaluation.classes == CAMVID_CLASSES
    assert evaluation.scores.pixel_accuracy == 1  # 11 is void
    twelve = score_folders(camvid / "testannot", camvid / "testannot", classes=12)
    assert twelve.per_class[11].truth_pixels == 10  # who says so may count it


def test_each_head_has_its_own_classes(tmp_path: Path) -> None:
    told = {
        "heads": {
            "things": {"folder": "labels", "classes": ["a", "b", "c"]},
            "shapes": {"folder": "shapes", "classes": ["flat", "high"]},
        }
    }
    root = described(tmp_path / "data", told, name="dataset.json")
    put(root / "labels/x.png", IDS)
    put(root / "shapes/x.png", IDS > 0)
    for truth, classes in ((root, 3), (root / "labels", 3), (root / "shapes", 2)):
        guesses = root / "shapes" if classes == 2 else root / "labels"
        assert len(score_folders(guesses, truth).classes) == classes
