"""Where the data begins, and names that differ by an ending."""

from __future__ import annotations

from pathlib import Path

import pytest

from make_data import folder_set
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.listing import ends_of
from pixelwise.errors import DataError
from problems import told


def renamed(root: Path, folder: str, end: str) -> None:
    for path in sorted((root / folder).iterdir()):
        path.rename(path.with_name(f"{path.stem}{end}{path.suffix}"))


@pytest.mark.parametrize(
    "end", ["_L", "_mask", "_segmentation", "_gt", "_labelIds", "_manual1", "Truth", "_x.y"]
)
def test_a_common_ending_of_label_maps_is_stripped(tmp_path: Path, end: str) -> None:
    root = folder_set(tmp_path, 4, images="image", labels="groundTruth")
    renamed(root, "groundTruth", end)
    dataset = open_dataset(root)
    assert [item.name for item in dataset.all_items()] == ["p0", "p1", "p2", "p3"]
    assert all(item.labels for item in dataset.all_items())


def test_an_ending_of_each_side_is_stripped_and_told(tmp_path: Path) -> None:
    root = folder_set(tmp_path, 4)
    renamed(root, "images", "_training")
    renamed(root, "labels", "_manual1x")
    dataset = open_dataset(root)
    assert [i.name for i in dataset.all_items()] == [f"p{i}_training" for i in range(4)]
    note = "label maps are called as their pictures with `_manual1x` for `_training` at the end"
    assert note in dataset.notes
    (root / "labels/p2_manual1x.png").unlink()
    assert told(lambda: open_dataset(root)) == [
        f"D031 {root}/images/p2_training.png has no partner, expected a label map "
        f"{root}/labels/p2_manual1x.png"
    ]


@pytest.mark.parametrize(
    ("left", "right", "ends"),
    [
        ({"a1", "b1"}, {"a1_m", "b1_m"}, ("", "_m")),
        ({"f01", "f11", "f21"}, {"f02", "f12", "f22"}, ("", "")),  # frames, not endings
        ({"a"}, {"b_mask"}, ("", "_mask")),  # which names what is missing
        ({"a", "b"}, {"a", "b_x"}, ("", "")),
        ({"cat"}, {"dog"}, ("", "")),
        ({"1_im", "2_im"}, {"1", "2"}, ("_im", "")),
        (set(), {"a"}, ("", "")),
    ],
)
def test_endings_by_rule(left: set[str], right: set[str], ends: tuple[str, str]) -> None:
    assert ends_of(left, right) == ends


@pytest.mark.parametrize("end", ["", "_sat", "_image", "_input"])
def test_label_maps_beside_their_pictures_are_known_by_their_endings(
    tmp_path: Path, end: str
) -> None:
    root = folder_set(tmp_path, 4)
    for path in [*root.rglob("*.png")]:
        path.rename(root / f"{path.stem}{'_mask' if path.parent.name == 'labels' else end}.png")
    (root / "images").rmdir()
    (root / "labels").rmdir()
    dataset = open_dataset(root)
    assert [item.name for item in dataset.all_items()] == [f"p{i}{end}" for i in range(4)]
    assert all(
        item.labels["labels"].files[0].stem.endswith("_mask") for item in dataset.all_items()
    )


def test_data_that_begins_further_down_is_found_and_told(tmp_path: Path) -> None:
    folder_set(tmp_path / "kit/set", 4, images="JPEGImages", labels="SegmentationClass")
    (tmp_path / "__MACOSX").mkdir()
    dataset = open_dataset(tmp_path)
    assert (dataset.layout, dataset.root) == ("voc", tmp_path / "kit/set")
    assert dataset.notes[0] == "the data begins in kit/set/"


def test_of_several_data_sets_one_is_asked_for(tmp_path: Path) -> None:
    for year in ("VOC2007", "VOC2012"):
        folder_set(tmp_path / year, 2)
    assert told(lambda: open_dataset(tmp_path)) == [
        f"D011 {tmp_path}: it holds several data sets (VOC2007, VOC2012)"
    ]


def test_a_file_is_no_data_set_and_a_folder_of_archives_names_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x")
    problem = f"D010 {tmp_path}/a.txt: a file, expected a data set"
    assert told(lambda: open_dataset(tmp_path / "a.txt")) == [problem]
    (tmp_path / "a.zip").write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(DataError, match="no known layout") as caught:
        open_dataset(tmp_path)
    assert caught.value.hint == f"give the archive itself: pixelwise data inspect {tmp_path}/a.zip"


def test_what_is_not_used_is_named(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", 4)
    assert not [note for note in open_dataset(root).notes if "not used" in note]
    (root / "depth").mkdir()
    for i in range(3):
        (root / f"depth/{i}.mat").write_bytes(b"x")
        (root / f"labels/{i}.xml").write_text("x")
    for name in ("README", "notes.md", "labels/.hidden.png", "thumb.png"):
        (root / name).write_bytes(b"x")
    note = "not used: 3 .mat in depth/, 3 .xml in labels/, 1 .png in the folder itself"
    assert open_dataset(root).notes[-1] == note
