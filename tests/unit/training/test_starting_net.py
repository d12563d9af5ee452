"""The net of a run before its first step: what it is asked for, shown, and refused for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from pixelwise.data.preprocess import CAFFE, standard
from pixelwise.engine.build import build
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import spec
from pixelwise.pictures.bands import InputKind
from pixelwise.training import starting_net as made
from pixelwise.training.recipe import Augmentation, Recipe
from pixelwise.weights.surgery import Row, Transplant


def data(**inputs: InputKind) -> Any:
    """As much of a run's data as is asked for options and preprocessing."""
    bands = sum(kind.bands for kind in inputs.values())
    counted = SimpleNamespace(mean=np.arange(1.0, bands + 1), std=np.arange(11.0, bands + 11))
    dataset = SimpleNamespace(root="data", classes_by_head={"labels": ("a", "b")}, values="")
    return SimpleNamespace(inputs=inputs, statistics=counted, dataset=dataset, kinds=lambda log: {})


@pytest.mark.parametrize("fusion", ["own", "early", "sum", "average"])
def test_one_input_cannot_be_fused(fusion: str) -> None:
    recipe = Recipe(fusion=fusion)
    if fusion == "own":
        assert made._options(recipe, data(image=InputKind(3, "uint8"))) == {
            "classes": 2, "channels": 3, "width": 1.0, "learned": "none",
        }  # fmt: skip
        return
    with pytest.raises(UsageError, match=f"fusion is {fusion}, and data makes a picture of one"):
        made._options(recipe, data(image=InputKind(3, "uint8")))
    two = data(colour=InputKind(3, "uint8"), depth=InputKind(1, "uint16"))
    assert made._options(recipe, two)["fusion"] == fusion


@pytest.mark.parametrize(
    ("settings", "heads", "bands", "options"),
    [
        ({}, {"a": 2}, {"image": 4}, {"classes": 2, "channels": 4}),
        ({}, {"a": 2, "b": 3}, {"image": 4}, {"heads": {"a": 2, "b": 3}, "channels": 4}),
        ({}, {"a": 2}, {"x": 3, "y": 1}, {"classes": 2, "inputs": {"x": 3, "y": 1}}),
        ({"bands": (3, 1)}, {"a": 2}, {"image": 4}, {"classes": 2, "channels": 2}),
        ({"pca": 4}, {"a": 2}, {"image": 4}, {"classes": 2, "channels": 4}),
        ({"bands": (3, 1), "pca": 2}, {"a": 2}, {"image": 4}, {"classes": 2, "channels": 2}),
        (
            {"rarefied": ("pool4",), "lowered": ("pool5",), "width": 0.5, "learned": "all"},
            {"a": 2},
            {"image": 3},
            {"classes": 2, "channels": 3, "rarefied": ["pool4"], "lowered": ["pool5"]},
        ),
    ],
)
def test_a_net_is_asked_for_by_heads_and_bands(
    settings: dict, heads: dict, bands: dict, options: dict
) -> None:
    usual = {"width": settings.get("width", 1.0), "learned": settings.get("learned", "none")}
    assert made.net_options(Recipe(**settings), heads, bands) == usual | options


@pytest.mark.parametrize(
    ("settings", "bands"),
    [
        ({"bands": (0, 4)}, {"image": 4}),
        ({"pca": 5}, {"image": 4}),
        ({"bands": (0, 1), "pca": 3}, {"image": 4}),
        ({"bands": (0,)}, {"x": 3, "y": 1}),
        ({"pca": 1}, {"x": 3, "y": 1}),
    ],
)
def test_bands_that_are_not_there_are_refused(settings: dict, bands: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"of {len(bands)} inputs with 4 bands, .* below 4") as e:
        made.net_options(Recipe(**settings), {"a": 2}, bands)
    assert e.value.code == "U002"


def test_inputs_of_a_released_net_stand_in_its_order() -> None:
    for inputs in (["color", "hha"], ["left", "right"], ["color", "depth"], ["other", "hha"]):
        made._refuse_other_order(Recipe(net="nyud-fcn32s-color-hha"), inputs)
    made._refuse_other_order(Recipe(net="fcn8s-tiny"), ["hha", "color"])
    for inputs, strange in ((["hha", "color"], "hha"), (["depth", "color"], "color")):
        with pytest.raises(UsageError, match=f"inputs color, hha, and `{strange}` stands") as e:
            made._refuse_other_order(Recipe(net="nyud-fcn32s-color-hha"), inputs)
        assert e.value.hint.startswith("--set inputs=color,hha,")


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        (InputKind(3, "uint8"), True),
        (InputKind(4, "uint8"), False),
        (InputKind(1, "uint8"), False),
        (InputKind(3, "uint16"), False),
    ],
)
def test_weights_of_photos_have_seen_three_bands_of_bytes(kind: InputKind, seen: bool) -> None:
    assert made._seen(CAFFE, kind) is seen
    mean, std = (np.full(3, float(n)) for n in (5, 2))
    assert made._seen(standard(mean, std, "stored"), kind) is (kind.bands == 3)


