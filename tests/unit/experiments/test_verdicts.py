"""Verdicts of claims, by hand."""

from __future__ import annotations

import pytest

from pixelwise.experiments.claim_pages import page, plots
from pixelwise.experiments.claims import Claim, Comparison
from pixelwise.experiments.verdicts import difference, of_all, result, verdict
from pixelwise.settings import read

INTERVALS = [(0.01, 0.05), (-0.01, 0.05), (-0.05, -0.01), (0.03, 0.05), (-0.05, -0.03)]


@pytest.mark.parametrize(
    ("expect", "verdicts"),
    [
        ("more", "holds, undecided, does not hold here, holds, does not hold here"),
        ("alike", "undecided, undecided, undecided, does not hold here, does not hold here"),
        ("no_more", "undecided, undecided, holds, does not hold here, holds"),
    ],
)
def test_verdicts_by_hand(expect: str, verdicts: str) -> None:
    """The margin of scores is two points."""
    compared = Comparison("a", "b", expect=expect)
    assert ", ".join(verdict(low, high, compared) for low, high in INTERVALS) == verdicts
    assert verdict(-0.019, 0.019, Comparison("a", "b", expect="alike")) == "holds"
    # Times differ by a quarter before anything is said of them.
    slower = Comparison("a", "b", measure="seconds", expect="no_more")
    assert verdict(-0.1, 0.2, slower) == "holds"


def test_one_comparison_that_fails_refutes_a_claim_and_all_must_hold() -> None:
    assert of_all(["holds", "holds"]) == "holds"
    assert of_all(["holds", "undecided"]) == "undecided"
    assert of_all(["undecided", "does not hold here"]) == "does not hold here"


def record(seed: int, hits: list[list[int]], seconds: list[float]) -> dict:
    truth = [[10, 10, 10]] * len(hits)
    return {
        "classes": ["background", "cat", "dog"],
        "hits": hits,
        "truth": truth,
        "guess": truth,
        "seed": seed,
        "steps": 30,
        "step_seconds": seconds,
        "curve": [[10, 2.0], [20, 1.0], [30, 0.5]],
    }


CLAIM = read(
    Claim,
    {
        "sentence": "Cats <b>help</b>.",
        "place": "nowhere",
        "curves": True,
        "arms": {"with": {}, "without": {"train": {"seed": 3}, "look": {"mask": "shape"}}},
        "compare": [
            {"first": "with", "second": "without", "measure": "foreground"},
            {"first": "with", "second": "without", "measure": "seconds"},
        ],
    },
)


def test_a_result_by_hand() -> None:
    """IU of a class with h hits of 10 and 10 guesses is h / (20 - h)."""
    better = [record(0, [[5, 10, 10]] * 2, [0.2, 0.3, 0.4])]
    worse = [record(0, [[10, 5, 5]] * 2, [0.2, 0.2, 0.2])]
    made = result("cats", CLAIM, {"with": better, "without": worse})
    scores, times = made["compared"]
    assert scores["value"] == pytest.approx(1 - 5 / 15)  # cat and dog; background does not count
    assert scores["low"] == scores["high"] == pytest.approx(2 / 3)
    assert scores["verdict"] == "holds"
    assert times["value"] == pytest.approx(0.3 / 0.2 - 1)
    assert (times["low"], times["high"]) == (pytest.approx(0.0), pytest.approx(1.0))
    assert times["verdict"] == "undecided" == made["verdict"]
    run = made["arms"]["with"]["runs"][0]
    assert run["mean_iu"] == pytest.approx((1 / 3 + 2) / 3, abs=1e-4)
    assert run["foreground"] == 1.0
    assert made["arms"]["without"]["look"] == {"mask": "shape"}


def test_the_page_and_its_plots_hold_every_comparison() -> None:
    better, worse = ([record(0, [[5, n, n]] * 2, [0.2] * 3)] for n in (9, 5))
    made = result("cats", CLAIM, {"with": better, "without": worse})
    facts = {"ground": "photos", "trained_on": "fit", "judged_on": "held", "pictures": 2}
    made |= {"data": facts, "length": 30, "seeds": [0]}
    text = page([made], "images/")
    assert "Trained on `fit` of the photos, 30 steps, judged on the 2 of `held`, 1 seed." in text
    assert "| with | without | foreground | more | +48.5 | +48.5 to +48.5 | holds |" in text
    assert "![Losses on the way](images/claims-cats.svg)" in text
    drawn = plots([made])
    assert set(drawn) == {"claims.svg", "claims-cats.svg"}
    assert drawn["claims.svg"].count("<circle") == 1, "times are no points of mean IU"
    assert drawn["claims-cats.svg"].count("<polyline") == 4


def test_times_are_of_all_runs_together() -> None:
    compared = Comparison("a", "b", measure="seconds")
    slow = [record(s, [[1, 1, 1]], [0.4 + s / 10]) for s in (0, 1)]
    fast = [record(s, [[1, 1, 1]], [0.3]) for s in (0, 1)]
    assert difference(compared, slow, fast).value == pytest.approx(0.45 / 0.3 - 1)
