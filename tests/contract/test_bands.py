"""Pictures of other bands and depths, from the file through training to the labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import small_runs
from make_data import picture
from pixelwise.cli.app import run as command
from pixelwise.data.convert import convert
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.errors import DataError, Stopped
from pixelwise.labels import three_bands
from pixelwise.predict import jobs
from pixelwise.predict.model import load
from pixelwise.training.loop import train
from pixelwise.training.recipe import Optim
from small_model import save_model
from tiff import write_tiff


def canonical_set(root: Path, write, **description) -> Path:
    """Eight pictures of three classes; ``write`` saves a label map's picture at a path."""
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    for i in range(8):
        labels = picture(i)[1]
        write(root / "images" / f"p{i}.tif", labels)
        Image.fromarray(labels).save(root / "labels" / f"p{i}.png")
    text = json.dumps({"classes": ["red", "green", "blue"], **description})
    (root / "dataset.json").write_text(text)
    return root


def grey_of_16_bits(path: Path, labels: np.ndarray) -> None:
    """Classes are 30 levels apart: in 8 bits all three are 4."""
    write_tiff(path, 1000 + 30 * labels.astype(np.uint16), 16)


def near_infrared(path: Path, labels: np.ndarray) -> None:
    """Red, green and blue say nothing; the fourth band has the classes."""
    bands = np.full((*labels.shape, 4), 90)
    bands[..., 3] = 60 * labels
    write_tiff(path, bands, 8, photometric=2, extra=(0,))


def cube_with_gaps(path: Path, labels: np.ndarray) -> None:
    """Twelve bands, of which the eighth has the classes; nothing is known of two rows."""
    cube = np.random.default_rng(0).normal(5000, 50, (*labels.shape, 12)).astype(np.float32)
    cube[..., 7] += 500.0 * labels
    cube[:2], cube[5, 5, 3] = np.nan, np.nan
    np.save(path.with_suffix(".npy"), cube)


@pytest.mark.parametrize(
    ("write", "description", "bands", "values", "preprocessed"),
    [
        (
            cube_with_gaps,
            {"values": "gaps", "false_colour": [7, 7, 0]},
            12,
            np.float32,
            "gaps",
        ),
        (grey_of_16_bits, {"values": "stored"}, 1, np.uint16, "stored"),
        (near_infrared, {}, 4, np.uint8, "8-bit"),
    ],
)
def test_a_net_learns_what_only_further_bits_or_bands_show(
    tmp_path: Path, write, description, bands: int, values: type, preprocessed: str
) -> None:
    root = canonical_set(tmp_path / "data", write, **description)
    recipe = small_runs.recipe(root, iterations=40)
    train(recipe, tmp_path / "run")
    model = load(tmp_path / "run")
    assert model.header.options["channels"] == bands
    assert model.header.preprocess["values"] == preprocessed
    assert model.evaluate(root, "val").scores.mean_iu > (0.8 if bands < 12 else 0.7)
    path, truth = next(root.glob("images/p0.*")), picture(0)[1]
    found = model.predict(path)
    assert (found.image.shape, found.image.dtype) == ((40, 48, bands), values)
    assert (found.labels == truth).mean() > 0.9
    assert np.array_equal(model.predict(found.image).labels, found.labels)
    assert found.overlay.size[0] > 48
    assert np.array_equal(found.shown, three_bands(found.image, (7, 7, 0) if bands > 4 else ()))
    assert command(["data", "view", str(root), "-o", str(tmp_path / "view.html")]) == 0
    photo = tmp_path / "photo.png"
    Image.fromarray(picture(0)[0]).save(photo)
    with pytest.raises(DataError, match=rf"the net takes \(H, W, {bands}\)") as caught:
        model.predict(photo)
    assert caught.value.code == "D018"


def spectrum_of_two(path: Path, labels: np.ndarray) -> None:
    """Ten bands, of which those of even number rise and fall with the class, and no other."""
    cube = np.random.default_rng(labels.sum()).normal(5000, 50, (*labels.shape, 10))
    cube[..., ::2] += 150.0 * labels[..., None]
    np.save(path.with_suffix(".npy"), cube.astype(np.float32))


SPECTRAL = {"net": "fcn-spectral", "width": 0.125, "iterations": 40, "batch": 2}
SPECTRAL |= {"optim": Optim("adamw", lr=3e-2)}


def test_a_net_is_shown_the_bands_that_were_chosen_and_no_other(tmp_path: Path) -> None:
    root = canonical_set(tmp_path / "data", spectrum_of_two, values="stored")
    train(small_runs.recipe(root, bands=(8, 0), **SPECTRAL), tmp_path / "run")
    model = load(tmp_path / "run")
    assert model.header.options["channels"] == 2
    assert model.predictor.bands == 10
    assert model.evaluate(root, "val").scores.mean_iu > 0.8
    cube = np.load(root / "images/p0.npy")
    labels = model.predict(cube).labels
    cube[..., 1:8] = -1e6
    assert np.array_equal(model.predict(cube).labels, labels)
    with pytest.raises(DataError, match=r"the net takes \(H, W, 10\)"):
        model.predict(cube[..., [8, 0]])


