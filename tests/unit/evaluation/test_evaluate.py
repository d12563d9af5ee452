from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import folder_set
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import DataError, UsageError
from pixelwise.evaluation.evaluate import Evaluation, ImageRow, Pair, evaluate
from pixelwise.evaluation.on_dataset import evaluate_split
from pixelwise.metrics.bootstrap import bootstrap
from pixelwise.metrics.confusion import confusion

CLASSES = ("road", "tree", "sky")


def label_map(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


FIRST = Pair("first", label_map([0, 0, 1, 255]), label_map([0, 1, 1, 2]))
SECOND = Pair("second", label_map([0, 0], [0, 1]), label_map([0, 0], [0, 2]))


@pytest.fixture
def both() -> Evaluation:
    return evaluate([FIRST, SECOND], CLASSES)


def test_counts_are_added_over_the_set_not_averaged(both: Evaluation) -> None:
    # road: truth 5, guess 4, hits 4: IU 4/5; tree: truth 2, guess 2, hits 1: IU 1/3
    assert both.counts.tolist() == [[4, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert both.scores.mean_iu == pytest.approx((4 / 5 + 1 / 3) / 2)
    assert both.scores.pixel_accuracy == pytest.approx(5 / 7)


def test_images_of_differing_sizes_are_scored_together(both: Evaluation) -> None:
    assert both.image_counts.sum(axis=(1, 2)).tolist() == [3, 4]


def test_each_image_has_its_own_row(both: Evaluation) -> None:
    # first: road 1/2, tree 1/2; second: road 3/3, tree 0/1
    assert both.per_image == (
        ImageRow("first", pytest.approx(1 / 2), pytest.approx(2 / 3)),
        ImageRow("second", pytest.approx(1 / 2), pytest.approx(3 / 4)),
    )


def test_an_image_of_void_has_a_row_without_numbers() -> None:
    void = Pair("void", label_map([255, 255]), label_map([0, 1]))
    assert evaluate([FIRST, void], CLASSES).per_image[1] == ImageRow("void", None, None)


def test_counts_per_image_are_small_integers() -> None:
    found = evaluate([FIRST], [f"class {i}" for i in range(150)])
    assert found.image_counts.dtype == np.int32
    assert found.image_counts.nbytes * 500 == 45_000_000  # 500 images x 150 classes


def test_pairs_are_taken_one_after_the_other() -> None:
    alive = 0

    def pairs() -> Iterator[Pair]:
        nonlocal alive
        for name in "abc":
            alive += 1
            yield Pair(name, FIRST.truth, FIRST.guess)

    assert evaluate(pairs(), CLASSES).names == ("a", "b", "c")
    assert alive == 3


def test_json_holds_the_promised_keys_and_fractions(both: Evaluation) -> None:
    found = json.loads(json.dumps(both.as_dict(), allow_nan=False))
    assert found["mean_iu"] == pytest.approx((4 / 5 + 1 / 3) / 2)
    assert found["images"] == 2
    assert found["seconds_per_image"] is None
    assert found["classes"] == list(CLASSES)
    assert found["confusion"] == both.counts.tolist()
    assert found["per_class"][2] == {
        "name": "sky",
        "truth_pixels": 0,
        "guess_pixels": 1,
        "accuracy": None,
        "iu": None,
        "reason": "not in this truth; predicted on 1 px",
    }
    assert found["protocols"]["paper"] == found["mean_iu"]
    assert found["protocols"]["score.py"] == pytest.approx((4 / 5 + 1 / 3 + 0) / 3)
    assert found["per_image"][1] == {"name": "second", "mean_iu": 0.5, "pixel_accuracy": 0.75}
    expected = {"mean_accuracy", "frequency_weighted_iu", "intervals", "protocol_reasons"}
    assert expected <= set(found)


def test_intervals_are_the_bootstrap_of_the_counts(both: Evaluation) -> None:
    assert both.intervals["mean_iu"] == bootstrap(both.image_counts, statistic="mean_iu")
    low, high = both.as_dict()["intervals"]["pixel_accuracy"]
    assert (low, high) == (pytest.approx(2 / 3), pytest.approx(3 / 4))


def test_time_is_added_without_changing_the_counts(both: Evaluation) -> None:
    timed = replace(both, seconds_per_image=0.5)
    assert timed.as_dict() == {**both.as_dict(), "seconds_per_image": 0.5}


def test_a_set_of_void_alone_says_null_everywhere() -> None:
    void = Pair("void", label_map([255]), label_map([0]))
    found = json.loads(json.dumps(evaluate([void], CLASSES).as_dict(), allow_nan=False))
    assert found["mean_iu"] is None
    assert found["intervals"] == {"level": 0.95, "draws": 1000, "over": "images"}
    assert found["protocol_reasons"]["paper"] == "no pixel of the truth counts"


def test_errors_name_the_image() -> None:
    with pytest.raises(DataError, match=r"^second: the guess .* 9 on 1 px") as caught:
        evaluate([FIRST, Pair("second", label_map([0, 0]), label_map([0, 9]))], CLASSES)
    assert caught.value.code == "D012"
    with pytest.raises(DataError, match=r"^odd: truth is 1x4 but guess is 2x2") as caught:
        evaluate([Pair("odd", FIRST.truth, SECOND.guess)], CLASSES)
    assert caught.value.code == "D013"


def test_no_image_is_an_error_not_a_score() -> None:
    with pytest.raises(UsageError, match="no image was given"):
        evaluate([], CLASSES)


def test_any_protocol_can_be_computed_again_from_the_counts(both: Evaluation) -> None:
    again = np.stack([confusion(p.truth, p.guess, 3) for p in (FIRST, SECOND)])
    assert np.array_equal(both.image_counts, again)


def labelled(dataset, split: str = "train", **options):
    def label(image: np.ndarray) -> dict[str, np.ndarray]:
        return {"labels": np.zeros(image.shape[:2], np.uint8)}

    return evaluate_split(label, dataset.classes_by_head, dataset, split, **options)


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_guesses_do_not_replace_the_data(tmp_path: Path, folder: str) -> None:
    root = folder_set(tmp_path / "d")
    before = {p: p.read_bytes() for p in root.rglob("*.png")}
    with pytest.raises(UsageError, match="holds files of") as caught:
        labelled(open_dataset(root), keep=root / folder / ".." / folder)
    assert caught.value.code == "U003"
    assert {p: p.read_bytes() for p in root.rglob("*.png")} == before


def test_guesses_replace_guesses_and_nothing_else(tmp_path: Path) -> None:
    dataset = open_dataset(folder_set(tmp_path / "d"))
    name = f"{dataset.items('train')[0].name}.png"
    place = tmp_path / "guesses"
    labelled(dataset, keep=place)
    (place / name).touch()
    labelled(dataset, keep=place)
    Image.fromarray(np.ones((4, 4), np.uint8)).save(place / name)  # mine, or corrected by hand
    before = (place / name).read_bytes()
    with pytest.raises(UsageError, match="is no guess of an evaluation"):
        labelled(dataset, keep=place)
    assert (place / name).read_bytes() == before
