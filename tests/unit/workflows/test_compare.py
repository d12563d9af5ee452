"""``pixelwise compare``: models and foreign label maps on the same pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from make_data import canonical_set, picture
from page_tree import page_tree
from pixelwise.cli.app import run
from pixelwise.errors import DataError, UsageError
from pixelwise.evaluation.systems import systems
from pixelwise.predict.model import load
from small_model import save_model

CLASSES = {"wall": (128, 0, 0), "tür, door": (0, 128, 0), "floor": (0, 0, 128)}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    canonical_set(root, {"val": [picture(i) for i in range(5)]}, CLASSES)
    return root


def guesses(data: Path, folder: Path, *, shift: int, coloured: bool = False) -> Path:
    """The truth moved down by ``shift`` rows, as numbers or in the classes' colours."""
    folder.mkdir()
    for path in (data / "labels").iterdir():
        moved = np.roll(np.asarray(Image.open(path)), shift, 0)
        shown = np.array([*CLASSES.values()], np.uint8)[moved] if coloured else moved
        Image.fromarray(shown).save(folder / path.name)
    return folder


def test_models_and_foreign_masks_are_scored_alike(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_model(tmp_path / "net.safetensors")
    near = guesses(data, tmp_path / "near", shift=2)
    far = guesses(data, tmp_path / "far", shift=9, coloured=True)
    out = tmp_path / "out"
    words = [str(model), f"close={near}", str(far), str(data)]
    assert run(["compare", *words, "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [s["name"] for s in told["systems"]] == ["net", "close", "far"]
    by_itself = load(model).evaluate(data, "val")
    assert told["systems"][0]["mean_iu"] == by_itself.scores.mean_iu
    assert run(["score", str(near), str(data), "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert told["systems"][1]["mean_iu"] == scored["mean_iu"]
    pairs = [(d["first"], d["second"]) for d in told["differences"]]
    assert pairs[::2] == [("net", "close"), ("net", "far"), ("close", "far")]
    last = told["differences"][4]
    expected = told["systems"][1]["mean_iu"] - told["systems"][2]["mean_iu"]
    assert last["value"] == pytest.approx(expected)
    assert last["low"] > 0  # two rows off against nine
    on_disk = json.loads((out / "scores.json").read_text())
    assert on_disk["differences"] == told["differences"]


def test_panels_and_page_show_each_guess_beside_the_truth(data: Path, tmp_path: Path) -> None:
    near = guesses(data, tmp_path / "near", shift=2)
    far = guesses(data, tmp_path / "far", shift=9)
    out = tmp_path / "out"
    assert run(["compare", str(near), str(far), str(data), "-o", str(out)]) == 0
    tree = page_tree((out / "compare.html").read_text(encoding="utf-8"))
    words = [span.text for span in tree.all("span")]
    assert sum(word.startswith("near ") for word in words) == 5  # each picture once
    assert len(list(tree.all("img"))) == 5 * 4
    panel = Image.open(next((out / "panels").glob("worst_1_*.png")))
    assert panel.width == 4 * 48 + 3 * 8
    name = next((out / "panels").glob("worst_1_*.png")).stem.removeprefix("worst_1_")
    truth = np.asarray(Image.open(data / "labels" / f"{name}.png"))
    right = np.asarray(panel)[-40:, -48:]
    assert (right == np.array([*CLASSES.values()], np.uint8)[truth]).all()
    second = np.asarray(panel)[-40:, 56 : 56 + 48]
    moved = np.roll(truth, 2, 0)
    assert (second == np.array([*CLASSES.values()], np.uint8)[moved]).all()


def test_names_that_make_one_file_name_keep_their_guesses_apart(data: Path, tmp_path: Path) -> None:
    models = [save_model(tmp_path / f"{i}.safetensors", seed=i) for i in range(2)]
    words = [f"a b={models[0]}", f"a+b={models[1]}", str(data)]
    assert run(["compare", *words, "-o", str(tmp_path / "out")]) == 0
    folders = sorted((tmp_path / "out" / "guesses").iterdir())
    assert [f.name for f in folders] == ["a_b 1", "a_b 2"]
    maps = [np.asarray(Image.open(folder / "val0.png")) for folder in folders]
    for model, labels in zip(models, maps, strict=True):
        assert (load(model).predict(data / "images" / "val0.png").labels == labels).all()


def test_missing_guesses_are_all_listed_before_any_net_runs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    near = guesses(data, tmp_path / "near", shift=2)
    (near / "val1.png").unlink()
    (near / "val3.png").write_bytes(b"\x89PNG broken")
    out = tmp_path / "out"
    broken = tmp_path / "net.safetensors"
    broken.write_bytes(b"never opened")
    assert run(["compare", str(broken), str(near), str(data), "-o", str(out)]) == 3
    assert "val1: no guess in" in capsys.readouterr().err
    assert not out.exists()
    shutil.copy(near / "val2.png", near / "val1.png")
    assert run(["compare", str(near), str(data), "-o", str(out)]) == 3
    assert "val3.png" in capsys.readouterr().err


def test_systems_are_told_apart_by_name(tmp_path: Path) -> None:
    for folder in ("a/run", "b/run", "x=y"):
        (tmp_path / folder).mkdir(parents=True)
    first, second = tmp_path / "a/run", tmp_path / "b/run"
    assert [s.name for s in systems([str(first), str(second)])] == ["run 1", "run 2"]
    assert [s.name for s in systems([f"mine={first}", str(tmp_path / "x=y")])] == ["mine", "x=y"]
    (first / "recipe.yaml").write_text("")
    assert [s.is_model for s in systems([str(first), str(second)])] == [True, False]
    with pytest.raises(UsageError, match="two systems are called mine"):
        systems([f"mine={first}", f"mine={second}"])
    with pytest.raises(DataError, match=r"nowhere: no such file or folder"):
        systems([str(tmp_path / "nowhere")])


def test_systems_without_data_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["compare", "guesses", "-o", "out"]) == 2
    assert "expected systems and then the data" in capsys.readouterr().err


def test_the_published_output_of_fcn8s_scores_as_its_readme_says(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """VOC 2007_000129, labelled by the released weights; the demo's figures by another program."""
    published = real_data / "voc_samples" / "fcn8s_published_output"
    root = tmp_path / "VOC2012"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation", "../guesses"):
        (root / folder).mkdir(parents=True)
    shutil.copy(published / "image.jpg", root / "JPEGImages" / "2007_000129.jpg")
    shutil.copy(published / "label.png", root / "SegmentationClass" / "2007_000129.png")
    shutil.copy(published / "output.png", tmp_path / "guesses" / "2007_000129.png")
    (root / "ImageSets/Segmentation/val.txt").write_text("2007_000129\n")
    out = tmp_path / "out"
    assert run(["compare", str(tmp_path / "guesses"), str(root), "-o", str(out), "--json"]) == 0
    [system] = json.loads(capsys.readouterr().out)["systems"]
    assert system["pixel_accuracy"] == pytest.approx(0.8425, abs=5e-5)
    ius = {name: iu for name, iu in system["per_class"].items() if iu is not None}
    assert ius == pytest.approx({"background": 0.777, "bicycle": 0.662, "person": 0.72}, abs=1e-3)