def test_components_are_learned_in_training_and_stay_with_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the class moves in five bands is the first component; the net has one channel."""
    root = canonical_set(tmp_path / "data", spectrum_of_two, values="stored")
    recipe = small_runs.recipe(root, pca=1, **SPECTRAL)
    train(recipe, tmp_path / "run")
    model = load(tmp_path / "run")
    assert model.header.options["channels"] == 1
    (row,) = model.header.preprocess["components"]
    assert np.abs(row[::2]).min() > 5 * np.abs(row[1::2]).max()
    assert model.evaluate(root, "val").scores.mean_iu > 0.8
    copy = load(model.save(tmp_path / "copy.safetensors"))
    labels = model.predict(root / "images/p0.npy").labels
    assert np.array_equal(copy.predict(root / "images/p0.npy").labels, labels)
    # Trained on from there, the net is shown what it has learned, not components of other data.
    further = canonical_set(tmp_path / "further", spectrum_of_two, values="stored")
    for path in further.glob("images/*.npy"):
        np.save(path, np.load(path)[..., ::-1] * 3)
    on = recipe.replace(data=str(further), iterations=1, weights=str(tmp_path / "run"))
    train(on, tmp_path / "on")
    assert load(tmp_path / "on").header.preprocess == model.header.preprocess
    # Stopped and resumed it has the same components, and ends with the same weights.
    small_runs.stop_after(monkeypatch, 3)
    with pytest.raises(Stopped):
        train(recipe, tmp_path / "again")
    monkeypatch.undo()
    train(recipe, tmp_path / "again", resume=True)
    ends = [(tmp_path / n / "weights/last.safetensors").read_bytes() for n in ("run", "again")]
    assert ends[0] == ends[1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("bands=10", "bands=10 pca=0: of 1 inputs with 10 bands"),
        ("bands=1,2 pca=3", "bands=1,2 pca=3: of 1 inputs"),
        ("pca=11", "pca=11: of 1 inputs with 10 bands"),
        ("bands=1,1", "bands names one twice"),
    ],
)
def test_bands_that_are_not_there_are_refused_before_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: str, said: str
) -> None:
    root = canonical_set(tmp_path / "data", spectrum_of_two, values="stored")
    assert small_runs.train(root, tmp_path / "run", f"iterations=1 {settings}") == 2
    assert said in capsys.readouterr().err


def test_converting_keeps_which_values_are_taken(tmp_path: Path) -> None:
    root = canonical_set(tmp_path / "data", grey_of_16_bits, values="stored")
    again = open_dataset(convert(open_dataset(root), tmp_path / "again"))
    assert again.values == "stored"
    assert again.read(again.all_items()[0]).image.dtype == np.uint16
    (root / "dataset.json").write_text('{"classes": ["red", "green", "blue"], "values": "16"}')
    with pytest.raises(DataError, match="values is 16, expected one of 8-bit, stored"):
        open_dataset(root)


def test_a_net_of_colours_refuses_a_fourth_band_and_does_not_cut_it(tmp_path: Path) -> None:
    """From every door, and among many pictures as a failure that is counted."""
    path = tmp_path / "in" / "near.tif"
    path.parent.mkdir()
    near_infrared(path, picture(0)[1])
    model = load(save_model(tmp_path / "m.safetensors"))
    with Image.open(path) as image:
        for source in (path, path.read_bytes(), image):
            with pytest.raises(
                DataError, match=r"\(40, 48, 4\), the net takes \(H, W, 3\)"
            ) as caught:
                model.predict(source)
            assert caught.value.code == "D018"
    plan = jobs.plan([str(path.parent)], tmp_path / "out", save="labels")
    (failure,) = jobs.carry_out(plan, model).failures
    assert (failure["code"], failure["path"]) == ("D018", str(path))


def test_gaps_are_void_and_count_in_no_statistic(tmp_path: Path) -> None:
    root = canonical_set(tmp_path / "data", cube_with_gaps, values="gaps")
    dataset = open_dataset(root)
    sample = dataset.read(dataset.all_items()[0])
    assert (sample.labels == 255).sum() == 2 * 48 + 1
    counted = inspect(dataset).statistics("train")
    known = [dataset.read(i).image[..., 3] for i in dataset.items("train")]
    assert counted.mean[3] == pytest.approx(np.nanmean(known), rel=1e-6)
    assert counted.std[3] == pytest.approx(np.nanstd(known), rel=1e-3)
    (root / "dataset.json").write_text('{"classes": ["r", "g", "b"], "values": "stored"}')
    problems = inspect(open_dataset(root)).problems
    assert all("1,153 numbers that are not finite" in str(problem) for problem in problems)
    assert len(problems) == 8


def test_bands_to_show_that_are_not_there_are_refused(tmp_path: Path) -> None:
    root = canonical_set(tmp_path / "data", near_infrared, false_colour=[4, 1, 0])
    dataset = open_dataset(root)
    with pytest.raises(DataError, match="has 4 bands, and false_colour names 4, 1, 0"):
        dataset.read(dataset.all_items()[0])
    again = open_dataset(canonical_set(tmp_path / "b", near_infrared, false_colour=[3, 1, 0]))
    assert open_dataset(convert(again, tmp_path / "c")).false_colour == (3, 1, 0)
    (root / "dataset.json").write_text('{"classes": ["r", "g", "b"], "false_colour": [1, 2]}')
    with pytest.raises(DataError, match="names 2 bands, expected three"):
        open_dataset(root)


def test_a_trained_trunk_of_colours_learns_on_with_further_bands(tmp_path: Path) -> None:
    colours = save_model(tmp_path / "m.safetensors")
    root = canonical_set(tmp_path / "data", near_infrared)
    recipe = small_runs.recipe(root, weights=str(colours), iterations=2, inflation="repeat")
    recipe = recipe.replace(
        net=load(colours).header.net, width=load(colours).header.options["width"]
    )
    train(recipe, tmp_path / "run")
    (start,) = small_runs.events(tmp_path / "run", "start")
    assert start["weights"]["counts"]["widened"] == 1
    assert any("by repeat" in note for note in start["weights"]["notes"])
