from __future__ import annotations

import time

import numpy as np
import pytest

from pixelwise.errors import UsageError
from pixelwise.metrics import bootstrap as drawing
from pixelwise.metrics.bootstrap import Interval, bootstrap, paired, paired_runs
from pixelwise.metrics.scores import Tallies, mean_iu, scores, tallies


def coins(rng: np.random.Generator, images: int) -> np.ndarray:
    """(N, 2, 2) counts whose pixel accuracy per image is uniform, so 1/2 on average."""
    right = rng.integers(0, 101, images)
    counts = np.zeros((images, 2, 2), np.int32)
    counts[:, 0, 0], counts[:, 0, 1] = right, 100 - right
    return counts


def test_equal_images_give_no_width() -> None:
    counts = np.broadcast_to(np.array([[4, 2], [1, 3]]), (7, 2, 2))
    point = scores(counts[0]).mean_iu
    interval = bootstrap(counts)
    assert interval == Interval(pytest.approx(point), pytest.approx(point), 0.95)
    assert interval.low == interval.high


def test_one_image_gives_no_width() -> None:
    assert bootstrap([[[1, 1], [0, 2]]], statistic="pixel_accuracy") == Interval(0.75, 0.75)


def test_two_images_by_hand() -> None:
    # draws: {a,a} with p 1/4 gives 1, {b,b} gives 0, {a,b} gives 1/2: the 95 % interval is 0..1,
    # the 40 % interval is 1/2..1/2
    a, b = [[10, 0], [0, 0]], [[0, 10], [0, 0]]
    assert bootstrap([a, b], statistic="pixel_accuracy") == Interval(0.0, 1.0)
    assert bootstrap([a, b], statistic="pixel_accuracy", level=0.4) == Interval(0.5, 0.5, 0.4)


def test_class_absent_from_a_draw_is_left_out_of_that_draw() -> None:
    # class 1 lives in image b alone, where it is missed; without b the mean is over class 0 only
    a, b = [[10, 0], [0, 0]], [[0, 0], [10, 0]]
    interval = bootstrap([a, b])
    assert interval == Interval(0.0, 1.0)  # {a,a}: 1; {b,b}: 0; never 1/2 for lack of class 1


def test_every_draw_equals_the_score_of_its_redrawn_images() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 9, (6, 3, 3))
    weights = np.random.default_rng(11).multinomial(6, np.full(6, 1 / 6), size=50)
    values = [scores((w[:, None, None] * counts).sum(0)).mean_iu for w in weights]
    low, high = np.quantile(values, [0.1, 0.9])
    interval = bootstrap(counts, draws=50, seed=11, level=0.8)
    assert interval.low == pytest.approx(low)
    assert interval.high == pytest.approx(high)


