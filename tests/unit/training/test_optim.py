"""Groups, schedules, the guard on rate and reduction, and Caffe's update by hand."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pixelwise.engine.build import build
from pixelwise.errors import UsageError
from pixelwise.training.optim import (
    effective_rate,
    factor,
    groups,
    learning_rate,
    optimizer,
    set_rate,
)
from pixelwise.training.recipe import Loss, Optim, Recipe, Schedule
from pixelwise.training.recipe_text import read_recipe, with_settings

P = 187_500  # pixels of a 500x375 picture


def rules(net: nn.Module, recipe: Recipe) -> dict[str, tuple[float, float]]:
    """Parameter to its factor on the rate, and its decay."""
    return {name: rule for rule, names in groups(net, recipe).items() for name in names}


def test_biases_learn_twice_as_fast_and_do_not_decay() -> None:
    net = build("fcn32s-vgg16", classes=3, width=1 / 32)
    rule = rules(net, Recipe(optim=Optim(weight_decay=5e-4)))
    assert rule["conv1_1.weight"] == (1, 5e-4)
    assert rule["conv1_1.bias"] == (2, 0)
    assert rule["score_fr.bias"] == (2, 0)
    assert set(rule) == {name for name, _ in net.named_parameters()}


def test_batch_norm_does_not_decay() -> None:
    rule = rules(build("fcn8s-tiny", classes=3), Recipe(optim=Optim(weight_decay=1e-3)))
    assert rule["bn1_1.weight"] == (1, 0)
    assert rule["bn1_1.bias"] == (2, 0)


ALEXNET = """
net: fcn32s-alexnet
optim:
  name: sgd
  bias_rate: 1
  bias_decay: 1
  rates: {score_fr.bias: 2}
  decays: {score_fr.bias: 0}
