"""Which rates are tried, and what a trial says, on losses given by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pixelwise.errors import NumericalError
from pixelwise.training.line_search import LineSearch, Trial, _decades, _searched, _steps, _Trials
from pixelwise.training.recipe import Loss, Optim, Recipe

Curve = Callable[[float, int], float]
"""Loss by rate and step."""


def trials(curve: Curve, steps: int = 4, recipe: Recipe | None = None) -> tuple[_Trials, list]:
    """Trials of a net of one weight, which every step moves, and the steps that were made."""
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(net.weight)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    optimizer.param_groups[0]["rate"] = 2.0
    made: list[tuple[float, int, float, list]] = []

    def run(step: int, batches: list) -> dict[str, float]:
        lr = optimizer.param_groups[0]["lr"] / 2
        made.append((lr, step, net.weight.item(), batches))
        assert (step == 0) == (not optimizer.state)
        optimizer.state[net.weight] = {"step": step}
        torch.nn.init.constant_(net.weight, step + 2.0)
        return {"labels": curve(lr, step)}

    whole: Any = SimpleNamespace(
        stepper=SimpleNamespace(net=net, optimizer=optimizer, run=run),
        recipe=recipe or Recipe(optim=Optim("sgd", momentum=0.5), accumulate=2),
        feed=SimpleNamespace(batch=lambda step, micro: (step, micro)),
        pixels=1000,
    )
    return _Trials(whole, steps, lambda: None, lambda _: None), made


@pytest.mark.parametrize(
    ("losses", "loss", "steps"),
    [
        ((2, 1, 3, 5), 4, 4),  # the mean of the second half
        ((2, 8, 8, 8), 8, 4),  # four times the first is not yet without end
        ((2, 8.01, 1, 1), None, 2),
        ((2, 1, 1, 8.01), None, 4),
        ((2, 1, math.nan, 1), None, 2),  # which a step refuses
        ((4, 3, 2, 1, 0), 1, 5),
    ],
)
def test_a_trial_is_the_mean_of_its_second_half_or_grew(
    losses: tuple[float, ...], loss: float | None, steps: int
) -> None:
    def curve(lr: float, step: int) -> float:
        if math.isnan(losses[step]):
            raise NumericalError("N001", "not finite", "")
        return losses[step]

    tried, made = trials(curve, len(losses))
    assert tried(0.25) == tried.made[0.25] == Trial(0.25, loss)
    assert [step for _, step, *_ in made][:steps] == list(range(steps))
    assert len(made) == steps + any(map(math.isnan, losses))


def test_every_trial_begins_with_the_first_weights_and_the_same_batches() -> None:
    tried, made = trials(lambda lr, step: 1.0, steps=2)
    tried(0.5)
    tried(0.125)
    assert [(lr, weight) for lr, _, weight, _ in made] == [
        (0.5, 1.0), (0.5, 2.0), (0.125, 1.0), (0.125, 2.0),
    ]  # fmt: skip
    assert [batches for *_, batches in made] == [[(0, 0), (0, 1)], [(1, 0), (1, 1)]] * 2


def valley(lr: float, step: int) -> float:
    """Lowest at a rate of 10^-2.7; from a tenth on it grows."""
    return 1 + (math.log10(lr) + 2.7) ** 2 if lr < 0.05 else 10.0 ** (step + 1)


def powers(made: list) -> list[float]:
    return [round(math.log10(lr), 3) for lr, step, *_ in made if step == 0]


def test_decades_go_up_until_two_grow_then_finer_steps_stand_beside_the_best() -> None:
    tried, made = trials(valley)
    found = _searched(tried)
    decades = [-7, -6, -5, -4, -3, -2, -1, 0]
    assert powers(made) == [*decades, -3.5, -2.5, -2.75, -2.25]
    assert [t.lr for t in found.trials] == sorted(tried.made)
    assert found.steps == 4
    assert found.unmoved == pytest.approx(1 + 4.3**2)
    assert found.proposal == pytest.approx(1.8e-3)  # 10 ** -2.75

    tried, made = trials(lambda lr, step: valley(lr * 1000, step))
    _searched(tried)
    assert powers(made)[:6] == [-7, -6, -5, -4, -3, -6.5]  # 1e-4 and 1e-3 grow, higher ones too

    def broken(lr: float, step: int) -> float:
        return 10.0 ** (step + 1) if math.isclose(lr, 1e-5) else valley(lr, step)

    tried, made = trials(broken)
    _searched(tried)
    assert powers(made)[:8] == decades  # one alone that grows ends nothing


def test_where_all_grow_the_search_stands_beside_the_lowest_and_proposes_nothing() -> None:
    tried, made = trials(lambda lr, step: 10.0 ** (step + 1))
    found = _searched(tried)
    assert powers(made) == [-7, -6, -7.5, -6.5, -7.25, -6.75]
    assert found.unmoved == math.inf
    assert found.proposal is None


@pytest.mark.parametrize(
    ("recipe", "decades"),
    [
        # 5e-8 and 10 on the mean, by 1 / (1 - 0.5): 2.5e-8 to 5.
        (Recipe(optim=Optim("sgd", momentum=0.5)), (-7, 0)),
        (Recipe(optim=Optim("sgd", momentum=0.75)), (-7, 0)),  # 1.25e-8 to 2.5
        (Recipe(optim=Optim("sgd", momentum=0.96875)), (-8, -1)),  # 1.6e-9 to 0.31
        # Of the sum over 1,000 px: 2.5e-11 to 5e-3.
        (Recipe(optim=Optim("sgd", lr=1e-6, momentum=0.5), loss=Loss("sum")), (-10, -3)),
        (Recipe(), (-7, -1)),  # AdamW: 1e-7 to 0.1, whatever the reduction
        (Recipe(loss=Loss("sum")), (-7, -1)),
    ],
)
def test_decades_are_those_between_rates_that_do_nothing_and_that_explode(
    recipe: Recipe, decades: tuple[int, int]
) -> None:
    tried, _ = trials(valley, recipe=recipe.replace(force=True))
    assert _decades(tried.run) == decades


@pytest.mark.parametrize(("momentum", "steps"), [(0, 20), (0.9, 20), (0.95, 40), (0.99, 200)])
def test_a_trial_lasts_two_memories_and_twenty_steps_at_least(momentum: float, steps: int) -> None:
    assert _steps(Recipe(optim=Optim("sgd", momentum=momentum))) == steps


def test_a_loss_that_moved_by_rounding_alone_proposes_nothing() -> None:
    for best, proposal in ((1 - 0.9e-6, None), (1 - 1.1e-6, 0.1)):
        made = LineSearch((Trial(0.01, 1.0), Trial(0.1, best)), 4, 1.0)
        assert made.proposal == proposal
    made = LineSearch((Trial(0.0123, 0.5), Trial(0.1, None), Trial(1.0, None)), 4, 1.0)
    assert made.proposal == 0.0062
