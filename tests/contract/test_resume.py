"""A run that is stopped and continued ends with the same bits as one that never was."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from make_data import folder_set
from pixelwise.data.dataset import DataSet
from pixelwise.errors import DataError, ModelError, Stopped, UsageError
from pixelwise.folders import read_journal
from pixelwise.predict import model
from pixelwise.training import loop
from pixelwise.training.recipe import Augmentation, Loss, Optim, Recipe, Schedule
from pixelwise.training.recipe_text import read_recipe, write_recipe
from pixelwise.training.run import Run
from pixelwise.training.state import generations
from pixelwise.weights.checkpoint import load_checkpoint, save_checkpoint
from small_runs import stop_after

EVERYTHING = Augmentation(
    mirror=True,
    scale=(0.7, 1.4),
    jitter=2,
    brightness=0.2,
    contrast=0.2,
    saturation=0.3,
    hue=0.1,
    rare=0.3,
    paste=0.5,
    noise=0.1,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a rare class, so that what looks for one finds it."""
    root = folder_set(tmp_path_factory.mktemp("data") / "set")
    for path in (root / "labels").iterdir():
        labels = np.array(Image.open(path))
        labels[4:10, 4:10] = 3
        Image.fromarray(labels).save(path)
    return root


def recipe(data: Path, **changes) -> Recipe:
    """Six steps of a narrow VGG16, which has dropout, with everything random switched on.

    Warm-up ends after the fourth, so that it is under way where tests stop.
    """
    settings = {
        "net": "fcn8s-vgg16-tight",
        "width": 1 / 32,
        "iterations": 6,
        "batch": 2,
        "crop": (32, 32),
        "ema": 0.9,
        "save_every": 1,
        "validate_every": 3,
        "threads": 1,
        "augment": EVERYTHING,
        "optim": Optim("adamw", lr=1e-3),
        "schedule": Schedule("poly", warmup=4),
    }
    return Recipe(data=str(data), **(settings | changes))


SAMPLED = {"loss": Loss(keep=0.5, sample="pixel")}


def test_everything_random_is_switched_on() -> None:
    off = Augmentation(mirror=False)
    assert not [f.name for f in fields(off) if getattr(off, f.name) == getattr(EVERYTHING, f.name)]


def state(run: Path) -> dict[str, torch.Tensor]:
    """Weights, optimizer and average in the newest saved state."""
    return load_file(generations(run)[-1])


def assert_same(a: Path, b: Path) -> None:
    one, two = state(a), state(b)
    assert one.keys() == two.keys()
    assert any(k.startswith("optim.") for k in one)
    assert any(k.startswith("ema.") for k in one)
    different = [k for k in one if not torch.equal(one[k], two[k])]
    assert different == []


@pytest.mark.parametrize(
    "changes", [{}, {"accumulate": 2}, {"workers": 2}, {"optim": Optim("sgd", lr=1e-3)}, SAMPLED]
)
def test_three_steps_and_three_more_are_six(data, tmp_path, monkeypatch, changes) -> None:
    plan = recipe(data, **changes)
    loop.train(plan, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped) as stopped:
            loop.train(plan, tmp_path / "parts")
    assert stopped.value.exit_code == 143
    assert "--resume" in stopped.value.hint
    assert shlex.split(stopped.value.hint)[-2] == str(tmp_path / "parts")
    loop.train(plan, tmp_path / "parts", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "parts")


def test_the_journal_tells_each_step_once_after_a_resume(data, tmp_path, monkeypatch) -> None:
    plan = recipe(data)
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(Stopped):
            loop.train(plan, tmp_path / "run")
    loop.train(plan, tmp_path / "run", resume=True)
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    validations = [e["step"] for e in events if e["event"] == "validate"]
    assert validations == [3, 6]
    assert [e["step"] for e in events if e["event"] == "resume"] == [4]
    assert events[-1]["reason"] == "done"


def test_a_finished_run_says_so_and_keeps_its_weights(data, tmp_path, caplog) -> None:
    plan = recipe(data, iterations=3)
    best = loop.train(plan, tmp_path / "run")
    before = best.read_bytes()
    assert "finished" not in caplog.text
    assert loop.train(plan, tmp_path / "run", resume=True).read_bytes() == before
    assert f"{tmp_path / 'run'} was finished" in caplog.text
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    assert [e["step"] for e in events if e["event"] == "validate"] == [3]


