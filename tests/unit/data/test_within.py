"""Labels of one picture in parts: apart as far as a net sees, counted, told where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import small_runs
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.data.inspect import inspect
from pixelwise.data.sample import majority
from pixelwise.data.within import reached, seen_in_training
from pixelwise.errors import DataError
from pixelwise.labels import VOID
from pixelwise.nets import catalog
from pixelwise.predict.model import load
from pixelwise.training.loop import train

Out = pytest.CaptureFixture[str]
BANDS, SIDE, SCALE = 12, 48, 2


def cube_set(root: Path, scale: int = SCALE) -> Path:
    """One cube of three spectra in blocks of 6 pixels, labelled but for every fifth row."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (SIDE // 6, SIDE // 6)).repeat(6, 0).repeat(6, 1).astype(np.uint8)
    spectra = rng.normal(1000, 300, (3, BANDS))
    cube = spectra[truth] + rng.normal(0, 60, (SIDE, SIDE, BANDS))
    truth[::5] = VOID
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    np.save(root / "images/scene.npy", cube.astype(np.float32))
    Image.fromarray(truth.repeat(scale, 0).repeat(scale, 1)).save(root / "labels/scene.png")
    told = {"classes": ["a", "b", "c"], "values": "stored", "label_scale": scale}
    (root / "dataset.json").write_text(json.dumps(told))
    return root


def known(root: Path, split: str) -> np.ndarray:
    dataset = open_dataset(root)
    (item,) = dataset.items(split)
    return dataset.read(item).labels != VOID


def test_labels_that_are_finer_are_read_by_majority_of_what_is_labelled() -> None:
    fine = np.array([[0, 0, 9, 9], [1, 255, 9, 2], [255, 255, 4, 3], [255, 7, 3, 4]], np.uint8)
    # 0 0 1 -> 0; 9 9 9 2 -> 9; one 7 alone -> 7; a tie of 3 and 4 -> the lower
    assert majority(fine, 2).tolist() == [[0, 9], [7, 3]]
    assert majority(np.full((4, 4), 255, np.uint8), 4).tolist() == [[255]]


def test_a_scale_must_be_declared_and_fit(tmp_path: Path) -> None:
    root = cube_set(tmp_path / "d")
    dataset = open_dataset(root)
    assert dataset.read(dataset.all_items()[0]).labels.shape == (SIDE, SIDE)
    print_before = dataset.fingerprint()
    told = json.loads((root / "dataset.json").read_text())
    for scale, code in ((1, "D013"), (5, "D013")):
        (root / "dataset.json").write_text(json.dumps(told | {"label_scale": scale}))
        other = open_dataset(root)
        with pytest.raises(DataError) as caught:
            other.read(other.all_items()[0])
        assert caught.value.code == code
        assert other.fingerprint() != print_before


def test_a_converted_set_has_the_majority_as_its_labels(tmp_path: Path) -> None:
    root = cube_set(tmp_path / "d")
    told = json.loads((root / "dataset.json").read_text())
    del told["label_scale"]
    (root / "dataset.json").write_text(json.dumps(told))
    assert run(["data", "convert", str(root), str(tmp_path / "c"), "--label-scale", "2"]) == 0
    converted = open_dataset(tmp_path / "c")
    (item,) = converted.all_items()
    fine = np.asarray(Image.open(root / "labels/scene.png"))
    assert np.array_equal(converted.read(item).labels, majority(fine, SCALE))


def test_reach_is_a_square_and_a_net_sees_half_its_field() -> None:
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    wanted = np.zeros((9, 9), bool)
    wanted[2:7, 2:7] = True
    assert np.array_equal(reached(mask, 2), wanted)
    assert np.array_equal(reached(mask, 0), mask)
    assert catalog.spec("fcn-spectral").receptive_field == 9


