"""Recipes in stages: what each stage is, what is refused, and what is saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pixelwise.errors import UsageError
from pixelwise.training.recipe import Optim, Recipe
from pixelwise.training.recipe_text import read_recipe, with_settings, write_recipe
from pixelwise.training.stages import with_files

CHAIN = """
data: d
regime: heavy
weights: vgg.caffemodel
iterations: 100000
stages:
  fcn32s: {net: voc-fcn32s}
  fcn16s: {net: voc-fcn16s, optim: {rates: {score_pool4: 10}}}
  fcn8s: {net: voc-fcn8s, epochs: 3, optim: {lr: 3.0e-14}}
"""


@pytest.fixture
def chain(tmp_path: Path) -> Path:
    path = tmp_path / "chain.yaml"
    path.write_text(CHAIN)
    return path


def test_each_stage_has_what_all_share_and_its_own(chain: Path) -> None:
    one, two, three = read_recipe(chain).by_stage().values()
    assert [s.net for s in (one, two, three)] == ["voc-fcn32s", "voc-fcn16s", "voc-fcn8s"]
    assert [s.optim.lr for s in (one, two, three)] == [1e-10, 1e-12, 3e-14]  # the last is given
    assert [s.optim.momentum for s in (one, two, three)] == [0.99] * 3
    assert [s.weights for s in (one, two, three)] == [
        *("vgg.caffemodel", "stage:fcn32s", "stage:fcn16s")
    ]
    assert two.optim.rates == {"score_pool4": 10}
    assert (one.iterations, three.iterations, three.epochs) == (100_000, 0, 3)
    assert (one.sampling, one.seed, one.stages) == ("replacement_python2", 1337, {})


def test_the_saved_recipe_has_the_numbers_and_is_the_same(chain: Path, tmp_path: Path) -> None:
    recipe = read_recipe(chain)
    write_recipe(tmp_path / "saved.yaml", recipe)
    saved = yaml.safe_load((tmp_path / "saved.yaml").read_text())
    assert saved["stages"]["fcn16s"]["optim"]["lr"] == 1e-12
    assert saved["stages"]["fcn16s"]["loss"]["reduction"] == "sum"
    assert read_recipe(tmp_path / "saved.yaml") == recipe
    assert recipe.by_stage() == read_recipe(tmp_path / "saved.yaml").by_stage()


def test_stages_can_be_made_in_python() -> None:
    made = Recipe(
        data="d",
        optim=Optim("sgd", lr=0.1),
        stages={"a": {"net": "fcn32s-tiny"}, "b": {"optim": Optim("sgd", lr=0.01)}},
    )
    one, two = made.by_stage().values()
    assert (one.optim.lr, two.optim.lr, two.optim.name) == (0.1, 0.01, "sgd")


@pytest.mark.parametrize("source", ["file", "recipe"])
def test_settings_reach_all_stages_or_one(chain: Path, source: str) -> None:
    """What the command line says of the whole recipe goes before what its stages say of it."""
    settings = ["optim.lr=1e-11", "iterations=5", "stages.fcn16s.optim.lr=7e-12", "width=0.5"]
    changed = (
        read_recipe(chain, settings)
        if source == "file"
        else with_settings(read_recipe(chain), settings)
    )
    stages = changed.by_stage()
    assert [s.optim.lr for s in stages.values()] == [1e-11, 7e-12, 1e-11]
    assert [s.iterations for s in stages.values()] == [5] * 3
    assert [s.epochs for s in stages.values()] == [0] * 3
    assert [s.width for s in stages.values()] == [0.5] * 3
    assert stages["fcn16s"].optim.rates == {"score_pool4": 10}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("stages.fcn4s.lr=1", "no stage of the recipe is called `fcn4s`"),
        ("stages.fcn8s.optm.lr=1", r"stages\.fcn8s: no recipe setting is called `optm`"),
        ("stages.fcn8s.batch=4", r"stages\.fcn8s: batch is 4, expected 1 in the heavy regime"),
        ("stages.fcn8s.weights=stage:fcn8s", r"expected one before it \(fcn32s, fcn16s\)"),
        ("stages.fcn32s.weights=stage:fcn8s", r"expected one before it \(none\)"),
        ("stages.fcn8s.weights=color=stage:fcn32s,hha=stage:none", "from stage none, expected"),
        ("stages=3", "stages is '3', expected a value for each name"),
        ("batch=4", r"stages\.fcn32s: batch is 4.*; stages\.fcn16s: batch is 4.*"),
    ],
)
def test_what_no_stage_can_be_is_refused(chain: Path, setting: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        read_recipe(chain, [setting])


@pytest.mark.parametrize(
    ("stages", "told"),
    [
        ("{../x: {}}", "stages has '../x', expected names of letters, digits, _ and -"),
        ("{a: {stages: {b: {}}}}", "stages.a has stages of its own"),
        ("{a: 3}", "stages.a is 3, expected a value for each name"),
        ("[a, b]", "stages is ['a', 'b'], expected a value for each name"),
        ("{a: {}, a: {}}", "`a` stands twice"),
    ],
)
def test_stages_that_are_none_are_refused(tmp_path: Path, stages: str, told: str) -> None:
    (tmp_path / "r.yaml").write_text(f"data: d\nstages: {stages}\n")
    with pytest.raises(UsageError) as caught:
        read_recipe(tmp_path / "r.yaml")
    assert told in str(caught.value)


def test_variables_in_the_paths_of_stages_are_put_in(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("NETS", "/nets")
    text = "{data: d, stages: {a: {weights: $NETS/a}, b: {weights: 'x=$NETS/a,y=stage:a'}}}"
    (tmp_path / "r.yaml").write_text(text)
    stages = read_recipe(tmp_path / "r.yaml").by_stage()
    assert [s.weights for s in stages.values()] == ["/nets/a", "x=/nets/a,y=stage:a"]
    monkeypatch.delenv("NETS")
    with pytest.raises(UsageError, match="names the variable NETS, which is not set"):
        read_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("stage:a", "a-last"),
        ("stage:a/best", "a-best"),
        ("color=stage:a,hha=stage:b/best", "color=a-last,hha=b-best"),
        ("runs/stage:", "runs/stage:"),
        ("", ""),
    ],
)
def test_stages_in_weights_become_files(weights: str, expected: str) -> None:
    assert with_files(weights, lambda stage, which: f"{stage}-{which}") == expected
