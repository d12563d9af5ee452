"""Whole runs in small: what they leave behind, and how they end when something is wrong."""

from __future__ import annotations

import errno
import json
import os
import traceback
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import pixelwise as pw
from make_data import folder_set
from pixelwise.cli.app import run
from pixelwise.errors import DataError, NumericalError, ResourceError, UsageError
from pixelwise.files import write_json
from pixelwise.runfolder import read_journal
from pixelwise.training import loop
from pixelwise.training.recipe import Augmentation, Loss, Optim, Recipe
from pixelwise.training.recipe_text import read_recipe
from pixelwise.training.state import generations
from pixelwise.weights.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = folder_set(tmp_path_factory.mktemp("data") / "set", count=16)
    write_json(root / "classes.json", {"classes": ["sky", "grass", "road"]})
    return root


def recipe(data: Path, **changes) -> Recipe:
    settings = {
        "net": "fcn8s-tiny",
        "width": 0.5,
        "iterations": 60,
        "batch": 4,
        "threads": 1,
        "augment": Augmentation(mirror=False),
        "optim": Optim("adamw", lr=5e-3),
    }
    return Recipe(data=str(data), **(settings | changes))


def events(run: Path, kind: str) -> list[dict]:
    return [e for e in read_journal(run / "journal.jsonl") if e["event"] == kind]


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "first"
    loop.train(recipe(data), run)
    return run


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


def test_the_data_folder_itself_is_no_run_folder(data: Path) -> None:
    before = sorted(p.name for p in data.iterdir())
    with pytest.raises(UsageError, match="is the data itself") as caught:
        loop.train(recipe(data), data)
    assert caught.value.code == "U003"
    assert sorted(p.name for p in data.iterdir()) == before


def test_a_folder_of_other_things_is_no_run_folder(data: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    with pytest.raises(UsageError, match="holds thesis/, which is not of a run") as caught:
        loop.train(recipe(data, iterations=1), tmp_path)
    assert caught.value.code == "U003"
    assert [p.name for p in tmp_path.iterdir()] == ["thesis"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_log_may_lie_in_the_run_folder(data: Path, tmp_path: Path, resume: bool) -> None:
    (tmp_path / "slurm.out").write_text("begun")
    loop.train(recipe(data, iterations=1), tmp_path, resume=resume)
    assert (tmp_path / "slurm.out").read_text() == "begun"


def test_a_run_that_is_refused_leaves_no_folder(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="split `night`"):
        loop.train(recipe(data, train_split="night"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


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


def test_fine_tuning_keeps_the_trunk_and_starts_other_classes_anew(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pixelwise")
    other = folder_set(tmp_path / "other", count=6)
    write_json(other / "classes.json", {"classes": ["a", "b", "c", "d", "e"]})
    plan = recipe(other, weights=str(finished), iterations=1, optim=Optim("sgd", lr=1e-12))
    loop.train(plan.replace(force=True, frozen_bn=True), tmp_path / "tuned")
    told = events(tmp_path / "tuned", "start")[0]["weights"]
    rows = {row["target"]: row["action"] for row in told["rows"]}
    old, new = (
        load_checkpoint(run / "weights" / name)[1]
        for run, name in ((finished, "best.safetensors"), (tmp_path / "tuned", "last.safetensors"))
    )
    scored = [name for name in new if name.startswith("score")]
    assert scored
    for name, tensor in new.items():
        if name in scored:
            assert tensor.shape[0] == 5
            assert tensor.abs().max() < 1e-9  # zero, and one step at a rate of nothing
            assert rows[name] != "copied"
        else:
            torch.testing.assert_close(tensor, old[name], msg=name)
    assert pw.load(tmp_path / "tuned").classes == ("a", "b", "c", "d", "e")
    assert "other classes: score_fr.bias, score_fr.weight" in caplog.text
    assert "start anew, the rest is kept" in caplog.text


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


def test_minutes_end_a_run_and_the_rate_follows_the_clock(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, iterations=0, minutes=0.03, accumulate=2)
    plan = plan.replace(schedule=replace(plan.schedule, name="poly"))
    loop.train(plan, tmp_path)
    rates = [e["lr"] for e in events(tmp_path, "step")]
    assert rates == sorted(rates, reverse=True)
    end = events(tmp_path, "end")[0]
    assert 1.8 <= end["seconds"] < 30


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


def test_learned_upsampling_and_frozen_trunks_train_what_they_say(finished, data, tmp_path) -> None:
    plan = recipe(data, weights=str(finished), iterations=3, freeze="trunk")
    loop.train(plan, tmp_path / "frozen")
    old = load_checkpoint(finished / "weights" / "best.safetensors")[1]
    new = load_checkpoint(tmp_path / "frozen" / "weights" / "last.safetensors")[1]
    changed = {name.partition(".")[0] for name in new if not torch.equal(new[name], old[name])}
    assert changed
    assert all(name.startswith("score") for name in changed)
    with pytest.raises(UsageError, match="freeze: trunk needs weights"):
        recipe(data, freeze="trunk")


@pytest.mark.parametrize("names", [["road", "sky", "grass"], ["a", "b", "c"]])
def test_as_many_other_classes_are_other_classes(
    finished: Path, tmp_path: Path, names: list[str]
) -> None:
    other = folder_set(tmp_path / "other", count=6)
    write_json(other / "classes.json", {"classes": names})
    plan = recipe(other, weights=str(finished), iterations=1, optim=Optim("sgd", lr=1e-12))
    loop.train(plan.replace(force=True), tmp_path / "tuned")
    told = events(tmp_path / "tuned", "start")[0]["weights"]
    assert "start anew, the rest is kept" in told["notes"][-1]
    new = load_checkpoint(tmp_path / "tuned/weights/last.safetensors")[1]
    assert max(t.abs().max() for name, t in new.items() if name.startswith("score")) < 1e-9
    assert {r["action"] for r in told["rows"] if r["target"].startswith("score")} == {"mismatched"}


def test_the_same_classes_keep_their_scores_and_so_do_numbers(finished: Path, tmp_path) -> None:
    other = folder_set(tmp_path / "other", count=6)  # classes 0, 1 and 2: nobody named them
    plan = recipe(other, weights=str(finished), iterations=1)
    loop.train(plan, tmp_path / "tuned")
    told = events(tmp_path / "tuned", "start")[0]["weights"]
    assert told["notes"] == []
    assert {r["action"] for r in told["rows"] if r["target"].startswith("score")} == {"copied"}


def test_learned_upsampling_of_other_classes_starts_anew(data: Path, tmp_path: Path) -> None:
    loop.train(recipe(data, learned="all", iterations=1), tmp_path / "first")
    other = folder_set(tmp_path / "other", count=6)
    write_json(other / "classes.json", {"classes": ["a", "b", "c", "d"]})
    plan = recipe(other, learned="all", iterations=1, weights=str(tmp_path / "first"))
    loop.train(plan, tmp_path / "tuned")
    rows = events(tmp_path / "tuned", "start")[0]["weights"]["rows"]
    ups = {r["target"]: r["action"] for r in rows if r["target"].startswith("up")}
    assert ups
    assert set(ups.values()) == {"mismatched"}


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


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_the_datas_own_folders_are_no_run_folders(tmp_path: Path, folder: str) -> None:
    root = folder_set(tmp_path / "set")
    before = sorted((root / folder).iterdir())
    with pytest.raises(UsageError, match="holds the data's own files") as caught:
        loop.train(recipe(root), root / folder)
    assert caught.value.code == "U003"
    assert sorted((root / folder).iterdir()) == before


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
