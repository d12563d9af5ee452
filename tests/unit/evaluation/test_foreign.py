from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.errors import DataError, UsageError
from pixelwise.evaluation.foreign import match, read_names, score_folders
from pixelwise.folders import MAKER, MANIFEST, OVERLAY


def put(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    guesses, truth = tmp_path / "guesses", tmp_path / "truth"
    put(truth / "a.png", [[0, 0, 1], [1, 255, 255]])
    put(guesses / "a.png", [[0, 1, 1], [1, 0, 9]])
    put(truth / "b.png", [[2, 2]])
    put(guesses / "b.tif", [[2, 0]])
    return guesses, truth


def problems(error: DataError) -> list[tuple[str, str]]:
    return [(p.code, str(p)) for p in error.problems]


def test_scores_by_hand(folders: tuple[Path, Path]) -> None:
    found = score_folders(*folders, classes=3)
    # class 0: 1 of 2, guess 2: 1/3; class 1: 2 of 2, guess 3: 2/3; class 2: 1 of 2, guess 1: 1/2
    assert found.names == ("a", "b")
    assert found.scores.mean_iu == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)


def test_classes_are_counted_from_both_folders(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    put(guesses / "b.tif", [[2, 6]])
    assert score_folders(guesses, truth).classes == (
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "7",
        "8",
        "9",
    )
    put(guesses / "a.png", [[0, 1, 1], [1, 0, 0]])
    assert len(score_folders(guesses, truth).classes) == 7


def test_names_come_from_the_description_beside_the_truth(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    truth.rename(truth.parent / "labels")
    root = truth.parent
    (root / "dataset.json").write_text(json.dumps({"classes": ["x", "y", "z"]}))
    assert score_folders(guesses, root).classes == ("x", "y", "z")
    assert score_folders(guesses, root / "labels").classes == ("x", "y", "z")
    (root / "dataset.json").write_text("{}")
    with pytest.raises(DataError, match=r"dataset\.json: classes is missing"):
        score_folders(guesses, root)


def test_what_the_description_ignores_is_void(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    put(truth / "b.png", [[2, 11]])
    told = {"classes": list("abcdefghijk"), "ignore": 11}
    (truth / "dataset.json").write_text(json.dumps(told))
    found = score_folders(guesses, truth)
    assert len(found.classes) == 11
    assert found.per_class[2].truth_pixels == 1
    assert found.scores.mean_iu == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    with pytest.raises(UsageError, match=r"3 classes were asked for, but .* is described with 11"):
        score_folders(guesses, truth, classes=3)


def test_the_description_of_other_label_maps_is_not_taken(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    (truth.parent / "dataset.json").write_text(json.dumps({"classes": list("abcdefgh")}))
    assert score_folders(guesses, truth).classes == tuple("0123456789")


def test_other_values_of_the_truth_can_be_void(folders: tuple[Path, Path]) -> None:
    """CamVid's void is 11: neither a twelfth class nor an error."""
    guesses, truth = folders
    found = score_folders(guesses, truth, classes=3)
    put(truth / "a.png", [[0, 0, 1], [1, 11, 12]])
    put(guesses / "a.png", [[0, 1, 1], [1, 11, 2]])
    assert score_folders(guesses, truth, classes=3, ignore=(11, 12)).scores == found.scores
    assert score_folders(guesses, truth, ignore=(11, 12)).classes == ("0", "1", "2")
    put(guesses / "b.tif", [[2, 11]])
    with pytest.raises(DataError, match="values that name no class: 11"):
        score_folders(guesses, truth, classes=3, ignore=(11, 12))


def test_overlays_that_predict_drew_beside_its_label_maps_are_no_guesses(
    folders: tuple[Path, Path],
) -> None:
    guesses, truth = folders
    put(guesses / f"a{OVERLAY}", [[0]])
    with pytest.raises(DataError, match="a_overlay"):
        score_folders(guesses, truth, classes=3)
    (guesses / MANIFEST).write_text(json.dumps({"made_by": MAKER}))
    assert score_folders(guesses, truth, classes=3).names == ("a", "b")


def test_missing_and_extra_files_are_all_listed(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    (guesses / "a.png").unlink()
    put(guesses / "c.png", [[0]])
    put(guesses / "d.png", [[0]])
    with pytest.raises(DataError, match="3 problems") as caught:
        match(guesses, truth)
    assert caught.value.code == "D035"
    assert caught.value.exit_code == 3
    assert problems(caught.value) == [
        ("D031", f"a: no guess in {guesses}"),
        ("D031", f"c: no truth in {truth}"),
        ("D031", f"d: no truth in {truth}"),
    ]


def test_two_files_of_one_stem_are_refused(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    put(guesses / "a.bmp", [[0]])
    with pytest.raises(DataError, match=r"a\.bmp and .*a\.png share the stem") as caught:
        match(guesses, truth)
    assert caught.value.code == "D030"


def test_other_files_and_hidden_files_are_overlooked(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    (guesses / "notes.txt").write_text("hello")
    (guesses / "._a.png").write_bytes(b"\x00")
    assert len(match(guesses, truth)) == 2


def test_sizes_values_and_unreadable_files_are_listed_together(
    folders: tuple[Path, Path],
) -> None:
    guesses, truth = folders
    put(guesses / "a.png", [[0, 1], [1, 0]])
    put(guesses / "b.tif", [[7, 7]])
    put(truth / "c.png", [[0, 255]])
    put(guesses / "c.png", [[255, 255]])
    put(truth / "d.png", [[0]])
    (guesses / "d.png").write_bytes(b"no picture")
    put(truth / "e.png", [[0]])
    Image.new("RGB", (1, 1), "teal").save(guesses / "e.png")
    put(truth / "f.png", [[5]])
    put(guesses / "f.png", [[0]])
    with pytest.raises(DataError, match="6 problems") as caught:
        score_folders(guesses, truth, classes=3)
    codes, texts = zip(*problems(caught.value), strict=True)
    assert codes == ("D013", "D012", "D012", "D020", "D016", "D012")
    assert "2x2" in texts[0]
    assert "2x3 (HxW)" in texts[0]
    assert "b.tif" in texts[1]
    assert "7 on 2 px" in texts[1]
    assert "c.png" in texts[2]
    assert "255 on 1 px" in texts[2]
    assert str(truth / "f.png") in texts[5]


def test_one_problem_is_raised_as_itself(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    (guesses / "a.png").unlink()
    with pytest.raises(DataError, match="a: no guess") as caught:
        score_folders(guesses, truth)
    assert caught.value.code == "D031"


def test_when_no_pair_is_sound_the_reason_is_told(tmp_path: Path) -> None:
    put(tmp_path / "truth" / "a.png", [[0]])
    put(tmp_path / "guesses" / "a.png", [[0, 0]])
    with pytest.raises(DataError, match="expected one size"):
        score_folders(tmp_path / "guesses", tmp_path / "truth", classes=2)


def test_masks_of_0_and_255_are_not_scored_as_one_class_and_void(tmp_path: Path) -> None:
    put(tmp_path / "truth" / "a.png", [[0, 255]])
    put(tmp_path / "guesses" / "a.png", [[0, 255]])
    with pytest.raises(DataError, match="no class but 0 occurs") as caught:
        score_folders(tmp_path / "guesses", tmp_path / "truth")
    assert "0 and 1" in caught.value.hint
    one = score_folders(tmp_path / "guesses", tmp_path / "truth", classes=1)
    assert one.scores.pixel_accuracy == 1


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: no such folder"):
        match(tmp_path / "nowhere", tmp_path)
    with pytest.raises(DataError, match="no label map was found") as caught:
        match(tmp_path, tmp_path)
    assert caught.value.code == "D010"


def test_a_list_restricts_both_folders(folders: tuple[Path, Path], tmp_path: Path) -> None:
    guesses, truth = folders
    put(truth / "unwanted.png", [[0]])
    (tmp_path / "list.txt").write_text("b\n\na.png\n")
    stems = read_names(tmp_path / "list.txt")
    assert stems == ("b", "a.png")
    assert score_folders(guesses, truth, classes=3, stems=stems).names == ("a", "b")
    with pytest.raises(DataError, match="2 problems") as caught:
        match(guesses, truth, ["a", "z"])
    assert len(caught.value.problems) == 2  # neither guess nor truth of z


def test_a_mark_in_a_foreign_mask_is_no_class(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    marked = np.array(Image.open(truth / "a.png")).astype(np.uint16)
    marked[0, 0] = 65535
    Image.fromarray(marked).save(truth / "a.png")
    with pytest.raises(DataError, match="the largest value is 65,535") as caught:
        score_folders(guesses, truth)
    assert caught.value.hint.startswith("--ignore 65535 ")
    assert score_folders(guesses, truth, ignore=[65535]).names


def test_what_is_missing_may_be_left_out_by_a_list(folders: tuple[Path, Path]) -> None:
    guesses, truth = folders
    (guesses / "a.png").unlink()
    with pytest.raises(DataError) as caught:
        match(guesses, truth)
    assert "--list" in caught.value.hint


def test_names_with_dots_keep_them(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("0001.v2\n/x/0002.v3.png\n")
    assert read_names(tmp_path / "list.txt") == ("0001.v2", "0002.v3.png")


def test_every_pair_advances_the_progress(folders: tuple[Path, Path]) -> None:
    steps = []
    score_folders(*folders, advance=lambda: steps.append(1))
    assert len(steps) == 2
