"""When a run logs, evaluates, shows, saves and ends, by a clock and losses of the test's own.

Nothing is computed: a step takes so many seconds of that clock, and its loss is its number.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import FrozenInstanceError
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from make_data import canonical_set, picture
from pixelwise.errors import NumericalError
from pixelwise.metrics.scores import Scores
from pixelwise.training import loop
from pixelwise.training import run as under_way
from pixelwise.training.journal import ProgressReport
from pixelwise.training.recipe import Recipe
from pixelwise.training.validate import HeadScores, Validation
from small_runs import events
from values import changeable

CLASSES = {"wall": (128, 0, 0), "floor": (0, 128, 0), "door": (0, 0, 128)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures to train on, one held out."""
    splits = {"train": [picture(i) for i in range(8)], "val": [picture(20)]}
    return canonical_set(tmp_path_factory.mktemp("run") / "data", splits, CLASSES)


class Made:
    """What a run did, by the steps at which it did it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.reports: list[ProgressReport] = []
        self.evaluated: list[int] = []
        self.looks: list[int] = []
        self.saves: list[int] = []

    def events(self, kind: str, field: str) -> list[Any]:
        return [event[field] for event in events(self.folder, kind)]


Carry = Callable[..., Made]


@pytest.fixture
def carry(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Carry:
    """Carries out a recipe whose steps, evaluations and looks are none."""
    now, numbers = 1000.0, count()

    def carried(
        seconds: float = 0.5,
        *,
        evaluation: float = 0.0,
        shares: Sequence[float] = (),
        collapse: str = "",
        **settings: Any,
    ) -> Made:
        made = Made(tmp_path / f"run{next(numbers)}")

        def step(run: under_way.Run, number: int) -> dict[str, float]:
            nonlocal now
            now += seconds
            return {"labels": number + 1.0}

        def validate(stepper: Any, data: Any, preprocess: Any, step: int, tell: Any) -> Validation:
            nonlocal now
            now += evaluation
            made.evaluated.append(step)
            tell(1, 4)
            share = (*shares, *[0.5] * 100)[len(made.evaluated) - 1]
            head = HeadScores(Scores(share, share, share, share), "", collapse=collapse)
            return Validation(step, {"labels": head})

        monkeypatch.setattr(time, "monotonic", lambda: now)
        monkeypatch.setattr(under_way.Run, "_step", step)
        monkeypatch.setattr(under_way.Run, "_write_report", lambda *_: None)
        monkeypatch.setattr(under_way, "validate", validate)
        monkeypatch.setattr(under_way, "write_look", lambda *a: made.looks.append(a[-1]))
        monkeypatch.setattr(under_way, "save_state", lambda *a: made.saves.append(a[1].step))
        plan = {"net": "fcn8s-tiny", "width": 1 / 16, "batch": 2, "threads": 1, "device": "cpu"}
        loop.train(
            Recipe(data=str(data), **plan | settings), made.folder, watch=made.reports.append
        )
        return made

    return carried


def test_every_tenth_step_and_the_last_are_logged_with_the_mean_since(carry: Carry) -> None:
    """Four of eight pictures a step, every half second: eight a second."""
    made = carry(iterations=25, accumulate=2, val_split="", schedule={"name": "poly", "power": 1})
    assert made.events("step", "step") == [10, 20, 25]
    assert made.events("step", "loss") == [5.5, 15.5, 23]
    assert made.events("step", "epoch") == [5, 10, 12.5]
    assert made.events("step", "images_per_second") == [8, 8, 8]
    assert made.events("step", "seconds") == [5, 10, 12.5]
    assert made.events("step", "lr") == pytest.approx([3e-4 * (1 - n / 25) for n in (9, 19, 24)])
    told = [report for report in made.reports if report.loss is not None]
    assert [(r.step, r.total, r.done) for r in told] == [(10, 25, 0.4), (20, 25, 0.8), (25, 25, 1)]
    assert [r.seconds_left for r in told] == [7.5, 2.5, 0]
    assert made.events("end", "seconds") == [12.5]


def test_a_step_of_two_processes_shows_the_pictures_of_both(
    carry: Carry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs of eight pictures, two to a process: four steps."""
    of_one = loop.fabric_of

    class First:
        """The first of two processes, whose other one says what this one says."""

        world_size = 2

        def __init__(self, recipe: Recipe) -> None:
            self.alone = of_one(recipe.replace(devices=1))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.alone, name)

        def all_reduce(self, values: Any, reduce_op: str) -> Any:
            return values

    monkeypatch.setattr(loop, "fabric_of", First)
    made = carry(epochs=2, devices=2, val_split="")
    assert made.events("step", "step") == [4]
    assert made.events("step", "epoch") == [2]
    assert made.events("step", "images_per_second") == [8]


@pytest.mark.parametrize(
    ("seconds", "logged"), [(2.9, [10, 12]), (15, [3, 6, 9, 10, 12]), (16, [2, 4, 6, 8, 10, 12])]
)
def test_of_slow_steps_each_is_logged_that_ends_half_a_minute(
    carry: Carry, seconds: float, logged: list[int]
) -> None:
    """Two of 15 s are half a minute, and not more; the tenth counts anew."""
    assert carry(seconds, iterations=12, val_split="").events("step", "step") == logged


