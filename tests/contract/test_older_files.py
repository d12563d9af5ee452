"""Recipes, checkpoints and run folders that version 0.1 wrote are read, used and continued.

``tests/golden/make_run.py`` made them.
"""

from __future__ import annotations

import json
import operator
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import pixelwise as pw
from pixelwise.cli.app import run as command
from pixelwise.training.recipe_text import read_recipe

GOLDEN = Path(__file__).parents[1] / "golden"
DATA = GOLDEN / "data"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return shutil.copytree(GOLDEN / "run", tmp_path / "run")


def settings(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a recipe file by its dotted name; the rates by layer are one setting."""
    for name, value in values.items():
        if isinstance(value, dict) and name != "rates":
            yield from settings(value, f"{prefix}{name}.")
        else:
            yield prefix + name, tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("name", ["recipe.yaml", "run/recipe.yaml"])
def test_a_recipe_is_read_to_the_values_that_stand_in_it(name: str) -> None:
    written = dict(settings(yaml.safe_load((GOLDEN / name).read_text("utf-8"))))
    assert len(written) == 54
    recipe = read_recipe(GOLDEN / name)
    assert {key: operator.attrgetter(key)(recipe) for key in written} == written


def test_the_two_recipes_leave_no_setting_at_its_default() -> None:
    texts = [(GOLDEN / n).read_text("utf-8") for n in ("recipe.yaml", "run/recipe.yaml")]
    first, second = (dict(settings(yaml.safe_load(text))) for text in texts)
    usual = pw.Recipe()
    same = {
        key
        for key in first
        if operator.attrgetter(key)(usual) == first[key] == second.get(key, first[key])
    }
    assert same == {"minutes"}  # one length excludes the others


@pytest.mark.parametrize("weights", ["best", "last"])
def test_a_checkpoint_labels_pictures_as_it_did(weights: str) -> None:
    """Net, weights, preprocessing and view (two sizes, mirrored) are all in the file."""
    model = pw.load(GOLDEN / "run/weights" / f"{weights}.safetensors", device="cpu")
    assert model.classes == ("sky", "field", "road", "sign")
    assert model.palette == ((70, 130, 180), (60, 160, 40), (128, 64, 128), (220, 220, 0))
    for name in ("s6", "s7"):
        stored = np.array(Image.open(GOLDEN / "run/evaluation/guesses" / f"{name}.png"))
        assert set(np.unique(stored)) >= {0, 1, 2}
        assert np.array_equal(model.predict(DATA / "images" / f"{name}.png").labels, stored)


def test_a_checkpoint_says_what_it_did() -> None:
    with safe_open(GOLDEN / "run/weights/best.safetensors", "pt") as file:
        header = json.loads(file.metadata()["pixelwise"])
    assert header["net"] == "fcn8s-tiny"
    assert header["options"] == {"classes": 4, "channels": 3, "width": 0.0625, "learned": "inner"}
    assert header["inference"] == {"zooms": [1.0, 1.5], "mirror": True}
    assert (header["step"], header["version"]) == (150, 1)


def test_an_older_run_is_scored_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["evaluate", str(GOLDEN / "run"), str(DATA), "--split", "held", "--json"]
    assert command([*arguments, "--device", "cpu"]) == 0
    now = json.loads(capsys.readouterr().out)
    stored = json.loads((GOLDEN / "run/evaluation/scores.json").read_text("utf-8"))
    assert now["confusion"] == stored["confusion"]
    assert now["mean_iu"] == pytest.approx(stored["mean_iu"], abs=1e-12)


def test_an_older_run_goes_on_to_the_weights_it_came_to(run: Path) -> None:
    """From step 146 of 150, with everything random switched on."""
    before = load_file(run / "weights/last.safetensors")
    shutil.rmtree(run / "weights")
    assert command(["train", str(DATA), "-o", str(run), "--resume"]) == 0
    after = load_file(run / "weights/last.safetensors")
    state = load_file(GOLDEN / "run/state/step-000000146.safetensors")
    assert after.keys() == before.keys()
    for name, value in after.items():
        # Colours of samples are rounded since, and no longer cut off: half a grey level brighter,
        # which running means and variances show; the weights of four steps part by 2e-4 at most.
        largest = float(before[name].abs().max())
        near = (0.05 if "running" in name else 4e-4) * largest + 1e-5
        torch.testing.assert_close(value, before[name], rtol=1e-3, atol=near, msg=name)
    moved = [n for n, v in before.items() if not torch.allclose(v, state[f"ema.{n}"], atol=1e-4)]
    assert len(moved) > 10
    written, kept = (yaml.safe_load((r / "recipe.yaml").read_text()) for r in (run, GOLDEN / "run"))
    assert dict(settings(written)).items() >= dict(settings({**kept, "data": str(DATA)})).items()


def test_the_page_of_an_older_run_is_made_anew(run: Path) -> None:
    assert command(["report", str(run)]) == 0
    page = (run / "report.html").read_text("utf-8")
    scores = json.loads((run / "evaluation/scores.json").read_text("utf-8"))
    for text in ("sign", "fcn8s-tiny", f"{100 * scores['mean_iu']:.1f}"):
        assert text in page
