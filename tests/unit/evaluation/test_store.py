from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelwise.errors import DataError
from pixelwise.evaluation.evaluate import Evaluation
from pixelwise.evaluation.store import read_evaluation, read_scores, write_evaluation


@pytest.fixture
def found() -> Evaluation:
    counts = np.zeros((3, 4, 4), np.int32)
    counts[0, 1, 2], counts[1, 3, 3], counts[2] = 7, 2**31 - 1, np.arange(16).reshape(4, 4)
    return Evaluation(("a", "b", "ç", "<d>"), ("x", "y/z", "日本"), counts, 0.25)


def test_an_evaluation_comes_back_as_it_was(tmp_path: Path, found: Evaluation) -> None:
    write_evaluation(found, tmp_path / "evaluation")
    back = read_evaluation(tmp_path / "evaluation")
    assert (back.classes, back.names, back.seconds_per_image) == (
        found.classes,
        found.names,
        0.25,
    )
    assert back.image_counts.dtype == np.int32
    assert np.array_equal(back.image_counts, found.image_counts)


def test_unmeasured_time_stays_unmeasured(tmp_path: Path, found: Evaluation) -> None:
    write_evaluation(Evaluation(found.classes, found.names, found.image_counts), tmp_path)
    assert read_evaluation(tmp_path).seconds_per_image is None


def test_scores_file_holds_the_dictionary(tmp_path: Path, found: Evaluation) -> None:
    path = write_evaluation(found, tmp_path)
    assert path == tmp_path / "scores.json"
    assert read_scores(path) == found.as_dict()


def test_500_images_of_150_classes_are_small_on_disk(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros((500, 150, 150), np.int32)
    for image in counts:  # an image shows a few classes and confuses a few
        image[rng.integers(0, 150, 40), rng.integers(0, 150, 40)] = rng.integers(1, 9999, 40)
    names = tuple(str(i) for i in range(500))
    write_evaluation(Evaluation(names[:150], names, counts), tmp_path)
    assert (tmp_path / "counts.npz").stat().st_size < 200_000
    assert np.array_equal(read_evaluation(tmp_path).image_counts, counts)


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"counts\.npz: no such file"):
        read_evaluation(tmp_path)
    (tmp_path / "counts.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(DataError, match=r"counts\.npz: not counts per image") as caught:
        read_evaluation(tmp_path)
    assert caught.value.code == "D034"
    with (tmp_path / "counts.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r"counts\.npz: not counts per image"):
        read_evaluation(tmp_path)
    (tmp_path / "scores.json").write_text("[1]")
    with pytest.raises(DataError, match="holds a list"):
        read_scores(tmp_path / "scores.json")
    (tmp_path / "scores.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_scores(tmp_path / "scores.json")
