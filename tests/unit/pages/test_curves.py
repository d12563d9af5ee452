"""Curves of runs, of rates and of benchmarks lie where their numbers say."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from plot_reading import Drawn, kind, near, read

from page_tree import page_tree
from pixelwise.pages.bench import _figures as bench_figures
from pixelwise.pages.curves import Figure, curves
from pixelwise.pages.plots import (
    HEIGHT,
    smooth,
)
from pixelwise.pages.rates import figure as rates_figure
from pixelwise.pages.runs import _figures as runs_figures


def figures_of(events: Sequence[dict]) -> dict[str, list[Drawn]]:
    """By title, by step and by time."""
    made = curves(events)
    assert made is not None
    found: dict[str, list[Drawn]] = {}
    for figure in page_tree(made).all("figure"):
        (svg,) = figure.all("svg")
        found.setdefault(figure.all("b")[0].text, []).append(Drawn(svg))
    return found


def steps(losses: Sequence[float], **more: Sequence[float]) -> list[dict]:
    return [
        {"event": "step", "step": i, "seconds": 2.0 * i, "loss": loss}
        | {key: values[i - 1] for key, values in more.items()}
        for i, loss in enumerate(losses, 1)
    ]


def test_a_loss_is_smoothed_over_a_fortieth_of_the_run() -> None:
    """Of 120 steps over three; one that is shorter than 40 over one."""
    losses = [3 + math.sin(i) for i in range(120)]
    by_step, by_time = figures_of(steps(losses))["Loss"]
    even = smooth(losses, 3.0)
    near(by_step.points("main"), list(zip(range(1, 121), even, strict=True)))
    near(by_step.points("raw"), list(zip(range(1, 121), losses, strict=True)))
    minutes = [i / 30 for i in range(1, 121)]  # 240 seconds
    near(by_time.points("main"), list(zip(minutes, even, strict=True)))
    short = figures_of(steps(losses[:20]))["Loss"][0]
    near(short.points("main"), list(zip(range(1, 21), smooth(losses[:20], 1.0), strict=True)))


def test_a_few_wild_losses_lie_above_the_axis() -> None:
    """One of 101 may; the axis ends above the curve of the others as it is smoothed."""
    losses = [1.0] * 100 + [1e6]
    wild = figures_of(steps([1e6, *losses[:100], 1.0]))["Loss"][0]
    assert max(wild.up) >= smooth([1e6, 1.0], 102 / 40)[0]  # the start is smoothed over nothing
    late = figures_of(steps([*[1.0] * 60, 9.0, *[1.0] * 39]))["Loss"][0]
    highest = max(smooth([*[1.0] * 60, 9.0, *[1.0] * 39], 100 / 40))
    assert highest < max(late.up) < 9
    often = figures_of(steps([*[1.0] * 60, 9.0, 1.0, 9.0, 1.0, 9.0, *[1.0] * 35]))["Loss"][0]
    assert max(often.up) >= 9


def test_the_last_loss_of_validation_is_within_the_axis() -> None:
    events = steps([1.0, 1.0])
    for step, loss in ((1, 50.0), (2, 7.0)):
        events.append({"event": "validate", "step": step, "mean_iu": 0.5, "loss": loss})
    drawn = figures_of(events)["Loss"][0]
    assert 7 <= max(drawn.up) < 50
    assert drawn.points("second")[1] == pytest.approx((2, 7), rel=0.004)


def test_losses_below_nothing_are_drawn_whole() -> None:
    events = steps([-2.0, -2.0, -2.0])
    near(figures_of(events)["Loss"][0].points("raw"), [(1, -2.0), (2, -2.0), (3, -2.0)])
    (drawn, *_) = runs_figures({"a": events}, lambda e: float(e["step"]), "steps")
    near(Drawn(drawn.drawing).points("run0"), [(1, -2.0), (2, -2.0), (3, -2.0)])


@pytest.mark.parametrize(("explained", "lowest"), [(-0.5, -0.5), (-30.0, -1.0), (0.25, 0.0)])
def test_what_explains_less_than_nothing_is_drawn_to_minus_one(
    explained: float, lowest: float
) -> None:
    events = [
        {"event": "validate", "step": s, "seconds": s, "explained": e, "delta_1": 0.5, "rmse": 1.0}
        for s, e in ((1, explained), (2, 0.5))
    ]
    (drawn, _) = figures_of(events)["Validation"]
    assert drawn.points("main")[0] == pytest.approx((1, max(-1, explained)), abs=0.01)
    assert drawn.points("second") == [pytest.approx((s, 0.5), abs=0.01) for s in (1, 2)]
    assert min(drawn.up) == pytest.approx(lowest, abs=0.21)


def test_rates_are_drawn_from_nothing() -> None:
    by_step = figures_of(steps([1.0, 1.0], lr=[0.0, 4e-5]))["Learning rate"][0]
    near(by_step.points("main"), [(1, 0.0), (2, 4e-5)])
    assert min(by_step.up) == 0
    nothing = figures_of(steps([1.0, 1.0], lr=[0.0, 0.0]))["Learning rate"][0]
    near(nothing.points("main"), [(1, 0.0), (2, 0.0)], 0.001)


def test_an_event_without_a_time_lies_at_the_begin() -> None:
    checks = [{"event": "validate", "step": 5, "mean_iu": 0.25}]
    checks.append({"event": "validate", "step": 9, "mean_iu": 0.5, "seconds": 100.0})
    near(figures_of(checks)["Validation"][1].points("main"), [(0, 0.25), (100, 0.5)])


def test_each_head_has_its_own_loss_and_validation() -> None:
    events = steps([5.0, 4.0])
    for event, (a, b) in zip(events, ((2.0, 3.0), (1.0, 3.0)), strict=True):
        event["head_losses"] = {"a": a, "b": b}
    heads = {"a": {"mean_iu": 0.25}, "b": {"mean_iu": 0.75}}
    events.append({"event": "validate", "step": 2, "mean_iu": 0.25, "heads": heads})
    drawn = figures_of(events)
    names = ["Loss", "Loss: a", "Loss: b", "Validation: a", "Validation: b"]
    assert list(drawn) == names
    near(drawn["Loss"][0].points("raw"), [(1, 5.0), (2, 4.0)])
    near(drawn["Loss: a"][0].points("raw"), [(1, 2.0), (2, 1.0)])
    near(drawn["Loss: b"][0].points("raw"), [(1, 3.0), (2, 3.0)])
    assert drawn["Validation: a"][0].mark() == (
        *(pytest.approx(2, abs=0.01), pytest.approx(0.25, abs=0.001)), "best 25.0 %"
    )  # fmt: skip


def test_curves_of_several_runs_by_hand() -> None:
    """Each over its own fortieth; best is the lowest loss at the end, and the highest score."""
    one, other = [3 + math.sin(i) for i in range(120)], [2.0, 1.0]
    checks = [{"event": "validate", "step": s, "mean_iu": v} for s, v in ((1, 0.75), (2, 0.5))]
    events = {"one": steps(one), "other": [*steps(other), *checks], "none": []}
    loss, score = runs_figures(events, lambda e: float(e["step"]), "steps")
    drawn = Drawn(loss.drawing)
    near(drawn.points("run0"), list(zip(range(1, 121), smooth(one, 3.0), strict=True)))
    near(drawn.points("run1"), [(1, 2.0), (2, smooth(other, 1.0)[1])], 0.02)
    assert loss.outcome == f"other: {smooth(other, 1.0)[1]:.3g} at the end"
    assert (score.title, score.outcome) == ("mean IU", "other: 75.0 %")
    near(Drawn(score.drawing).points("run1"), [(1, 0.75), (2, 0.5)])
    assert max(Drawn(score.drawing).up) == pytest.approx(0.8)


def rates(unmoved: float, proposal: float | None, *losses: float | None) -> Figure:
    trials = [{"lr": 10.0**i, "loss": loss} for i, loss in enumerate(losses, start=-3)]
    return rates_figure({"trials": trials, "unmoved": unmoved, "proposal": proposal})


def test_losses_of_rates_by_hand() -> None:
    """A tenth above what is learned of nothing there is room, and a tenth of the whole around."""
    made = rates(2.0, 0.02, 1.9, 1.0, None)
    drawn = Drawn(made.drawing, x=math.log10)
    near(drawn.points("main"), [(-3, 1.9), (-2, 1.0), (-1, 2.2 + 0.12)])
    near(drawn.points("raw"), [(-3, 2.0), (-1, 2.0)])
    x, y, word = drawn.mark()
    assert (x, y, word) == (pytest.approx(math.log10(0.02), 0.01), pytest.approx(1.0, 0.01), "0.02")
    assert read(drawn.up, HEIGHT - 36) == pytest.approx(1.0 - 0.12, abs=0.01)


@pytest.mark.parametrize(
    ("unmoved", "losses", "start", "top"),
    [
        (math.inf, (1.0, 3.0, None), 3.0, 3.3 + 0.23),  # the highest that is known in its place
        (math.inf, (None, None, None), 1.0, 1.1 + 0.01),
        (0.0, (0.0, 0.0, 0.0), 0.0, 1.0),
    ],
)
def test_searches_that_found_little_are_drawn(
    unmoved: float, losses: Sequence[float | None], start: float, top: float
) -> None:
    made = rates(unmoved, None, *losses)
    drawn = Drawn(made.drawing, x=math.log10)
    near(drawn.points("raw"), [(-3, start), (-1, start)], 0.01)
    shown = [top if loss is None else loss for loss in losses]
    near(drawn.points("main"), list(zip((-3, -2, -1), shown, strict=True)), 0.01)
    assert not [c for c in drawn.svg.all("circle") if kind(c) == "mark"]
    assert made.outcome == "no rate lowers the loss"


def test_benchmarks_are_lines_of_logarithms_with_words_at_powers_of_two() -> None:
    rows = [
        {"way": way, "threads": 2**power, "ms": ms * 3.0**power, "peak_mb": mb}
        for power in (0, 1, 2)
        for way, ms, mb in (("fp32", 10.0, 300), ("modules", 70.0, 0))
    ]
    time, memory = bench_figures({"benchmark": "threads", "rows": rows})
    drawn = Drawn(time.drawing, x=math.log2, y=math.log2)
    for way, ms in (("main", 10.0), ("second", 70.0)):
        near(drawn.points(way), [(p, math.log2(ms * 3.0**p)) for p in (0, 1, 2)])
    assert all(float(v).is_integer() for v in (*drawn.up, *drawn.along))
    assert [t.text for t in drawn.svg.all("title")][1:3] == [
        *("fp32 10 at 1 threads", "fp32 30 at 2 threads")
    ]
    low = Drawn(memory.drawing, x=math.log2, y=math.log2).points("second")
    near(low, [(p, math.log2(0.1)) for p in (0, 1, 2)])  # below 1: what is written as 0
    assert (time.title, memory.title, time.outcome) == ("Time, ms", "Peak memory, MB", "threads")
    level = bench_figures({"benchmark": "threads", "rows": [rows[0]]})[0]
    assert set(Drawn(level.drawing, x=math.log2).up) == {8.0, 16.0}