def test_however_many_images_there_are_few_weights_are_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 30 images, 100 weights at once: three draws; of more images than weights one."""
    rows = []

    def counted(tally: Tallies) -> np.ndarray:
        rows.append(len(tally.hits))
        return mean_iu(tally)

    counts = coins(np.random.default_rng(0), 30)
    whole = bootstrap(counts, draws=10, seed=2)
    monkeypatch.setitem(drawing._STATISTICS, "mean_iu", counted)
    monkeypatch.setattr(drawing, "_BLOCK", 100)
    assert bootstrap(counts, draws=10, seed=2) == whole
    assert rows == [3, 3, 3, 1]
    monkeypatch.setattr(drawing, "_BLOCK", 20)
    assert bootstrap(counts, draws=10, seed=2) == whole
    assert rows[4:] == [1] * 10


def test_interval_covers_the_true_value_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        interval = bootstrap(
            coins(rng, 40), statistic="pixel_accuracy", draws=400, seed=trial, level=0.9
        )
        covered += interval.low <= 0.5 <= interval.high
    assert 0.85 <= covered / 300 <= 0.95  # 3 standard errors of 0.9 are 0.05


def test_unless_said_otherwise_it_is_95_percent_of_a_thousand_draws_of_mean_iu() -> None:
    rng = np.random.default_rng(2)
    first = rng.integers(0, 50, (9, 3, 3))
    second = np.roll(first, 1, axis=2)
    said = {"statistic": "mean_iu", "draws": 1000, "seed": 0, "level": 0.95}
    assert bootstrap(first) == bootstrap(first, **said)
    assert paired(first, second) == paired(first, second, **said)
    runs = [[tallies(c, per_image=True)] * 2 for c in (first, second)]
    assert paired_runs(*runs) == paired_runs(*runs, **said)
    assert (Interval(0, 1).level, bootstrap(first).level) == (0.95, 0.95)


def test_same_seed_same_interval_and_other_seed_another() -> None:
    counts = coins(np.random.default_rng(1), 30)
    first = bootstrap(counts, statistic="pixel_accuracy", seed=4)
    assert first == bootstrap(counts, statistic="pixel_accuracy", seed=4)
    assert first != bootstrap(counts, statistic="pixel_accuracy", seed=5)


def test_a_void_image_does_not_spoil_the_interval() -> None:
    void, good = [[0, 0], [0, 0]], [[5, 0], [0, 5]]
    assert bootstrap([void, good]) == Interval(1.0, 1.0)


def test_nothing_to_draw_from_is_refused() -> None:
    with pytest.raises(UsageError, match="no image has a pixel that counts"):
        bootstrap(np.zeros((3, 2, 2), int))
    with pytest.raises(UsageError, match="no image has a pixel that counts"):
        bootstrap(np.zeros((0, 2, 2), int))


@pytest.mark.parametrize("options", [{"draws": 0}, {"level": 1.0}, {"level": 0.0}])
def test_impossible_options_are_refused(options: dict) -> None:
    with pytest.raises(UsageError, match="make no interval"):
        bootstrap([[[1, 0], [0, 1]]], **options)


def test_unknown_statistic_lists_the_known() -> None:
    with pytest.raises(UsageError, match="did you mean `mean_iu`"):
        bootstrap([[[1, 0], [0, 1]]], statistic="mean_iou")


def test_233_images_of_11_classes_take_well_under_a_second() -> None:
    counts = np.random.default_rng(0).integers(0, 5000, (233, 11, 11), dtype=np.int32)
    start = time.process_time()
    bootstrap(counts)
    assert time.process_time() - start < 0.8  # 0.04 s on one quiet core


def test_a_paired_difference_by_hand() -> None:
    # Image a: both right; image b: the first has 8 of 10 right, the second 2 of 10. A set that
    # draws {a,a} (1/4) shows no difference, {b,b} (1/4) 0.6, {a,b} (1/2) 0.3.
    a = [[10, 0], [0, 0]]
    first, second = [a, [[8, 2], [0, 0]]], [a, [[2, 8], [0, 0]]]
    apart = paired(first, second, statistic="pixel_accuracy", level=0.4)
    assert apart.value == pytest.approx(0.3)
    assert (apart.low, apart.high) == (pytest.approx(0.3), pytest.approx(0.3))
    wide = paired(first, second, statistic="pixel_accuracy")
    assert (wide.low, wide.high) == (0.0, pytest.approx(0.6))
    # Better on 3/4 of the sets, and a tie on the rest counts as a half: 7/8.
    assert wide.first_better == pytest.approx(7 / 8, abs=0.03)


def test_a_paired_difference_is_of_the_same_sets() -> None:
    rng = np.random.default_rng(5)
    first = rng.integers(0, 50, (12, 3, 3))
    second = first.copy()
    second[:, 0, 0], second[:, 0, 1] = first[:, 0, 1], first[:, 0, 0]  # the same truth
    draws = np.random.default_rng(9).multinomial(12, np.full(12, 1 / 12), size=40)
    values = [
        scores((w[:, None, None] * first).sum(0)).mean_iu
        - scores((w[:, None, None] * second).sum(0)).mean_iu
        for w in draws
    ]
    low, high = np.quantile(values, [0.1, 0.9])
    apart = paired(first, second, draws=40, seed=9, level=0.8)
    assert (apart.low, apart.high) == (pytest.approx(low), pytest.approx(high))
    assert apart.first_better == pytest.approx(np.mean(np.array(values) > 0))


def test_a_pair_is_narrower_than_the_scores_of_it_suggest() -> None:
    rng = np.random.default_rng(2)
    first = coins(rng, 60)
    second = first.copy()
    second[:, 0, 0] -= np.minimum(second[:, 0, 0], 2)  # a little worse on every image
    second[:, 0, 1] = 100 - second[:, 0, 0]
    alone = bootstrap(first, statistic="pixel_accuracy")
    apart = paired(first, second, statistic="pixel_accuracy")
    assert apart.low > 0
    assert apart.high - apart.low < (alone.high - alone.low) / 10


def test_a_pair_on_other_images_is_refused() -> None:
    with pytest.raises(UsageError, match="counted against different truths"):
        paired([[[1, 1], [0, 2]]], [[[1, 0], [1, 2]]])
    with pytest.raises(UsageError, match="counted against different truths"):
        paired(np.ones((2, 2, 2), int), np.ones((3, 2, 2), int))


def run_of(right: int) -> Tallies:
    """Three pictures of ten pixels of class 0, so many of which are right."""
    return tallies([[[right, 10 - right], [0, 0]]] * 3, per_image=True)


def test_pairs_of_runs_are_drawn_by_hand() -> None:
    """Runs 0.5 and 0.1 apart: of two drawn both are the first, both the second, or one of each."""
    first, second = [run_of(9), run_of(5)], [run_of(4), run_of(4)]
    wide = paired_runs(first, second, statistic="pixel_accuracy")
    assert [wide.value, wide.low, wide.high] == pytest.approx([0.3, 0.1, 0.5])
    assert (wide.first_better, wide.level) == (1, 0.95)
    half = paired_runs(first, second, statistic="pixel_accuracy", level=0.4)
    assert [half.value, half.low, half.high] == pytest.approx([0.3] * 3)
    back = paired_runs(second, first, statistic="pixel_accuracy")
    assert [back.value, back.low, back.high] == pytest.approx([-0.3, -0.5, -0.1])
    assert back.first_better == 0
    # 0.4 and -0.4: better in a quarter of the draws, a tie in half of them.
    even = paired_runs([run_of(8), run_of(4)], [run_of(4), run_of(8)], draws=4000)
    assert even.first_better == pytest.approx(0.5, abs=0.03)


def test_of_one_run_it_is_the_pair() -> None:
    rng = np.random.default_rng(3)
    counts = rng.integers(0, 9, (2, 12, 4, 4))
    counts[1] = np.roll(counts[1], 1, axis=2)
    counts[1, ..., 0] += counts[0].sum(-1) - counts[1].sum(-1)
    each = [[tallies(c, per_image=True)] for c in counts]
    assert paired_runs(*each) == paired(*counts)


def test_all_runs_are_of_the_same_images_and_as_many() -> None:
    other = tallies([[[4, 5], [1, 0]]] * 3, per_image=True)
    for first, second in (
        ([run_of(9), run_of(8)], [run_of(4)]),
        ([run_of(9), other], [run_of(4), run_of(4)]),
        ([run_of(9), run_of(4)], [run_of(4), other]),
    ):
        with pytest.raises(UsageError, match="counted against different truths"):
            paired_runs(first, second)
