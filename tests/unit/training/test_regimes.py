"""The paper's ways to train by name: numbers, what goes before them, and what contradicts them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pixelwise.errors import UsageError
from pixelwise.settings import as_dict
from pixelwise.training.optim import effective_rate
from pixelwise.training.recipe import Loss, Optim, Recipe
from pixelwise.training.recipe_text import read_recipe, with_settings, write_recipe

P = 187_500  # pixels of a 500x375 picture


@pytest.mark.parametrize(
    ("net", "lr"),
    [
        ("fcn32s-alexnet", 1e-3),
        ("fcn32s-vgg16", 1e-4),
        ("fcn32s-vgg16-tight", 1e-4),
        ("fcn32s-googlenet", 5e-5),  # printed 5^-5 (fact sheet, trap 25)
        ("fcn16s-vgg16", 1e-6),
        ("fcn8s-vgg16", 1e-8),
        ("fcn8s-vgg16-atonce", 1e-4),
    ],
)
def test_the_light_regime(net: str, lr: float) -> None:
    """CVPR, section 4.3: twenty pictures, the mean, momentum 0.9, decay 5e-4, a fixed rate."""
    r = Recipe(net=net, regime="light")
    assert (r.batch, r.accumulate, r.loss.reduction) == (20, 1, "mean")
    assert r.optim == Optim("sgd", lr, 0.9, 5e-4, bias_rate=2, bias_decay=0)
    assert (r.schedule.name, r.sampling, r.augment.mirror) == ("fixed", "epochs", False)


@pytest.mark.parametrize(
    ("net", "lr"),
    [
        ("fcn32s-vgg16", 1e-10),
        ("fcn16s-vgg16", 1e-12),
        ("fcn8s-vgg16", 1e-14),
        ("fcn8s-vgg16-atonce", 1e-10),
        ("voc-fcn32s", 1e-10),
        ("voc-fcn8s-atonce", 1e-10),
        ("siftflow-fcn16s", 1e-12),
        ("nyud-fcn32s-hha", 1e-10),
        ("nyud-fcn32s-color-d", 1e-10),
        ("nyud-fcn32s-color-hha", 1e-12),  # from two nets that were trained alone
    ],
)
def test_the_heavy_regime(net: str, lr: float) -> None:
    """The released solvers and data layers (fact sheet 2.1, 3.1)."""
    r = Recipe(net=net, regime="heavy")
    assert (r.batch, r.accumulate, r.loss.reduction) == (1, 1, "sum")
    assert r.optim == Optim("sgd", lr, 0.99, 5e-4, bias_rate=2, bias_decay=0)
    assert (r.schedule.name, r.augment.mirror) == ("fixed", False)
    assert (r.sampling, r.seed) == ("replacement_python2", 1337)
    assert effective_rate(r, P) > 0  # accepted


def test_late_fusion_of_any_net_learns_as_the_released_one() -> None:
    assert Recipe(net="fcn32s-vgg16", regime="heavy", fusion="sum").optim.lr == 1e-12
    assert Recipe(net="fcn32s-vgg16", regime="heavy", fusion="early").optim.lr == 1e-10


def test_the_accumulated_regime() -> None:
    """Caffe's rate of 1e-10 is on the twentieth part of what twenty pictures gave."""
    r = Recipe(net="fcn32s-vgg16", regime="accumulated")
    assert (r.batch, r.accumulate, r.loss.reduction) == (1, 20, "sum")
    assert r.optim == Optim("sgd", 5e-12, 0.9, 5e-4)
    assert Recipe(net="fcn32s-vgg16", regime="accumulated", accumulate=10).optim.lr == 1e-11
    assert effective_rate(r, 20 * P) > 0


def test_what_is_given_goes_before_the_regime(tmp_path: Path) -> None:
    text = "{net: fcn32s-vgg16, regime: light, batch: 4, optim: {lr: 3.0e-4}, augment: {scale: 1}}"
    (tmp_path / "r.yaml").write_text(text.replace("scale: 1", "hue: 0.1"))
    r = read_recipe(tmp_path / "r.yaml", ["optim.momentum=0.5"])
    assert (r.batch, r.optim.lr, r.optim.momentum, r.optim.name) == (4, 3e-4, 0.5, "sgd")
    assert (r.augment.hue, r.augment.mirror) == (0.1, False)


def test_a_regime_can_be_set_on_a_recipe_that_leaves_it_open(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("{net: fcn32s-alexnet, epochs: 3}")
    for r in (
        read_recipe(tmp_path / "r.yaml", ["regime=heavy"]),
        with_settings(Recipe(net="fcn32s-alexnet", epochs=3), ["regime=heavy"]),
        with_settings(Recipe(epochs=3), ["net=fcn32s-alexnet", "regime=heavy"]),
    ):
        assert (r.batch, r.optim.lr, r.epochs) == (1, 1e-10, 3)


def test_the_numbers_are_saved_and_stay(tmp_path: Path) -> None:
    r = Recipe(net="fcn16s-vgg16", regime="heavy")
    write_recipe(tmp_path / "r.yaml", r)
    saved = yaml.safe_load((tmp_path / "r.yaml").read_text())
    assert (saved["regime"], saved["batch"], saved["optim"]["lr"]) == ("heavy", 1, 1e-12)
    assert read_recipe(tmp_path / "r.yaml") == r
    assert read_recipe(tmp_path / "r.yaml", ["seed=3"]) == r.replace(seed=3)
    assert as_dict(with_settings(r, ["optim.lr=1e-11"])) == as_dict(
        r.replace(optim=Optim("sgd", 1e-11, 0.99))
    )


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"regime": "heavy", "batch": 4}, "batch is 4, expected 1 in the heavy regime"),
        ({"regime": "heavy", "accumulate": 20}, "accumulate is 20, expected 1 in the heavy"),
        ({"regime": "heavy", "loss": Loss("mean")}, "loss.reduction is mean, expected sum in"),
        ({"regime": "heavy", "optim": Optim("sgd")}, "optim.momentum is 0.9, expected 0.99"),
        ({"regime": "light", "loss": {"reduction": "sum"}}, "reduction is sum, expected mean"),
        ({"regime": "light", "optim": {"name": "adamw"}}, "optim.name is adamw, expected sgd"),
        ({"regime": "accumulated", "accumulate": 1}, "accumulate is 1, expected several"),
        ({"regime": "accumulated", "batch": 20}, "batch is 20, expected 1 in the accumulated"),
        ({"regime": "light", "net": "fcn8s-tiny"}, "expected optim.lr for fcn8s-tiny"),
        ({"regime": "heavier"}, "regime is 'heavier', expected one of none, light, accumulated"),
        ({"regime": "heavy", "optim": 3}, "optim is 3, expected named entries"),
    ],
)
def test_what_contradicts_a_regime_is_refused(settings: dict, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        Recipe(**{"net": "fcn32s-vgg16"} | settings)
    assert told in str(caught.value)


def test_a_trunk_without_a_published_rate_takes_a_given_one() -> None:
    r = Recipe(net="fcn8s-tiny", regime="light", optim={"lr": 0.01})
    assert (r.optim.lr, r.optim.name, r.batch) == (0.01, "sgd", 20)
