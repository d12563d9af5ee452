from __future__ import annotations

import numpy as np
import pytest

from pixelwise.errors import UsageError
from pixelwise.evaluation.comparison import Comparison, best_of, named
from pixelwise.evaluation.evaluate import Evaluation, Pair, evaluate

TRUTHS = {"a": [[0, 0, 1, 1]], "b": [[0, 0, 0, 0]], "c": [[1, 1, 1, 1]], "v": [[255] * 4]}
GOOD = {"a": [[0, 0, 1, 1]], "b": [[0, 0, 0, 1]], "c": [[1, 1, 1, 0]], "v": [[0] * 4]}
POOR = {"a": [[0, 0, 0, 0]], "b": [[0, 0, 0, 1]], "c": [[1, 0, 0, 0]], "v": [[0] * 4]}


def scored(guesses: dict[str, list[list[int]]], names: str = "abcv") -> Evaluation:
    pairs = (Pair(n, np.array(TRUTHS[n], np.uint8), np.array(guesses[n], np.uint8)) for n in names)
    return evaluate(pairs, ("x", "y"))


@pytest.fixture
def comparison() -> Comparison:
    return Comparison(("good", "poor"), (scored(GOOD), scored(POOR)))


def test_images_are_ordered_by_their_mean_over_the_systems(comparison: Comparison) -> None:
    # a: 1 and (1/2 + 0) / 2; b: 3/4 and 3/4; c: 3/4 and 1/4; v has no pixel that counts
    assert [(i.name, i.mean_ius) for i in comparison.images] == [
        ("c", (0.75, 0.25)),
        ("a", (1.0, 0.25)),
        ("b", (0.75, 0.75)),
    ]
    assert [i.mean for i in comparison.images] == [0.5, 0.625, 0.75]


def test_no_image_is_shown_twice(comparison: Comparison) -> None:
    worst, best, apart = comparison.ends(1)
    assert [[i.name for i in end] for end in (worst, best, apart)] == [["c"], ["b"], ["a"]]
    worst, best, apart = comparison.ends(9)
    assert [[i.name for i in end] for end in (worst, best, apart)] == [["c", "a"], ["b"], []]


def test_differences_are_those_of_the_scores(comparison: Comparison) -> None:
    good, poor = (e.scores for e in comparison.evaluations)
    by_statistic = {d.statistic: d for d in comparison.differences}
    assert set(by_statistic) == {"mean_iu", "pixel_accuracy"}
    assert good.mean_iu is not None
    assert poor.mean_iu is not None
    apart = by_statistic["mean_iu"].difference
    assert apart.value == pytest.approx(good.mean_iu - poor.mean_iu)
    # 10 of 12 counted pixels right against 6 of 12
    assert by_statistic["pixel_accuracy"].difference.value == pytest.approx(4 / 12)
    assert (by_statistic["mean_iu"].first, by_statistic["mean_iu"].second) == ("good", "poor")


def test_other_images_are_refused() -> None:
    with pytest.raises(UsageError, match="poor was scored on other images or classes than good"):
        Comparison(("good", "poor"), (scored(GOOD), scored(POOR, "ab")))


def test_pictures_of_void_alone_have_no_difference() -> None:
    only = scored(GOOD, "v")
    assert Comparison(("one", "other"), (only, only)).differences == ()


def test_names_that_occur_twice_get_a_number() -> None:
    assert named(["run", "masks", "run"]) == ("run 1", "masks", "run 2")


def test_the_best_of_unknown_values_is_no_number() -> None:
    assert best_of([None, 0.25, 0.5]) == 0.5
    assert np.isnan(best_of([None]))
