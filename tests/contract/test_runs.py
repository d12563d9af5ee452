"""Whole runs in small: what they leave behind, and how they end when something is wrong."""

from __future__ import annotations

import errno
import json
import os
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pixelwise as pw
from make_data import folder_set
from pixelwise.cli.app import run
from pixelwise.data.listing import write_splits
from pixelwise.errors import DataError, NumericalError, ResourceError, UsageError
from pixelwise.machine.files import write_json
from pixelwise.training import loop
from pixelwise.training.length import next_validation
from pixelwise.training.recipe import Augmentation, Loss, Optim
from pixelwise.training.recipe_text import read_recipe
from pixelwise.training.state import generations
from pixelwise.weights.checkpoint import load_checkpoint
from small_runs import events, recipe


def test_it_learns_and_leaves_a_model_scores_and_a_page(finished: Path, data: Path) -> None:
    validated = events(finished, "validate")
    assert len(validated) == 10
    assert validated[-1]["mean_iu"] > max(0.8, validated[0]["mean_iu"])
    model = pw.load(finished)
    assert model.classes == ("sky", "grass", "road")
    scores = json.loads((finished / "evaluation" / "scores.json").read_text())
    best = max(e["mean_iu"] for e in validated)
    assert scores["mean_iu"] == pytest.approx(best, abs=1e-9)
    page = (finished / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    header, _ = load_checkpoint(finished / "weights" / "best.safetensors")
    assert header.scores["mean_iu"] == pytest.approx(best)
    assert (finished / "environment.json").exists()


def test_a_step_that_cannot_fit_is_refused_before_memory_is_taken(
    data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ResourceError, match=r"4 pictures of 90000x90000 \(HxW\)") as caught:
        loop.train(recipe(data, crop=(90000, 90000)), tmp_path / "run")
    assert caught.value.code == "R003"


def test_doubtful_settings_are_warned_of(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plan = recipe(data, iterations=1, crop=(48, 48), val_split="train")
    loop.train(plan, tmp_path / "run")
    assert "crop 48x48 is larger than every picture (at most 40x48" in caplog.text
    assert "`train`, is also evaluated on" in caplog.text


def test_without_a_val_split_the_way_on_is_told(data: Path, tmp_path: Path) -> None:
    one = folder_set(tmp_path / "one", count=1)
    with pytest.raises(DataError, match="split `val` is empty") as caught:
        loop.train(recipe(one, iterations=1), tmp_path / "run")
    assert caught.value.hint.startswith("--set val_split= ")
    best = loop.train(recipe(one, iterations=1, val_split="", batch=1), tmp_path / "run")
    assert best.name == "last.safetensors"


def test_the_command_tells_a_run_as_one_json_document(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    length = ["--iterations", "2", "--threads", "1", "--set", "width=0.5"]
    assert run(["train", str(data), "-o", str(out), *length, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["weights"] == str(out / "weights" / "best.safetensors")
    assert told["scores"]["split"] == "val"
    assert Path(told["report"]).exists()


def test_patience_ends_a_run_that_no_longer_improves(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, validate_every=1, patience=3, iterations=500)
    loop.train(plan.replace(optim=Optim("sgd", lr=1e-12), force=True, frozen_bn=True), tmp_path)
    validated = events(tmp_path, "validate")
    assert [e["best"] for e in validated] == [True, False, False, False]
    assert events(tmp_path, "end")[0]["step"] == 4


def test_a_rate_that_explodes_is_named_and_the_last_state_is_finite(data, tmp_path) -> None:
    plan = recipe(data, save_every=1, optim=Optim("sgd", lr=1e18), force=True)
    with pytest.raises(NumericalError) as caught:
        loop.train(plan, tmp_path)
    assert caught.value.code == "N001"
    assert "step 3" in str(caught.value)
    state = load_checkpoint(generations(tmp_path)[-1])[1]
    assert all(torch.isfinite(t).all() for t in state.values())
    assert "--set optim.lr" in caught.value.hint
    assert "not finite" in events(tmp_path, "end")[0]["reason"]


def test_a_net_of_one_class_is_named_and_kept(data: Path, tmp_path: Path) -> None:
    """A rate that is far too low leaves every pixel in the commonest class."""
    plan = recipe(data, iterations=120, optim=Optim("adamw", lr=2e-6), validate_every=60)
    with pytest.raises(NumericalError, match=r"collapsed to one class") as caught:
        loop.train(plan, tmp_path)
    assert caught.value.code == "N002"
    assert "`sky`" in str(caught.value)
    assert (tmp_path / "weights" / "last.safetensors").exists()
    assert (tmp_path / "report.html").exists()
    assert "collapsed" in events(tmp_path, "warning")[-1]["text"]
    with pytest.raises(NumericalError, match=r"collapsed to one class"):  # nor by trying again
        loop.train(plan, tmp_path, resume=True)


def test_classes_that_never_occur_are_told_before_the_first_step(data, tmp_path) -> None:
    import shutil

    root = shutil.copytree(data, tmp_path / "set")
    write_json(root / "classes.json", {"classes": ["sky", "grass", "road", "unicorn"]})
    loop.train(recipe(root, iterations=2, loss=Loss("mean", "sqrt")), tmp_path / "run")
    warning = events(tmp_path / "run", "warning")[0]
    assert warning["step"] == 0
    assert "`unicorn`" in warning["text"]
    found = json.loads((tmp_path / "run" / "evaluation" / "scores.json").read_text())
    assert np.isfinite(found["mean_iu"])


def test_settings_for_rare_classes_say_when_there_are_none(data, tmp_path) -> None:
    plan = recipe(data, iterations=1, crop=(32, 32), augment=Augmentation(paste=0.5))
    loop.train(plan, tmp_path / "run")
    told = [e["text"] for e in events(tmp_path / "run", "warning")]
    assert "no class is rare here: augment.rare and augment.paste change nothing" in told


def test_damaged_data_is_told_before_the_first_step_with_every_file(data, tmp_path) -> None:
    import shutil

    root = shutil.copytree(data, tmp_path / "set")
    Image.fromarray(np.full((40, 48), 77, np.uint8)).save(root / "labels" / "p3.png")
    Image.fromarray(np.zeros((40, 47), np.uint8)).save(root / "labels" / "p5.png")
    with pytest.raises(DataError) as caught:
        loop.train(recipe(root), tmp_path / "run")
    told = "".join(traceback.format_exception(caught.value))  # what a user of the library sees
    for part in ("p3.png", "77", "p5.png", "40x47"):
        assert part in told
    assert not generations(tmp_path / "run")


def test_a_run_without_validation_keeps_the_last_weights(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, iterations=3, val_split="", train_split="train")
    assert loop.train(plan, tmp_path).name == "last.safetensors"
    assert not events(tmp_path, "validate")
    assert (tmp_path / "report.html").exists()


def test_minutes_end_a_run(data: Path, tmp_path: Path) -> None:
    """By the real clock; that the rate follows it is in ``test_wiring_runs.py``."""
    loop.train(recipe(data, iterations=0, minutes=0.03, accumulate=2), tmp_path)
    end = events(tmp_path, "end")[0]
    assert 1.8 <= end["seconds"] < 30


@pytest.mark.parametrize(
    ("before", "after", "due"),
    [(0.1, 0.1, 0.2), (0.3, 0.3, 0.4), (0.33, 0.33, 0.4), (0.1, 0.15, 0.3), (0.2, 0.5, 1.4)],
)
def test_evaluations_leave_time_to_train(before: float, after: float, due: float) -> None:
    """Every tenth of the run; an evaluation is followed by three times its own time of steps."""
    assert next_validation(before, after) == pytest.approx(due)


def test_a_full_disk_ends_the_run_by_name_and_keeps_the_state_before(
    data, tmp_path, monkeypatch
) -> None:
    from pixelwise.training import state

    written = []
    original = state.save_checkpoint

    def save(path: Path, tensors, header):
        if len(written) == 2:
            raise ResourceError("R001", f"{path}: no space left on the device", "free some")
        written.append(path)
        return original(path, tensors, header)

    monkeypatch.setattr(state, "save_checkpoint", save)
    with pytest.raises(ResourceError):
        loop.train(recipe(data, save_every=1), tmp_path)
    assert generations(tmp_path) == written


def test_batch_norm_over_one_value_is_refused_before_the_first_step(data, tmp_path) -> None:
    plan = recipe(data, batch=1, crop=(32, 32), iterations=1)
    with pytest.raises(UsageError, match=r"batch norm \S+ would see a single value") as caught:
        loop.train(plan, tmp_path / "run")
    assert caught.value.code == "U002"
    assert not (tmp_path / "run").exists()
    for changes in ({"frozen_bn": True}, {"batch": 2}, {"crop": (64, 64)}):
        loop.train(plan.replace(**changes), tmp_path / next(iter(changes)))


def test_small_pictures_among_large_ones_are_seen_beforehand(data: Path, tmp_path: Path) -> None:
    root = folder_set(tmp_path / "mixed", count=8)
    for folder in ("images", "labels"):
        with Image.open(root / folder / "p3.png") as image:
            image.crop((0, 0, 20, 24)).save(root / folder / "p3.png")
    with pytest.raises(UsageError, match="1x1 from 24x24"):
        loop.train(recipe(root, batch=1, iterations=1), tmp_path / "run")


def test_a_disk_that_is_full_for_the_journal_is_told_as_such(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Path.open

    def full(path: Path, mode: str = "r", *arguments, **options):
        if path.name == "journal.jsonl" and "a" in mode:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return original(path, mode, *arguments, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(ResourceError, match="no space left") as caught:
        loop.train(recipe(data), tmp_path / "run")
    assert caught.value.code == "R001"
    assert "--resume" in caught.value.hint


def test_a_data_folder_of_any_name_can_be_trained_on(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"od\xe9d $HOME")
    try:
        folder_set(root)
    except OSError:
        pytest.skip("this file system has no such names")
    run = tmp_path / "run"
    loop.train(recipe(root, iterations=1), run)
    assert read_recipe(run / "recipe.yaml").data == str(root)
    loop.train(read_recipe(run / "recipe.yaml"), run, resume=True)
    assert events(run, "end")
    assert load_checkpoint(run / "weights/last.safetensors")[0].data["path"] == str(root)


def test_a_small_picture_to_validate_on_is_no_batch(tmp_path: Path) -> None:
    root = folder_set(tmp_path / "d", count=8)
    for folder in ("images", "labels"):
        with Image.open(root / folder / "p3.png") as image:
            image.crop((0, 0, 20, 24)).save(root / folder / "p3.png")
        for i in range(8):
            with Image.open(root / folder / f"p{i}.png") as image:
                large = image if i == 3 else image.resize((96, 80), Image.Resampling.NEAREST)
                large.save(root / folder / f"p{i}.png")
    write_splits(root / "splits", {"train": [f"p{i}" for i in (0, 1, 2)], "val": ["p3", "p4"]})
    loop.train(recipe(root, batch=1, iterations=1), tmp_path / "run")


def test_frozen_trunks_may_see_single_values(finished: Path, data: Path, tmp_path: Path) -> None:
    plan = recipe(data, weights=str(finished), freeze="trunk", batch=1, crop=(32, 32))
    loop.train(plan.replace(iterations=1), tmp_path / "run")


def test_guesses_of_earlier_weights_do_not_stay(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, iterations=1)
    loop.train(plan, tmp_path / "run")
    stale = tmp_path / "run/evaluation/guesses/stale.png"
    stale.write_bytes(b"")
    loop.train(plan, tmp_path / "run", resume=True)
    assert not stale.exists()
    assert len(list(stale.parent.iterdir())) > 0


def test_bf16_learns_as_fp32_does(data: Path, tmp_path: Path) -> None:
    """Weights that autocast has cast must not outlive the step that changes them."""
    losses = {}
    for precision in ("fp32", "bf16"):
        loop.train(recipe(data, iterations=40, precision=precision), tmp_path / precision)
        losses[precision] = [e["loss"] for e in events(tmp_path / precision, "step")]
    assert losses["fp32"][-1] < 0.7 * losses["fp32"][0]
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.1)
