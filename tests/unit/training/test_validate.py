"""What an evaluation within a run says: scores by head, and whether a net has collapsed."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.metrics.scores import Scores
from pixelwise.training.validate import HeadScores, Validation, _head_scores, averaged

CLASSES = ["wall", "floor", "door"]


def collapse(counts: list[list[int]], classes: list[str] = CLASSES) -> str:
    return _head_scores(np.array(counts), classes, "step 7").collapse


def test_a_net_that_gives_all_but_a_trace_to_one_class_has_collapsed() -> None:
    """996 of 1,000 px to the floor, which 400 are; 995 are not yet a collapse."""
    said = collapse([[2, 498, 0], [0, 400, 0], [2, 98, 0]])
    assert said.startswith(
        "step 7: the net gives 99.6 % of all pixels to `floor` (40.0 % of the truth): it has"
    )
    assert collapse([[3, 497, 0], [0, 400, 0], [2, 98, 0]]) == ""


def test_where_the_truth_is_one_class_nothing_has_collapsed() -> None:
    """995 of 1,000 px are wall in truth."""
    assert collapse([[995, 0, 0], [5, 0, 0], [0, 0, 0]]) == ""
    assert collapse([[994, 0, 0], [5, 0, 0], [1, 0, 0]])
    assert collapse([[1000]], ["wall"]) == ""
    assert collapse([[0, 0, 0]] * 3) == ""  # nothing is known


def test_scores_of_a_head_by_hand() -> None:
    """Of 100 px 60 are wall, 30 of them given so; 40 floor, 20 given so; a door was never given."""
    head = _head_scores(np.array([[30, 30, 0], [20, 20, 0], [0, 0, 0]]), CLASSES, "")
    assert head.facts["guess_share"] == [0.5, 0.5, 0]
    assert head.facts["per_class_iu"][:2] == pytest.approx([30 / 80, 20 / 70])
    assert head.as_dict()["pixel_accuracy"] == 0.5
    assert head.as_dict()["guess_share"] == [0.5, 0.5, 0]
    assert "the largest class alone (wall)" in head.beside
    empty = _head_scores(np.zeros((3, 3), int), CLASSES, "")
    assert empty.facts["guess_share"] == [0, 0, 0]


def head(mean_iu: float, collapse: str = "") -> HeadScores:
    return HeadScores(Scores(0.1, 0.2, mean_iu, 0.4), "", {"guess_share": [1.0]}, collapse)


def test_the_first_head_leads_and_the_others_stand_beside_it() -> None:
    both = Validation(9, {"things": head(0.3), "shapes": head(0.6, "one class")})
    assert both.scores.lead == 0.3
    assert both.collapse == "one class"
    assert both.as_dict()["step"] == 9
    assert both.as_dict()["guess_share"] == [1]
    kept = both.as_scores()
    assert (kept["mean_iu"], kept["heads"]["shapes"]["mean_iu"]) == (0.3, 0.6)
    assert [*both.as_dict()["heads"]] == [*kept["heads"]] == ["things", "shapes"]
    assert "guess_share" not in kept["heads"]["things"]
    alone = Validation(9, {"labels": head(0.3)})
    assert alone.collapse == ""
    assert "heads" not in alone.as_dict() | alone.as_scores()


def test_the_average_stands_in_place_of_the_weights_within_the_block_alone() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(net.weight, 1.0)
    kept = {"weight": torch.full((1, 1), 5.0)}
    stepper: Any = SimpleNamespace(net=net, average=object(), kept=kept)
    with suppress(KeyError), averaged(stepper):  # and where an evaluation fails
        assert net.weight.item() == 5
        raise KeyError
    assert net.weight.item() == 1
    stepper.average = None
    with averaged(stepper):
        assert net.weight.item() == 1