def test_each_input_is_shown_as_its_weights_expect_or_by_its_own_numbers() -> None:
    """Means 1 to 4 and deviations 11 to 14, counted over the data."""
    colour, depth = InputKind(3, "uint8"), InputKind(1, "uint16")
    assert made._preprocess(Recipe(), data(image=colour), CAFFE) == CAFFE
    both = made._preprocess(Recipe(), data(colour=colour, depth=depth), CAFFE)
    assert both.mean == (*CAFFE.mean, 4)
    assert both.std == (*CAFFE.std, 14)
    assert both.order == (2, 1, 0, 3)
    own = made._preprocess(Recipe(), data(image=depth), CAFFE)
    assert (own.mean, own.std, own.values) == ((1,), (11,), "stored")
    assert made._preprocess(Recipe(), data(image=colour), None).values == "8-bit"
    chosen = made._preprocess(Recipe(bands=(3, 1)), data(image=InputKind(4, "uint16")), CAFFE)
    assert (chosen.mean, chosen.std) == ((4, 2), (14, 12))
    assert (chosen.order, chosen.given) == ((3, 1), 4)


def test_a_step_is_looked_at_on_the_smallest_picture_at_its_least(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 100x50 and 40x60 the second: 30x45 at a zoom of 1.5 and half of it."""
    asked: list[tuple[Any, ...]] = []

    def check_step(net: Any, trained: Any, shape: Any, **how: Any) -> None:
        asked.append((shape, how["number"], how["checkpointed"], "conv1_1" in trained))

    monkeypatch.setattr(made.memory, "check_step", check_step)
    net, sizes, cpu = build("fcn8s-tiny", classes=2, width=1 / 16), [(100, 50), (40, 60)], "cpu"
    settings = {"zoom": 1.5, "augment": Augmentation(scale=(0.5, 2.0)), "batch": 1}
    for changes, expected in (
        (settings, ((1, 30, 45), 4, False, True)),
        ({"zoom": 0.01, "frozen_bn": True, "batch": 1}, ((1, 1, 1), 4, False, True)),
        ({"batch": 3, "crop": (70, 80), "precision": "bf16"}, ((3, 70, 80), 2, False, True)),
        ({"checkpoint": True}, ((4, 40, 60), 4, True, True)),
        ({"freeze": "trunk", "weights": "w"}, ((4, 40, 60), 4, False, False)),
    ):
        made.refuse_impossible_step(Recipe(**changes), net, sizes, torch.device(cpu))
        assert asked.pop() == expected


@pytest.mark.parametrize(
    ("side", "changes", "refused"),
    [
        (32, {}, True),
        (33, {}, False),
        (64, {"zoom": 0.5}, True),
        (66, {"zoom": 0.5}, False),
        (32, {"batch": 2}, False),
        (32, {"frozen_bn": True}, False),
        (32, {"crop": (8, 33)}, False),  # the longer side has two cells
        (99, {"crop": (32, 8)}, True),
    ],
)
def test_batch_norm_needs_two_values(side: int, changes: dict, refused: bool) -> None:
    """The deepest maps of tiny are one cell for 32 px: the longer side of a picture decides."""
    recipe, net = Recipe(**{"batch": 1, **changes}), build("fcn8s-tiny", classes=2, width=1 / 16)
    sizes = [(200, 99), (side, 5)]
    if not refused:
        made.refuse_impossible_step(recipe, net, sizes, torch.device("cpu"))
        return
    with pytest.raises(UsageError, match=r"batch norm \S+ would see .* 1x1 from 32x32"):
        made.refuse_impossible_step(recipe, net, sizes, torch.device("cpu"))


def test_scores_that_are_drawn_have_caffenets_deviation_and_no_others_move() -> None:
    net = build("fcn8s-tiny", classes=100, width=0.5)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made.draw_scores(net)
    moved = {name for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"score_fr.weight", "score_pool4.weight", "score_pool3.weight"}
    drawn = torch.cat([net.get_parameter(name).detach().flatten() for name in sorted(moved)])
    assert drawn.std().item() == pytest.approx(0.01, rel=0.05)
    assert abs(drawn.mean().item()) < 5e-4


@pytest.mark.parametrize(
    ("regime", "net", "taken", "warned"),
    [
        ("heavy", "fcn16s-vgg16", "score_pool4.weight", True),
        ("heavy", "fcn16s-vgg16", "score_fr.weight", False),
        ("heavy", "fcn32s-vgg16", "conv1_1.weight", False),  # the first stage
        ("none", "fcn16s-vgg16", "conv1_1.weight", False),
    ],
)
def test_a_finer_stage_of_a_regime_without_coarser_scores_is_warned_of(
    regime: str, net: str, taken: str, warned: bool
) -> None:
    rows = (Row("copied", taken, taken), Row("dropped", "", "score_fr.weight"))
    recipe = Recipe(net=net, regime=regime, weights="trunk.pth", batch=1)
    said = made._without_coarse_scores(recipe, spec(net), Transplant(rows))
    assert bool(said) is warned
    if warned:
        assert said.startswith("fcn16s-vgg16 learns at the rate of a finer stage (1e-12), and ")
