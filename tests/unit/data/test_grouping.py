"""Groups are seen where names or folders show them, and not where they show none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from make_data import folder_set
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.grouping import grouped
from pixelwise.data.inspect import inspect
from pixelwise.data.sample import Item
from pixelwise.data.splits import dealt, drawn, kept


def items(names: Iterable[str], folder: str = "d") -> list[Item]:
    return [Item(name, {"image": Path(folder) / f"{name}.png"}, {}) for name in names]


def numbered(*starts: str, count: int = 4, first: int = 0) -> list[str]:
    return [f"{start}{i:04d}" for start in starts for i in range(first, first + count)]


SHOWN = {
    "frames of drives": (numbered("0001TP_", "0006R0_f", "Seq05VD_f"), "0001TP"),
    "frames of clips": (numbered("clipA_", "clipB_"), "clipA"),
    "frames without a mark between": (numbered("clip1frame", "clip2frame"), "clip1"),
    "slices of patients": (numbered("case_001_slice_", "case_002_slice_"), "case_001"),
    "slices of numbered patients": (numbered("007_", "008_"), "007"),
    "tiles by place": ([f"town{s}_x{x}_y0" for s in "abc" for x in (0, 512)], "towna"),
    "tiles by numbers": ([f"s_{s}_{x}_{y}" for s in range(4) for x in "01" for y in "01"], "s_0"),
    "DOTA's tiles": ([f"P000{s}__1__{x}___0" for s in range(4) for x in (0, 824)], "P0000"),
    "augmented copies": ([f"img_{i:03d}_aug{k}" for i in range(5) for k in range(3)], "img_000"),
    "Roboflow's copies": ([f"b{i}_jpg.rf.{k:032x}" for i in range(5) for k in range(2)], "b0"),
    "an ending of all": ([f"cam{c}_{i}_left" for c in range(2) for i in range(3)], "cam0"),
    "Windows' numbers": ([f"plate{c} ({i})" for c in range(2) for i in range(3)], "plate0"),
}
ALONE = {
    "numbered photos": numbered("img_", count=200),
    "numbers": numbered("", count=20),
    "two cameras": numbered("IMG_", "DSC_"),
    "kinds of dogs": numbered("beagle_", "Abyssinian_"),
    "VOC's years": numbered("2007_", "2008_"),
    "photos of days": numbered("IMG_20240131_12", "IMG_20240201_12"),
    "hashes": ["0a1b-22", "0c4d-91", "77ee-1", "ff00-3"],
    "ADE20K": numbered("ADE_train_0000"),
    "one clip": numbered("clip_"),
    "KITTI's first frames": [f"{i:06d}_10" for i in range(9)],
    "nothing": [],
}


@pytest.mark.parametrize("case", SHOWN)
def test_names_show_groups(case: str) -> None:
    names, first = SHOWN[case]
    grouping = grouped(items(names))
    assert grouping.of[names[0]] == first
    assert grouping.evidence == (f"{grouping.count} groups by name, as `{first}` of `{names[0]}`")
    members: dict[str, int] = {}
    for group in grouping.of.values():
        members[group] = members.get(group, 0) + 1
    assert len(set(members.values())) == 1  # made alike here, so none may be torn or joined


@pytest.mark.parametrize("case", ALONE)
def test_plain_names_stand_alone(case: str) -> None:
    grouping = grouped(items(ALONE[case]))
    assert grouping.evidence == ""
    assert grouping.count == len(ALONE[case])


def test_folders_of_several_pictures_are_groups_and_those_of_one_are_not() -> None:
    scenes = [*items("ab", "one"), *items("cd", "two")]
    assert grouped(scenes).of == {"a": "one", "b": "one", "c": "two", "d": "two"}
    assert "2 groups by folder" in grouped(scenes).evidence
    assert not grouped([i for n in "abcd" for i in items(n, f"folder{n}")]).evidence


def test_groups_that_are_asked_for_are_kept_however_few_they_join() -> None:
    names = [*numbered("twin", count=2), *"abcdef"]
    assert not grouped(items(names)).evidence
    of = grouped(items(names), "^twin").of
    assert of[names[0]] == of[names[1]] == "twin"
    assert len(set(of.values())) == 7
    assert grouped(items(names, "one"), "folder").count == 1
    assert set(grouped(items(["red1", "red2", "x", "y"]), "^(red)?").of.values()) == {
        *("red", "x", "y")
    }


def test_what_is_asked_for_goes_before_what_is_seen() -> None:
    members = items(["red_1", "red_2", "blue_1", "blue_2", "other"])
    assert not grouped(members).evidence
    assert set(grouped(members, "^(red|blue)").of.values()) == {"red", "blue", "other"}
    assert set(grouped(members, r"\d").of.values()) == {"1", "2", "other"}
    assert not grouped(items(numbered("clipA_", "clipB_")), "picture").evidence
    with pytest.raises(re.error):
        grouped(members, "(")


def test_a_drawn_split_parts_no_group_and_a_group_more_moves_no_other() -> None:
    def sides(count: int) -> dict[str, set[str]]:
        clips = items(numbered(*(f"clip{c}_" for c in range(count))))
        of = grouped(clips).of
        return {split: {of[i.name] for i in members} for split, members in drawn(clips).items()}

    for count in range(2, 40):
        assert not sides(count)["train"] & sides(count)["val"]
    before = sides(20)
    for count in range(21, 60):
        after = sides(count)
        assert before["val"] <= after["val"]
        assert before["train"] <= after["train"]
        before = after


def test_of_few_groups_of_many_sizes_one_is_held_out_that_is_not_the_largest() -> None:
    drives = items(
        [*numbered("1TP_", count=60), *numbered("6R0_", count=35), *numbered("6E5_", count=90)]
    )
    split = drawn(drives)
    assert {i.name[:3] for i in split["val"]} == {"6R0"}
    assert len(split["train"]) == 150


def test_a_run_goes_on_with_its_split_and_new_frames_go_where_their_clip_is() -> None:
    """The clips of ``before`` were parted picture by picture, as they were drawn once."""
    before = {"train": ["clip1_0000", "clip2_0001"], "val": ["clip1_0001"]}
    old = ["clip1_0000", "clip1_0001", "clip2_0001"]
    now = kept(items([*old, "clip2_0002", "clip2_0003"]), before)
    assert {i.name for i in now["val"]} == {"clip1_0001"}
    assert {i.name for i in now["train"]} == {
        "clip1_0000",
        "clip2_0001",
        "clip2_0002",
        "clip2_0003",
    }


def test_shares_are_exact_and_every_split_has_something() -> None:
    plain = items(f"p{i}" for i in range(100))
    shares = {"train": 0.6, "val": 0.25, "test": 0.15}
    split = dealt(plain, shares, grouped(plain))
    assert [len(split[s]) for s in shares] == [60, 25, 15]
    other = dealt(plain, shares, grouped(plain), seed=1)
    assert [len(other[s]) for s in shares] == [60, 25, 15]
    assert [i.name for i in split["test"]] != [i.name for i in other["test"]]
    three = items("abc")
    assert [
        len(s)
        for s in dealt(three, {"train": 0.9, "val": 0.05, "test": 0.05}, grouped(three)).values()
    ] == [1, 1, 1]


def test_classes_are_dealt_out_by_their_amounts_the_rarest_first() -> None:
    """Five pictures hold a class of 50: at random a fifth of splits has none of it to judge."""
    plain = items(f"p{i}" for i in range(50))
    amounts = {item.name: [1.0, float(i < 5), 0.0] for i, item in enumerate(plain)}
    for seed in range(20):
        folds = dealt(
            plain, {f"{k}": 0.2 for k in range(5)}, grouped(plain), seed=seed, amounts=amounts
        )
        assert [sum(amounts[i.name][1] for i in fold) for fold in folds.values()] == [1, 1, 1, 1, 1]
        assert [len(fold) for fold in folds.values()] == [10] * 5


def test_folders_that_are_no_splits_are_scenes_and_can_be_named_as_splits(tmp_path: Path) -> None:
    root = tmp_path / "d"
    for scene, count in {"attic": 2, "cellar": 9, "hall": 3}.items():
        folder_set(tmp_path / scene, count)
        for kind in ("images", "labels"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / scene / kind).rename(root / kind / scene)
    dataset = open_dataset(root)
    assert dataset.drawn
    assert {s: len(m) for s, m in dataset.splits.items()} == {
        "attic": 2, "cellar": 9, "hall": 3, "train": 9, "val": 5
    }  # fmt: skip
    assert {i.name[:4] for i in dataset.items("val")} == {"hall", "atti"}
    assert "the folders in images/ are groups: no split is called so" in dataset.notes
    assert any("whole groups (3 groups by folder" in note for note in dataset.notes)
    assert not [w for w in inspect(dataset).warnings if "no split train" in w]
    (root / "splits").mkdir()
    (root / "splits/train.txt").write_text("attic_p0\n")
    assert [i.name for i in open_dataset(root).items("train")] == ["attic_p0"]
