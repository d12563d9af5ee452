"""`pixelwise train DIR -o RUN` and nothing else: what is planned is told, kept, and carried out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise as pw
from make_data import folder_set
from pixelwise.cli.app import run as command
from pixelwise.training import planning, survey
from pixelwise.training.recipe import Recipe
from pixelwise.training.recipe_text import read_recipe
from pixelwise.weights.published import at_hand, named

Out = pytest.CaptureFixture[str]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return folder_set(tmp_path / "data", count=10)


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "at_hand", lambda _: None)


def train(*words: object) -> int:
    return command(["train", *map(str, words), "--threads", "1", "--device", "cpu"])


def test_what_is_planned_is_told_kept_and_carried_out(
    data: Path, tmp_path: Path, no_weights: None, capsys: Out
) -> None:
    run = tmp_path / "run"
    assert train(data, "-o", run, "--iterations", 4, "--set", "batch=3", "--json") == 0
    told = capsys.readouterr()
    recipe = read_recipe(run / "recipe.yaml")
    assert recipe.net == "fcn8s-tiny"
    assert (recipe.crop, recipe.batch, recipe.iterations) == ((40, 48), 3, 4)
    comments = [x for x in (run / "recipe.yaml").read_text().splitlines() if x.startswith("# ")]
    lines = [comment.removeprefix("# ") for comment in comments]
    shown = told.err.splitlines()
    begin = next(i for i, line in enumerate(shown) if line.startswith("planned")) + 1
    assert shown[begin : begin + len(lines)] == [f"  {line}" for line in lines]
    assert any(line.startswith("weights=: none") and "pip install" in line for line in lines)
    assert not any("batch=" in line for line in lines)  # it was given
    (crop,) = [choice for choice in json.loads(told.out)["plan"] if choice["setting"] == "crop"]
    assert crop == {"setting": "crop", "value": [40, 48], "reason": "the usual picture"}
    # The recipe is the run's own: resumed, it is not planned anew, and keeps its reasons.
    assert train(data, "-o", run, "--resume") == 0
    assert (run / "recipe.yaml").read_text().splitlines()[: len(comments)] == comments
    assert pw.load(run).predict(data / "images" / "p0.png").labels.shape == (40, 48)


def test_weights_at_hand_are_used(data: Path) -> None:
    if at_hand(named("efficientnetlite0")) is None:
        pytest.skip("the extra `pretrained` is not installed")
    recipe = planning.planned(str(data), ["iterations=1", "device=cpu"]).recipe
    assert (recipe.net, recipe.weights) == (planning.PRETRAINED[0], "imagenet")


@pytest.mark.parametrize("words", ["--net fcn8s-tiny", "--set width=0.25"])
def test_who_says_the_net_gets_its_defaults(
    data: Path, tmp_path: Path, words: str, capsys: Out
) -> None:
    assert train(data, "-o", tmp_path / "run", "--iterations", 1, *words.split()) == 0
    recipe = read_recipe(tmp_path / "run" / "recipe.yaml")
    changes = {"width": 0.25} if "width" in words else {}
    plain = Recipe(data=str(data), iterations=1, threads=1, device="cpu", **changes)
    assert recipe == plain
    assert "planned" not in capsys.readouterr().err


def test_what_needs_a_crop_or_weights_can_be_set_as_they_are_planned(data: Path) -> None:
    settings = ["augment.rare=0.25", "freeze=trunk", "iterations=1", "device=cpu"]
    if at_hand(named("efficientnetlite0")) is None:
        settings.remove("freeze=trunk")
    recipe = planning.planned(str(data), settings).recipe
    assert (recipe.augment.rare, recipe.crop) == (0.25, (40, 48))


def test_the_clock_brings_a_measured_speed(data: Path, tmp_path: Path, no_weights: None) -> None:
    made = planning.planned(str(data), ["minutes=0.01", "threads=1", "device=cpu"])
    (batch,) = [c for c in made.choices if c.setting == "batch"]
    assert "steps in the time" in batch.reason


def test_grey_of_16_bits_as_stored_is_trained_from_scratch(tmp_path: Path) -> None:
    data = folder_set(tmp_path / "data", count=6)
    for path in sorted((data / "images").iterdir()):
        Image.fromarray(np.asarray(Image.open(path))[..., 0].astype(np.uint16) * 200).save(path)
    description = {"classes": ["a", "b", "c"], "values": "stored", "palette": [[9, 9, 9]] * 3}
    (data / "dataset.json").write_text(json.dumps(description))
    assert train(data, "-o", tmp_path / "run", "--iterations", 1) == 0
    head = (tmp_path / "run" / "recipe.yaml").read_text()
    assert "not for image: 1 band of uint16" in head
    assert read_recipe(tmp_path / "run" / "recipe.yaml").weights == ""


def test_masks_of_0_and_255_are_two_classes_and_other_values_stay_a_question(
    data: Path, tmp_path: Path, no_weights: None, capsys: Out
) -> None:
    for path in (data / "labels").iterdir():
        Image.fromarray(np.where(np.asarray(Image.open(path)), 255, 0).astype(np.uint8)).save(path)
    assert command(["data", "inspect", str(data)]) == 3
    asked = capsys.readouterr().err
    assert f'--values "{survey.BINARY}"' in asked
    assert train(data, "-o", tmp_path / "run", "--iterations", 2) == 0
    assert read_recipe(tmp_path / "run" / "recipe.yaml").values == survey.BINARY
    assert "of label values 0 and 255 both are classes" in capsys.readouterr().err
    assert pw.load(tmp_path / "run").classes == ("background", "object")
    labels = np.asarray(Image.open(data / "labels" / "p3.png")).copy()
    labels[2, 3] = 9
    Image.fromarray(labels).save(data / "labels" / "p3.png")
    assert train(data, "-o", tmp_path / "other") == 3


def test_pictures_of_16_bits_that_are_black_as_8_are_told(
    data: Path, tmp_path: Path, no_weights: None, capsys: Out
) -> None:
    """0 to 765 of 65,535 is 0 to 3 of 255."""
    for path in (data / "images").iterdir():
        Image.fromarray(np.asarray(Image.open(path))[..., 0].astype(np.uint16) * 3).save(path)
    assert train(data, "-o", tmp_path / "run", "--iterations", 1) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "the pictures hardly vary as 8 bits" in told
    assert command(["data", "convert", str(data), str(tmp_path / "new")]) == 0
    description = json.loads((tmp_path / "new" / "dataset.json").read_text())
    (tmp_path / "new" / "dataset.json").write_text(json.dumps({**description, "values": "stored"}))
    capsys.readouterr()
    assert train(tmp_path / "new", "-o", tmp_path / "wide", "--iterations", 1) == 0
    assert "hardly vary" not in capsys.readouterr().err


def test_one_picture_alone_is_trained_on(tmp_path: Path, no_weights: None) -> None:
    data = folder_set(tmp_path / "data", count=1)
    assert train(data, "-o", tmp_path / "run", "--iterations", 2) == 0
    assert read_recipe(tmp_path / "run" / "recipe.yaml").val_split == ""


def test_all_that_is_wrong_with_the_data_is_said_before_anything_is_planned(
    data: Path, tmp_path: Path, capsys: Out
) -> None:
    for name in ("p1", "p7"):
        (data / "images" / f"{name}.png").write_bytes(b"no picture")
    assert train(data, "-o", tmp_path / "run") == 3
    told = capsys.readouterr().err
    assert "p1.png" in told
    assert "p7.png" in told
    assert "planned" not in told
    assert not (tmp_path / "run").exists()