def test_killed_at_any_moment_it_continues_to_the_same_weights(data, tmp_path) -> None:
    """SIGKILL in the middle of things, three times over; a real process."""
    plan = recipe(data, iterations=8)
    loop.train(plan, tmp_path / "whole")
    write_recipe(tmp_path / "plan.yaml", plan)
    run = tmp_path / "killed"
    command = [
        sys.executable,
        "-m",
        "pixelwise",
        "train",
        str(tmp_path / "plan.yaml"),
        "-o",
        str(run),
    ]
    kills = 0
    for attempt in range(12):
        resume = ["--resume"] if generations(run) else []
        if not resume:
            import shutil

            shutil.rmtree(run, ignore_errors=True)
        process = subprocess.Popen(
            command + resume, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=os.environ
        )
        before = len(generations(run)) and generations(run)[-1].name
        if kills < 3:
            deadline = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < deadline:
                newest = generations(run)
                if newest and newest[-1].name != before:
                    time.sleep(0.01 * (attempt + 1))
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    break
                time.sleep(0.002)
        _, errors = process.communicate(timeout=240)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
    assert process.returncode == 0
    assert kills >= 1
    assert_same(tmp_path / "whole", run)
    assert not list((run / "state").glob(".*.tmp"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(data, tmp_path, number, code) -> None:
    write_recipe(tmp_path / "plan.yaml", recipe(data, iterations=100_000))
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "pixelwise", "train", str(tmp_path / "plan.yaml"), "-o", str(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while process.poll() is None and not generations(run):
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors.decode()
    assert f"pixelwise train {run}/recipe.yaml -o {run} --resume" in errors.decode()
    assert (run / "weights" / "last.safetensors").exists()


def test_a_damaged_state_falls_back_to_the_one_before(data, tmp_path, caplog) -> None:
    plan = recipe(data)
    loop.train(plan, tmp_path / "run")
    newest = generations(tmp_path / "run")[-1]
    content = bytearray(newest.read_bytes())
    content[-100] ^= 0x10
    newest.write_bytes(content)
    loop.train(plan, tmp_path / "run", resume=True)
    assert "falling back" in caplog.text
    for path in generations(tmp_path / "run"):
        path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ModelError, match="no state is whole"):
        loop.train(plan, tmp_path / "run", resume=True)


def test_runs_are_not_mixed(data, tmp_path) -> None:
    plan = recipe(data, iterations=1)
    loop.train(plan, tmp_path / "run")
    with pytest.raises(UsageError, match="already holds a run"):
        loop.train(plan, tmp_path / "run")
    other = plan.replace(optim=replace(plan.optim, lr=5e-4))
    said = r"begun with other settings: optim\.lr 0\.001 -> 0\.0005\n"
    with pytest.raises(UsageError, match=said) as caught:
        loop.train(other, tmp_path / "run", resume=True)
    assert caught.value.code == "U004"
    run = tmp_path / "run"
    assert caught.value.hint == f"pixelwise train {run / 'recipe.yaml'} -o {run} --resume"
    with pytest.raises(UsageError, match="iterations 1 -> 9") as caught:
        loop.train(plan.replace(iterations=9), run, resume=True)
    told = f"pixelwise train {run / 'recipe.yaml'} -o NEW --weights {run} --iterations 9"
    assert caught.value.hint == told


def test_a_run_does_not_go_on_with_other_data(tmp_path, monkeypatch) -> None:
    """The optimizer's history and the split belong to the pictures it was begun with."""
    data = folder_set(tmp_path / "set")
    (data / "classes.txt").write_text("sky\nroad\ncar\n")
    plan = recipe(data)
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            loop.train(plan, tmp_path / "run")
    (data / "classes.txt").write_text("road\nsky\ncar\n")
    with pytest.raises(
        UsageError, match="classes were sky, road, car, and are road, sky"
    ) as caught:
        loop.train(plan, tmp_path / "run", resume=True)
    assert caught.value.code == "U004"
    (data / "classes.txt").write_text("sky\nroad\ncar\n")
    for kind in ("images", "labels"):
        (data / kind / "new.png").write_bytes((data / kind / "p0.png").read_bytes()[:-1] + b"x")
    for split, numbers in {"train": range(6), "val": (6, 7)}.items():
        (data / "splits").mkdir(exist_ok=True)
        names = [f"p{i}" for i in numbers]
        (data / "splits" / f"{split}.txt").write_text("\n".join(names))
    with pytest.raises(UsageError, match="pictures or label maps were added, removed or replaced"):
        loop.train(plan, tmp_path / "run", resume=True)


def test_data_may_move_but_not_change_between_sittings(data, tmp_path, monkeypatch) -> None:
    plan = recipe(folder_set(tmp_path / "here"))
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            loop.train(plan, tmp_path / "run")
    (tmp_path / "here").rename(tmp_path / "there")
    loop.train(plan.replace(data=str(tmp_path / "there")), tmp_path / "run", resume=True)
    assert read_recipe(tmp_path / "run" / "recipe.yaml").data == str(tmp_path / "there")
    loop.train(plan.replace(data=str(tmp_path / "there")), tmp_path / "whole")
    assert_same(tmp_path / "whole", tmp_path / "run")
    other = folder_set(tmp_path / "other", 9)
    command = [sys.executable, "-m", "pixelwise", "train", str(other), "-o"]
    command += [str(tmp_path / "run"), "--resume"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{other} is not what {tmp_path / 'run'} was begun with" in done.stderr


def test_what_happens_to_the_data_meanwhile_does_not_end_a_run(data, tmp_path, monkeypatch) -> None:
    """All was read before; the state says what it was begun with, not what lies there now."""
    plan = recipe(folder_set(tmp_path / "set"), iterations=4, val_split="", validate_every=0)
    original = Run._step

    def step(run, number):
        if number == 1:
            next(iter(sorted((tmp_path / "set" / "images").iterdir()))).unlink()
        return original(run, number)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_step", step)
        loop.train(plan, tmp_path / "run")
    assert len(generations(tmp_path / "run")) == 2
    with pytest.raises(DataError):  # it is noticed when the run is to go on
        loop.train(plan, tmp_path / "run", resume=True)


@pytest.mark.parametrize("gone", [False, True], ids=["other", "gone"])
def test_what_a_run_started_from_is_not_needed_to_go_on(
    data, tmp_path, monkeypatch, gone: bool
) -> None:
    source = loop.train(recipe(data, iterations=1), tmp_path / "source")
    plan = recipe(data, weights=str(source))
    loop.train(plan, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            loop.train(plan, tmp_path / "parts")
    header, tensors = load_checkpoint(source)
    source.unlink()
    if not gone:
        mean = [99.0] * 3
        save_checkpoint(
            source, tensors, replace(header, preprocess={**header.preprocess, "mean": mean})
        )
    loop.train(plan, tmp_path / "parts", resume=True)
    assert_same(tmp_path / "whole", tmp_path / "parts")
    ends = [load_checkpoint(tmp_path / n / "weights/last.safetensors") for n in ("whole", "parts")]
    assert ends[0][0].preprocess == ends[1][0].preprocess


def test_a_signal_while_the_data_is_read_ends_at_once(data, tmp_path, monkeypatch) -> None:
    read = []

    def one(dataset, item):
        read.append(item)
        if item is read[0]:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        return original(dataset, item)

    original = DataSet.read
    monkeypatch.setattr(DataSet, "read", one)
    with pytest.raises(Stopped, match="stopped while the data was read") as caught:
        loop.train(recipe(data), tmp_path / "run")
    assert caught.value.exit_code == 143
    assert len(read) < 6  # of eight
    assert not (tmp_path / "run").exists()


def test_a_signal_in_the_last_evaluation_is_heard(data, tmp_path, monkeypatch) -> None:
    original = model.load

    def load(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments, **options)

    plan = recipe(data, iterations=1)
    with monkeypatch.context() as patch:
        patch.setattr(model, "load", load)
        with pytest.raises(Stopped, match="the weights are saved") as caught:
            loop.train(plan, tmp_path / "run")
    assert caught.value.hint.endswith("--resume")
    assert not (tmp_path / "run/report.html").exists()
    loop.train(plan, tmp_path / "run", resume=True)
    assert (tmp_path / "run/report.html").exists()


def test_states_that_are_no_longer_whole_are_told_before_the_source_is_missed(
    data, tmp_path
) -> None:
    source = loop.train(recipe(data, iterations=1), tmp_path / "source")
    plan, run = recipe(data, iterations=2, weights=str(source)), tmp_path / "run"
    loop.train(plan, run)
    source.unlink()
    for path in generations(run):
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ModelError, match="no state is whole") as caught:
        loop.train(plan, run, resume=True)
    assert caught.value.code == "M002"


@pytest.mark.parametrize("change", ["progress", "tensors"])
def test_a_whole_file_that_is_no_state_falls_back(data, tmp_path, caplog, change: str) -> None:
    plan, run = recipe(data), tmp_path / "run"
    loop.train(plan, run)
    newest = generations(run)[-1]
    header, tensors = load_checkpoint(newest)
    if change == "progress":
        header = replace(header, data={**header.data, "progress": {"odd": 1}})
    else:
        tensors = {name: t for name, t in tensors.items() if not name.startswith("net.")}
    save_checkpoint(newest, tensors, header)
    loop.train(plan, run, resume=True)
    assert "no state of this run" in caplog.text
    assert "falling back" in caplog.text
