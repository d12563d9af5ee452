"""What a loss may be set to, which settings contradict, and what follows from them."""

from __future__ import annotations

from typing import Any

import pytest

from pixelwise.errors import UsageError
from pixelwise.losses.of_classes import REGIONS
from pixelwise.losses.settings import Loss

FACTORS = ("cross_entropy", "focal", "border", "jaccard", "dice", "lovasz", "boundary")


def refusal(**settings: Any) -> str:
    with pytest.raises(UsageError) as caught:
        Loss(**settings)
    return str(caught.value)


def test_numbers_are_taken_to_the_ends_of_their_ranges_and_no_further() -> None:
    for name in FACTORS:
        beside = {"dice": 1} if name != "dice" else {"jaccard": 1}
        assert getattr(Loss(**{**beside, name: 0}), name) == 0
        assert getattr(Loss(**{name: 1e6}), name) == 1e6
        assert f"loss.{name} is -0.001, expected at least 0" in refusal(**{name: -0.001})
    assert [Loss(keep=share).keep for share in (0.001, 1)] == [0.001, 1]
    assert [Loss(hard=share).hard for share in (1e-6, 1)] == [1e-6, 1]
    assert [Loss(hard=0.5, hard_below=p).hard_below for p in (0, 1)] == [0, 1]
    for name, outside in (("keep", (0.0009, 1.001)), ("hard", (0, 1.001)), ("hard_below", (-1, 2))):
        for value in outside:
            assert f"loss.{name} is {value}" in refusal(**{name: value})
    for name in ("head_weights", "auxiliary"):
        assert getattr(Loss(**{name: {"a": 0}}), name) == {"a": 0}
        assert f"loss.{name}" in refusal(**{name: {"a": -0.5}})


def test_as_published_it_is_the_mean_of_all_pixels_cross_entropy() -> None:
    loss = Loss()
    assert (loss.reduction, loss.class_weights, loss.cross_entropy) == ("mean", "none", 1)
    assert (loss.focal, loss.border, loss.hard, loss.hard_below) == (0, 0, 1, 0)
    assert (loss.regions, loss.keep, loss.sample, loss.numbers) == ({}, 1, "cell", "l1")
    assert (loss.head_weights, loss.auxiliary) == ({}, {})


def test_losses_of_regions_are_added_to_a_mean_alone() -> None:
    for name in REGIONS:
        assert Loss(**{name: 0.5}).regions == {name: 0.5}
        for reduction in ("image", "sum"):
            assert f"loss.{name} is added to a mean" in refusal(reduction=reduction, **{name: 0.5})
    both = refusal(reduction="sum", dice=1, lovasz=1)
    assert "loss.dice" in both
    assert "loss.lovasz" in both
    assert Loss("sum").regions == {}


def test_without_cross_entropy_something_else_has_to_be_learned() -> None:
    assert "nothing would be learned" in refusal(cross_entropy=0)
    assert Loss(cross_entropy=0, dice=1).regions == {"dice": 1}
    for of_pixels in (
        *({"focal": 2.0}, {"border": 1.0}, {"hard": 0.5}, {"class_weights": "sqrt"}),
        {"class_weights": "inverse"},
    ):
        told = refusal(cross_entropy=0, dice=1, **of_pixels)
        assert "expected loss.cross_entropy above 0" in told
        assert "nothing would be learned" not in told
        assert Loss(cross_entropy=0.1, dice=1, **of_pixels).cross_entropy == 0.1


def test_a_probability_below_which_all_is_hard_needs_a_share() -> None:
    assert "expected loss.hard below 1" in refusal(hard_below=0.1)
    assert Loss(hard=0.9, hard_below=0.1).hard_below == 0.1


def test_sums_by_class_say_all_unless_single_pixels_or_their_order_count() -> None:
    assert Loss().of_sums
    assert Loss("sum", "median", cross_entropy=0.5).of_sums
    assert Loss(jaccard=1, dice=0.5).of_sums
    for more in (
        *({"focal": 0.5}, {"border": 0.5}, {"hard": 0.5}, {"lovasz": 1}, {"boundary": 1}),
        *({"focal": 0.5, "dice": 1}, {"jaccard": 1, "lovasz": 1}),
    ):
        assert not Loss(**more).of_sums, more


def test_a_total_weighs_heads_and_their_auxiliaries() -> None:
    """The auxiliary of a head counts by its layer's factor times that of the head."""
    loss = Loss(head_weights={"far": 0.5, "off": 0}, auxiliary={"pool3": 0.4})
    factors = {"far": 0.5, "off": 0, "sem": 1, "far at pool3": 0.2, "sem at pool3": 0.4}
    assert {of: loss.factor(of) for of in factors} == pytest.approx(factors)
    losses = {"far": 2.0, "off": 7.0, "sem": 3.0, "far at pool3": 10.0, "sem at pool3": 5.0}
    assert loss.total(losses) == pytest.approx(0.5 * 2 + 3 + 0.2 * 10 + 0.4 * 5)
    assert loss.total({}) == 0