@pytest.mark.parametrize("gap", ["-1", "2"])
def test_blocks_keep_a_gap_and_every_class_in_every_split(
    tmp_path: Path, capsys: Out, gap: str
) -> None:
    root = cube_set(tmp_path / "d")
    assert run(["data", "split", str(root), "--test", "0.2", "--gap", gap, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    parts = {split: known(root, split) for split in ("train", "val", "test")}
    counted = {s: [row["pixels"][s] for row in told["classes"]] for s in parts}
    assert {s: sum(row) for s, row in counted.items()} == {s: m.sum() for s, m in parts.items()}
    assert all(min(row) > 0 for row in counted.values())
    held = parts["val"] | parts["test"]
    radius = 4 if gap == "-1" else 2
    assert not (reached(held, radius) & parts["train"]).any()
    assert not (parts["val"] & parts["test"]).any()
    total = int((majority(np.asarray(Image.open(root / "labels/scene.png")), SCALE) != VOID).sum())
    assert 0.3 * total < held.sum() < 0.5 * total
    assert bool(told["notes"]) == (gap == "2")
    # the same again, whatever the lists say by now
    before = (root / "splits/train/scene.png").read_bytes()
    assert run(["data", "split", str(root), "--test", "0.2", "--gap", gap, "--force"]) == 0
    assert (root / "splits/train/scene.png").read_bytes() == before
    dataset = open_dataset(root)
    assert not inspect(dataset).problems
    assert not any("copies" in text or "look like" in text for text in inspect(dataset).warnings)


def test_pixels_have_their_share_and_are_told_to_leak(tmp_path: Path, capsys: Out) -> None:
    root = cube_set(tmp_path / "d")
    assert run(["data", "split", str(root), "--by", "pixels", "--held", "0.25"]) == 0
    err = capsys.readouterr().err
    assert "note: 100% of the pixels held out lie in the field of fcn-spectral (9 px)" in err
    val, trained = known(root, "val"), known(root, "train")
    assert val.sum() == pytest.approx(0.25 * (val | trained).sum(), rel=0.1)


def test_labels_nearer_than_a_net_sees_are_told_for_that_net(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Columns 0 to 9 are trained on, 16 to 23 held out: six lie between, and 16 is seven away."""
    root, truth = cube_set(tmp_path / "d", 1), np.full((2, SIDE, SIDE), VOID, np.uint8)
    truth[0, :, :10], truth[1, :, 16:24] = 0, 1
    for split, labels in zip(("train", "val"), truth, strict=True):
        place = root / f"splits/{split}/scene.png"
        place.parent.mkdir(parents=True)
        Image.fromarray(labels).save(place)
        (root / f"splits/{split}.txt").write_text(f"scene\tsplits/{split}/scene.png\n")
    dataset = open_dataset(root)
    assert not any("lie in the field" in text for text in inspect(dataset).warnings)
    # Half of a field of 19 px is 9: columns 16, 17 and 18 of the eight.
    assert seen_in_training(truth[0] != VOID, truth[1] != VOID, "fcn-spectral")[0] == 0
    assert reached(truth[0] != VOID, 9)[:, 16:24].mean() == 3 / 8
    (wide,) = (t for t in inspect(dataset, net="segnet-tiny").warnings if "lie in the field" in t)
    assert wide.startswith(
        "100% of the pixels of scene.npy in split val lie in the field of segnet-tiny"
    )
    small = {"iterations": 1, "batch": 1, "width": 0.0625}
    train(small_runs.recipe(root, net="fcn8s-tiny", **small), tmp_path / "run")
    assert "lie in the field of fcn8s-tiny" in caplog.text
    assert "--gap N" in caplog.text
    caplog.clear()
    train(small_runs.recipe(root, net="fcn-spectral", **small), tmp_path / "narrow")
    assert "lie in the field" not in caplog.text


def test_parts_that_overlap_are_a_leak(tmp_path: Path) -> None:
    root = cube_set(tmp_path / "d")
    assert run(["data", "split", str(root)]) == 0
    both = np.asarray(Image.open(root / "splits/train/scene.png")).copy()
    both[np.asarray(Image.open(root / "splits/val/scene.png")) != VOID] = 1
    Image.fromarray(both).save(root / "splits/train/scene.png")
    (problem,) = inspect(open_dataset(root)).problems
    assert problem.code == "D033"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--folds", "3"], "parts one head of canonical data"),
        (["-o", "elsewhere"], "parts one head of canonical data"),
        (["--gap", "40"], "nothing is left for split train with a gap of 40 px"),
    ],
)
def test_what_cannot_be_parted_is_refused(
    tmp_path: Path, capsys: Out, options: list[str], said: str
) -> None:
    root = cube_set(tmp_path / "d")
    assert run(["data", "split", str(root), "--by", "blocks", *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(root.glob("splits/*.txt"))


def test_a_run_on_parts_is_judged_on_the_others_and_knows_which_it_saw(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = cube_set(tmp_path / "d")
    assert run(["data", "split", str(root), "--gap", "1"]) == 0
    recipe = small_runs.recipe(root, net="fcn-spectral", iterations=60, batch=1)
    train(recipe, tmp_path / "run")
    model = load(tmp_path / "run")
    caplog.clear()
    judged = model.evaluate(root, "val")
    assert judged.trained_on == ()
    assert judged.counts.sum() == known(root, "val").sum()
    assert judged.scores.mean_iu > 0.6
    assert judged.kappa > 0.6
    assert model.evaluate(root, "train").trained_on == ("scene",)
    assert model.predict(root / "images/scene.npy").labels.shape == (SIDE, SIDE)