"""


def test_the_rule_of_the_released_alexnet_can_be_written(tmp_path: Path) -> None:
    """Trunk 1/1 for weights and biases, score_fr 1/1 and 2/0 (fact sheet 1.3, trap 17)."""
    (tmp_path / "alexnet.yaml").write_text(ALEXNET)
    recipe = read_recipe(tmp_path / "alexnet.yaml")
    trunk = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
    released = {f"{layer}.{array}": (1, 1) for layer in trunk for array in ("weight", "bias")}
    released |= {"score_fr.weight": (1, 1), "score_fr.bias": (2, 0)}
    net = build("fcn32s-alexnet", classes=3, width=1 / 32)
    wanted = {name: (rate, 5e-4 * decay) for name, (rate, decay) in released.items()}
    assert rules(net, recipe) == wanted
    made = {
        p: (g["lr"], g["weight_decay"])
        for g in optimizer(net, recipe).param_groups
        for p in g["params"]
    }
    for name, (rate, decay) in wanted.items():
        assert made[net.get_parameter(name)] == (pytest.approx(3e-4 * rate), decay)


def test_a_parameters_own_factor_goes_before_its_kinds_and_its_layers() -> None:
    settings = [
        "optim.rates.score_fr.bias=3",
        "optim.rates.score_fr=5",
        "optim.decays.fc6.bias=0.5",
    ]
    recipe = with_settings(Recipe(), [*settings, "optim.bias_decay=0.1", "optim.decays.fc7=2"])
    rule = rules(build("fcn32s-vgg16", classes=3, width=1 / 32), recipe)
    assert (rule["score_fr.weight"], rule["score_fr.bias"]) == ((5, 5e-4), (3, 5e-5))
    assert (rule["fc6.weight"], rule["fc6.bias"]) == ((1, 5e-4), (2, 2.5e-4))
    assert (rule["fc7.weight"], rule["fc7.bias"]) == ((1, 1e-3), (2, 1e-4))


def test_the_longest_match_decides_a_layers_rate() -> None:
    rates = {"conv*": 0.1, "conv5*": 0.5, "conv5_3": 0.7, "*": 3.0}
    names = ("conv1_1", "conv5_1", "conv5_3", "fc6")
    assert [factor(f"{n}.weight", rates, 1.0) for n in names] == [0.1, 0.5, 0.7, 3.0]


def test_a_layers_own_name_goes_before_patterns_of_it() -> None:
    assert factor("conv1.weight", {"conv1*": 0.1, "conv1": 0.2}, 1.0) == 0.2
    assert factor("conv10.weight", {"conv1*": 0.1, "conv1": 0.2}, 1.0) == 0.1


@pytest.mark.parametrize("pattern", ["score", "score_fr.scale", "fc7", "relu1"])
@pytest.mark.parametrize("setting", ["rates", "decays"])
def test_factors_for_what_the_net_has_not_are_refused(setting: str, pattern: str) -> None:
    with pytest.raises(UsageError, match=f"no layer or parameter of fcn8s-tiny .*`{pattern}`"):
        groups(build("fcn8s-tiny", classes=2), Recipe(optim=Optim(**{setting: {pattern: 2.0}})))


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
        (Schedule("cosine"), 5, 0.25, (1 + math.sqrt(0.5)) / 2),
        (Schedule("cosine"), 5, 1.5, 0.0),  # the clock may run over
        (Schedule("poly", power=2.0), 5, -0.5, 1.0),
        (Schedule("step", steps=(0.5, 0.75), factor=0.1), 5, 0.75, 0.01),
        (Schedule("poly", power=1.0, warmup=10), 4, 0.5, 0.25),
        (Schedule("fixed", warmup=10**4), 4, 0.0, 1e-3),
        (Schedule("fixed", warmup=10), 9, 0.0, 1.0),
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
    assert effective_rate(recipe, P) > 0


@pytest.mark.parametrize(
    ("lr", "momentum", "reduction", "end"),
    [(1e-4, 0.99, "sum", "explode"), (1e-10, 0.99, "mean", "nothing would be learned")],
)
def test_absurd_pairs_are_refused(lr, momentum, reduction, end) -> None:
    recipe = Recipe(optim=Optim("sgd", lr, momentum), loss=Loss(reduction))
    with pytest.raises(UsageError, match=end):
        effective_rate(recipe, P)
    rate = lr / (1 - momentum) * (P if reduction == "sum" else 1)
    assert effective_rate(recipe.replace(force=True), P) == pytest.approx(rate)


def test_sum_with_a_small_rate_is_mean_with_a_large_one() -> None:
    """1e-10 on the sum over 187,500 px is 1.9e-5 on the mean (fact sheet 2.2)."""
    heavy = effective_rate(Recipe(optim=Optim("sgd", 1e-10, 0.99), loss=Loss("sum")), P)
    light = effective_rate(Recipe(optim=Optim("sgd", 1e-10 * P, 0.99), loss=Loss("mean")), P)
    assert heavy == pytest.approx(light) == pytest.approx(1.9e-3, rel=0.02)


@pytest.mark.parametrize(
    ("recipe", "low", "high", "usual"),
    [
        # 5e-8 to 10 on the mean, by 1 - 0.5 and the 1,000 px of a sum.
        (Recipe(optim=Optim("sgd", momentum=0.5)), 2.5e-8, 5.0, 1e-3),
        (Recipe(optim=Optim("sgd", momentum=0.5), loss=Loss("sum")), 2.5e-11, 5e-3, 1e-7),
        (Recipe(), 1e-7, 0.1, 3e-4),
        (Recipe(loss=Loss("sum")), 1e-7, 0.1, 3e-4),
    ],
)
def test_rates_are_sane_between_their_ends_and_the_hint_is(
    recipe: Recipe, low: float, high: float, usual: float
) -> None:
    def at(lr: float) -> Recipe:
        return recipe.replace(optim=replace(recipe.optim, lr=lr))

    for lr in (low * 1.001, high * 0.999):
        effective_rate(at(lr), 1000)
    for lr, end in ((low * 0.999, "nothing would be learned"), (high * 1.001, "would explode")):
        with pytest.raises(UsageError, match=end) as caught:
            effective_rate(at(lr), 1000)
        (hint,) = re.findall(r"optim\.lr=([^,]+)", caught.value.hint)
        assert float(hint) == usual
        effective_rate(at(float(hint)), 1000)


def test_the_optimizers_have_the_moments_that_are_asked_for() -> None:
    net = build("fcn8s-tiny", classes=2, width=1 / 16)
    adamw = optimizer(net, Recipe(optim=Optim(lr=0.5, momentum=0.8))).defaults
    assert (adamw["lr"], adamw["betas"], adamw["fused"]) == (0.5, (0.8, 0.999), True)
    sgd = optimizer(net, Recipe(optim=Optim("sgd", lr=0.5, momentum=0.8))).defaults
    assert (sgd["lr"], sgd["momentum"], sgd["fused"]) == (0.5, 0.8, True)
