"""Groups, schedules, the guard on rate and reduction, and Caffe's update by hand."""

import pytest
import torch

from pixelwise.engine.build import build
from pixelwise.errors import UsageError
from pixelwise.training.optim import (
    check_rate,
    groups,
    layer_rate,
    learning_rate,
    optimizer,
    refuse_absurd_rate,
    set_rate,
)
from pixelwise.training.recipe import Loss, Optim, Recipe, Schedule

P = 187_500  # pixels of a 500x375 picture


def test_biases_learn_twice_as_fast_and_do_not_decay() -> None:
    net = build("fcn32s-vgg16", classes=3, width=1 / 32)
    plan = groups(net, Recipe(optim=Optim(weight_decay=5e-4)))
    told = {name: (g.rate, g.decay) for g in plan for name in g.names}
    assert told["conv1_1.weight"] == (1, 5e-4)
    assert told["conv1_1.bias"] == (2, 0)
    assert told["score_fr.bias"] == (2, 0)
    assert set(told) == {name for name, _ in net.named_parameters()}


def test_batch_norm_does_not_decay() -> None:
    plan = groups(build("fcn8s-tiny", classes=3), Recipe(optim=Optim(weight_decay=1e-3)))
    told = {name: (g.rate, g.decay) for g in plan for name in g.names}
    assert told["bn1_1.weight"] == (1, 0)
    assert told["bn1_1.bias"] == (2, 0)


def test_the_longest_match_decides_a_layers_rate() -> None:
    rates = {"conv*": 0.1, "conv5*": 0.5, "conv5_3": 0.7, "*": 3.0}
    names = ("conv1_1", "conv5_1", "conv5_3", "fc6")
    assert [layer_rate(n, rates) for n in names] == [0.1, 0.5, 0.7, 3.0]


def test_a_layers_own_name_goes_before_patterns_of_it() -> None:
    assert layer_rate("conv1", {"conv1*": 0.1, "conv1": 0.2}) == 0.2
    assert layer_rate("conv10", {"conv1*": 0.1, "conv1": 0.2}) == 0.1


@pytest.mark.parametrize("pattern", ["score", "score_fr.weight", "fc7", "relu1"])
def test_rates_for_layers_that_are_not_there_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match=f"no layer with parameters in fcn8s-tiny .*`{pattern}`"):
        groups(build("fcn8s-tiny", classes=2), Recipe(optim=Optim(rates={pattern: 2.0})))


def test_last_layer_only_freezes_the_trunk() -> None:
    net = build("fcn8s-vgg16", classes=3, width=1 / 32)
    optimizer(net, Recipe(weights="x", freeze="trunk"))
    trained = {n for n, p in net.named_parameters() if p.requires_grad}
    layers = ("score_fr", "score_pool4", "score_pool3")
    assert trained == {f"{layer}.{a}" for layer in layers for a in ("weight", "bias")}


def test_nothing_left_to_train_is_refused() -> None:
    with pytest.raises(UsageError, match="nothing is left to train"):
        groups(build("fcn8s-tiny", classes=2), Recipe(optim=Optim(rates={"*": 0.0})))


def test_sgd_moves_as_caffe_does_at_a_constant_rate() -> None:
    """v <- mu v + lr (g + wd w); w <- w - v (fact sheet 2.2)."""
    net = build("fcn32s-tiny", classes=2)
    recipe = Recipe(optim=Optim("sgd", lr=0.1, momentum=0.9, weight_decay=0.01))
    made = optimizer(net, recipe)
    weight = net.get_parameter("score_fr.weight")
    with torch.no_grad():
        weight.fill_(1.0)
    w, v = 1.0, 0.0
    for g in (0.5, -0.25, 1.0):
        made.zero_grad()
        weight.grad = torch.full_like(weight, g)
        made.step()
        v = 0.9 * v + 0.1 * (g + 0.01 * w)
        w -= v
        assert weight.detach().flatten()[0].item() == pytest.approx(w)


@pytest.mark.parametrize(
    ("schedule", "step", "progress", "factor"),
    [
        (Schedule("fixed"), 5, 0.7, 1.0),
        (Schedule("poly", power=0.9), 5, 0.5, 0.5**0.9),
        (Schedule("poly", power=1.0), 5, 1.0, 0.0),
        (Schedule("cosine"), 5, 0.5, 0.5),
        (Schedule("step", steps=(0.5, 0.75), factor=0.1), 5, 0.4, 1.0),
        (Schedule("step", steps=(0.5, 0.75), factor=0.1), 5, 0.5, 0.1),
        (Schedule("step", steps=(0.5, 0.75), factor=0.1), 5, 0.8, 0.01),
        (Schedule("fixed", warmup=10), 0, 0.0, 0.1),
        (Schedule("fixed", warmup=10), 4, 0.0, 0.5),
        (Schedule("fixed", warmup=10), 10, 0.0, 1.0),
    ],
)
def test_schedules_by_hand(schedule, step, progress, factor) -> None:
    assert learning_rate(Optim(lr=2.0), schedule, step, progress) == pytest.approx(2 * factor)


def test_set_rate_keeps_each_groups_share() -> None:
    made = optimizer(build("fcn8s-tiny", classes=2), Recipe())
    set_rate(made, 0.5)
    assert {g["lr"] for g in made.param_groups} == {0.5, 1.0}


# Every regime that was published (fact sheet 2.1, 2.2).
PUBLISHED = [
    (1e-10, 0.99, "sum"),
    (1e-12, 0.99, "sum"),
    (1e-14, 0.99, "sum"),
    (1e-4, 0.9, "mean"),
    (1e-3, 0.9, "mean"),
    (5e-5, 0.9, "mean"),
]


@pytest.mark.parametrize(("lr", "momentum", "reduction"), PUBLISHED)
def test_published_regimes_are_accepted(lr, momentum, reduction) -> None:
    recipe = Recipe(optim=Optim("sgd", lr, momentum), loss=Loss(reduction))
    assert refuse_absurd_rate(recipe, P).sane


@pytest.mark.parametrize(
    ("lr", "momentum", "reduction", "told"),
    [(1e-4, 0.99, "sum", "explode"), (1e-10, 0.99, "mean", "nothing would be learned")],
)
def test_absurd_pairs_are_refused(lr, momentum, reduction, told) -> None:
    recipe = Recipe(optim=Optim("sgd", lr, momentum), loss=Loss(reduction))
    with pytest.raises(UsageError, match=told):
        refuse_absurd_rate(recipe, P)
    assert not refuse_absurd_rate(recipe.replace(force=True), P).sane


def test_sum_with_a_small_rate_is_mean_with_a_large_one() -> None:
    """1e-10 on the sum over 187,500 px is 1.9e-5 on the mean (fact sheet 2.2)."""
    heavy = check_rate(Recipe(optim=Optim("sgd", 1e-10, 0.99), loss=Loss("sum")), P)
    light = check_rate(Recipe(optim=Optim("sgd", 1e-10 * P, 0.99), loss=Loss("mean")), P)
    assert heavy.normalised == pytest.approx(light.normalised) == pytest.approx(1.9e-3, rel=0.02)