def test_the_time_left_is_the_shorter_of_steps_and_minutes(carry: Carry) -> None:
    """30 steps of 2 s are a minute; of two minutes 100 s are left after 20 s, of half one 10 s."""
    made = carry(2, iterations=30, minutes=2, val_split="")
    assert [r.seconds_left for r in made.reports if r.loss] == [40, 20, 0]
    made = carry(2, iterations=300, minutes=0.5, val_split="")
    assert [r.seconds_left for r in made.reports if r.loss] == [10, 0]
    assert [r.done for r in made.reports if r.loss] == pytest.approx([2 / 3, 1])


def test_an_evaluation_takes_no_time_from_the_speed(carry: Carry) -> None:
    made = carry(evaluation=100, iterations=20, validate_every=4)
    assert made.events("step", "images_per_second") == [4, 4]
    assert made.events("validate", "seconds") == [102, 204, 306, 408, 510]


@pytest.mark.parametrize(
    ("steps", "due"),
    [(25, [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]), (3, [1, 2, 3])],
)
def test_a_run_is_evaluated_at_every_tenth_of_it(carry: Carry, steps: int, due: list[int]) -> None:
    assert carry(iterations=steps).evaluated == due


def test_a_run_is_evaluated_as_often_as_asked_and_at_its_end(carry: Carry) -> None:
    made = carry(iterations=10, validate_every=4, shares=(0.4, 0.6, 0.5))
    assert made.evaluated == made.events("validate", "step") == [4, 8, 10]
    assert made.events("validate", "best") == [True, True, False]
    told = [r for r in made.reports if r.validation]
    assert [(r.so_far.best, r.so_far.best_step, r.so_far.stale) for r in told if r.so_far] == [
        (0.4, 4, 0), (0.6, 8, 0), (0.6, 8, 1),
    ]  # fmt: skip
    assert {(r.doing, r.done) for r in made.reports if r.doing == "evaluating"} == {
        ("evaluating", 0.25)
    }
    assert carry(iterations=2, val_split="", validate_every=1).evaluated == []


def test_patience_counts_evaluations_since_the_best(carry: Carry) -> None:
    made = carry(iterations=20, validate_every=1, patience=2, shares=(0.1, 0.3, 0.2, 0.4, 0.4, 0.3))
    assert made.evaluated == [1, 2, 3, 4, 5, 6]
    assert made.events("validate", "best") == [True, True, False, True, False, False]


@pytest.mark.parametrize(("seconds", "looks"), [(20, [4]), (61, [1]), (5, [])])
def test_the_first_look_is_taken_once_after_a_minute(
    carry: Carry, seconds: float, looks: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """Evaluations bring one each; the first of these here is that of the end."""
    caplog.set_level(logging.INFO)
    made = carry(seconds, iterations=5, validate_every=5)
    assert made.looks == [*looks, 5]
    assert caplog.text.count("a held-out picture, its labels so far") == 1


def test_a_state_is_saved_every_two_minutes_or_as_asked_and_at_the_end(carry: Carry) -> None:
    """Three steps of 40 s are two minutes, and not more."""
    made = carry(40, iterations=10, val_split="")
    assert made.saves == made.events("save", "step") == [4, 8, 10]
    assert carry(40, iterations=10, val_split="", save_every=3).saves == [3, 6, 9, 10]


@pytest.mark.parametrize(("steps", "warned"), [(99, [99]), (100, [100]), (220, [110, 220])])
def test_a_collapse_is_told_from_the_hundredth_step_on_and_then_ends_the_run(
    carry: Carry, steps: int, warned: list[int], tmp_path: Path
) -> None:
    """Before, one class for all is what a net begins with; at the end it is told all the same."""
    settings = {"iterations": steps, "validate_every": steps // 2 or 1, "collapse": "one class"}
    if steps < 100:
        assert carry(**settings).events("end", "reason") == ["done"]
    else:
        with pytest.raises(NumericalError, match="one class") as caught:
            carry(**settings)
        assert caught.value.code == "N002"
        assert [e["reason"] for e in events(tmp_path / "run0", "end")] == ["one class"]
    assert [e["step"] for e in events(tmp_path / "run0", "warning")] == warned


def test_a_journal_begins_with_what_the_run_is_of(carry: Carry) -> None:
    """A rate of 3e-4 on the mean over two pictures of 40x48."""
    (start,) = events(carry(iterations=1).folder, "start")
    assert (start["step"], start["net"], start["device"]) == (0, "fcn8s-tiny", "cpu")
    assert (start["images"], start["validation_images"]) == (8, 1)
    assert start["classes"] == list(CLASSES)
    assert start["inputs"] == {"image": "3 bands of uint8"}
    assert start["rate_on_mean_loss"] == 3e-4
    assert start["rate_per_pixel"] == pytest.approx(3e-4 / (2 * 40 * 48))
    assert start["parameters"] == start["trained"]
    assert start["recipe"]["batch"] == 2


def test_what_was_made_for_a_run_cannot_be_changed_under_way(carry: Carry) -> None:
    """Facts, choices, scores and reports are handed from part to part."""
    made = carry(iterations=1)
    with pytest.raises(FrozenInstanceError):
        made.reports[0].step = 7  # type: ignore[misc]
    assert changeable("training") == []
