"""What a run says while it goes on, to people who look and to files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pixelwise.machine.progress import Progress, percent
from pixelwise.training import watching
from pixelwise.training.journal import ProgressReport
from pixelwise.training.state import Progress as State
from pixelwise.training.validate import Validation, _head_scores


def report(step: int) -> ProgressReport:
    return ProgressReport(step, 400, step / 400, 0.25, 5.5, 130.4)


def told(*reports: ProgressReport) -> list[str]:
    """What is said of reports, and after each the line that it would have in a log."""
    lines: list[str] = []

    def show(work: Progress) -> None:
        lines.append(f"{work.doing}: {work.facts}")

    watch = watching.watch_on(Progress("", 1.0, amount=percent, show=show, say=lines.append))
    for each in reports:
        watch(each)
    return lines


def test_a_report_is_told_with_its_stage_step_loss_speed_and_time_left() -> None:
    said = told(replace(report(100), stage="32s"))
    assert said == ["training 32s: 25 %, step 100/400, loss 0.2500, 5.5 images/s, 2:10 left"]
    by_time = told(replace(report(100), total=None))
    assert by_time == ["training: 25 %, step 100, loss 0.2500, 5.5 images/s, 2:10 left"]


def test_reading_is_told_without_a_loss() -> None:
    report = ProgressReport(done=0.5, doing="reading the data")
    assert told(report) == ["reading the data: 50 %"]


def evaluated(step: int, hits: int, best: float, best_step: int, stale: int) -> ProgressReport:
    """Of 10 pixels of a and 10 of b those of b are right but for some."""
    head = _head_scores(np.array([[10, 0], [10 - hits, hits]]), ["a", "b"], "")
    so_far = State(best=best, best_step=best_step, stale=stale)
    return replace(report(step), validation=Validation(step, {"labels": head}), so_far=so_far)


def test_an_evaluation_says_what_it_means_and_since_when_nothing_rose() -> None:
    said = told(
        evaluated(100, 10, 1.0, 100, 0),
        evaluated(200, 0, 1.0, 100, 1),
        evaluated(300, 0, 1.0, 100, 2),
    )
    assert [text for text in said if "images/s" not in text] == [
        "step 100: mean IU 100.0 %, pixel accuracy 100.0 %; the best so far",
        watching.MEANING,
        "the largest class alone (a) would get mean IU 25.0 %, pixel accuracy 50.0 %",
        "step 200: mean IU 25.0 %, pixel accuracy 50.0 %; best 100.0 % at step 100, "
        "not risen for 1 evaluation",
        "step 300: mean IU 25.0 %, pixel accuracy 50.0 %; best 100.0 % at step 100, "
        "not risen for 2 evaluations",
    ]


def test_of_several_heads_each_score_has_its_name() -> None:
    counts = np.array([[10, 0], [0, 10]])
    heads = {name: _head_scores(counts, ["a", "b"], "") for name in ("things", "shapes")}
    said = told(replace(report(100), validation=Validation(100, heads), so_far=State(best=1.0)))
    score = "mean IU 100.0 %, pixel accuracy 100.0 %"
    alone = "the largest class alone (a) would get mean IU 25.0 %, pixel accuracy 50.0 %"
    assert said[:4] == [
        f"step 100: things: {score}; shapes: {score}; the best so far",
        watching.MEANING,
        f"things: {alone}",
        f"shapes: {alone}",
    ]
    assert watching.scored(Validation(7, heads)) == f"step 7: things: {score}; shapes: {score}"
