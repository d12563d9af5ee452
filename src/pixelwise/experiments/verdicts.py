"""Whether a claim holds: by paired intervals of what its arms scored, never by eye."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from pixelwise.experiments.claims import Claim, Comparison
from pixelwise.metrics.bootstrap import Difference, paired_runs
from pixelwise.metrics.scores import Tallies, scores_of
from pixelwise.settings import as_dict

Verdict = Literal["holds", "does not hold here", "undecided"]
Record = Mapping[str, Any]
"""A run of an arm: ``seed``, ``step_seconds``, and what ``judging.judge`` counted."""
DRAWS, LEVEL = 1000, 0.95


def verdict(low: float, high: float, comparison: Comparison) -> Verdict:
    """By where all of an interval lies: within what is expected, outside of it, or neither."""
    margin = comparison.margin
    bottom = {"more": margin, "alike": -margin, "no_more": -math.inf}[comparison.expect]
    top = math.inf if comparison.expect == "more" else margin
    if bottom < low and high < top:
        return "holds"
    return "does not hold here" if high <= bottom or low >= top else "undecided"


def of_all(verdicts: Sequence[Verdict]) -> Verdict:
    """Of a claim: one comparison that fails refutes it, and all must hold."""
    if "does not hold here" in verdicts:
        return "does not hold here"
    return "holds" if set(verdicts) == {"holds"} else "undecided"


def difference(
    comparison: Comparison, first: Sequence[Record], second: Sequence[Record]
) -> Difference:
    """First minus second over the runs of both, in the order of their seeds; of times the ratio
    minus 1.
    """
    if comparison.measure == "seconds":
        return _slower(
            *(np.concatenate([r["step_seconds"] for r in runs]) for runs in (first, second))
        )
    statistic = "pixel_accuracy" if comparison.measure == "pixel_accuracy" else "mean_iu"
    left, right = (
        [counted(r, foreground=comparison.measure == "foreground") for r in runs]
        for runs in (first, second)
    )
    return paired_runs(left, right, statistic=statistic, draws=DRAWS, level=LEVEL)


def _slower(first: Any, second: Any) -> Difference:
    """How much longer a step takes: medians over stretches of some steps, which are redrawn."""
    rng = np.random.default_rng(0)
    medians = [
        np.median(times[rng.integers(len(times), size=(DRAWS, len(times)))], axis=1)
        for times in (first, second)
    ]
    ratios = medians[0] / medians[1] - 1
    low, high = np.quantile(ratios, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = float(np.median(first) / np.median(second) - 1)
    return Difference(value, float(low), float(high), float((ratios > 0).mean()), LEVEL)


def counted(record: Record, *, foreground: bool = False) -> Tallies:
    """(N, K) tallies of a run; of the foreground without the class ``background``."""
    tally = Tallies(*(np.asarray(record[name], np.int64) for name in Tallies._fields))
    if foreground:
        others = [i for i, name in enumerate(record["classes"]) if name != "background"]
        tally = Tallies(*(part[:, others] for part in tally))
    return tally


def result(name: str, claim: Claim, arms: Mapping[str, Sequence[Record]]) -> dict[str, Any]:
    """What a claim came to, as plain data.

    Args:
        name: of the claim.
        claim: which arms are compared.
        arms: of each arm its runs, of the same seeds in the same order.
    """
    compared = []
    for c in claim.compare:
        apart = difference(c, arms[c.first], arms[c.second])
        found = verdict(apart.low, apart.high, c)
        compared.append({**as_dict(c), "margin": c.margin, **asdict(apart), "verdict": found})
    shown = {arm: _arm(claim, arm, runs) for arm, runs in arms.items()}
    return {
        "claim": name,
        "sentence": claim.sentence,
        "place": claim.place,
        "verdict": of_all([c["verdict"] for c in compared]),
        "reason": "",
        "compared": compared,
        "arms": shown,
    }


def _arm(claim: Claim, name: str, runs: Sequence[Record]) -> dict[str, Any]:
    arm = claim.arms[name]
    usual = as_dict(type(arm.look)())
    look = {k: v for k, v in as_dict(arm.look).items() if v != usual[k]}
    measures = {c.measure for c in claim.compare}
    of_runs = []
    for r in runs:
        scores = scores_of(counted(r).added())
        own: dict[str, Any] = {"seed": r["seed"], "steps": r["steps"]}
        own |= {k: round(getattr(scores, k), 4) for k in ("mean_iu", "pixel_accuracy")}
        if "foreground" in measures:
            own["foreground"] = round(scores_of(counted(r, foreground=True).added()).mean_iu, 4)
        own["step_seconds"] = round(float(np.median(r["step_seconds"])), 4)
        of_runs.append(own)
    facts = {"train": dict(arm.train), "look": look, "runs": of_runs}
    return {**facts, "curve": list(runs[0]["curve"])} if claim.curves else facts
