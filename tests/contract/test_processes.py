"""A run on two processes does what one process does with the whole batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from make_data import folder_set
from pixelwise.folders import read_journal
from pixelwise.training.loop import train
from pixelwise.training.recipe import Augmentation, Optim, Recipe
from pixelwise.training.recipe_text import write_recipe
from pixelwise.training.state import generations

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch was built without distribution"
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("data") / "set")


def recipe(data: Path, **changes) -> Recipe:
    """Five steps of a net without dropout, its batch norm frozen: nothing depends on the split."""
    settings = {
        "net": "fcn8s-tiny",
        "width": 0.5,
        "iterations": 5,
        "batch": 4,
        "crop": (32, 32),
        "ema": 0.9,
        "frozen_bn": True,
        "validate_every": 5,
        "threads": 1,
        "augment": Augmentation(mirror=True, scale=(0.7, 1.4)),
        "optim": Optim("sgd", lr=0.05),
    }
    return Recipe(data=str(data), **(settings | changes))


def start(plan: Recipe, run: Path, *more: str) -> subprocess.Popen[str]:
    source = run.with_suffix(".yaml")
    write_recipe(source, plan)
    return subprocess.Popen(
        [sys.executable, "-m", "pixelwise", "train", str(source), "-o", str(run), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int = 0) -> tuple[str, str]:
    said, told = process.communicate(timeout=300)
    assert process.returncode == code, told
    return said, told


LOSSES: dict[str, dict[str, dict]] = {
    "weighted": {"loss": {"class_weights": "sqrt"}},
    "summed": {"loss": {"reduction": "sum"}, "optim": {"lr": 2e-5}},
    "jaccard": {"loss": {"jaccard": 3.0}},
    "sampled": {"loss": {"keep": 0.5, "sample": "pixel"}},
}


def by_loss(plan: Recipe, **further: dict) -> Recipe:
    """Each loss in a stage of its own, from random weights: one start of processes for all."""
    stages = {name: {"weights": "", **LOSSES[name], **further.get(name, {})} for name in LOSSES}
    return plan.replace(stages=stages)


@pytest.fixture(scope="module")
def both(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """A run of one process, the same of two, and what the latter said."""
    place, plan = tmp_path_factory.mktemp("runs"), recipe(data, iterations=3, validate_every=3)
    process = start(by_loss(plan.replace(batch=2, devices=2)), place / "two")
    # The Jaccard loss is of a micro-batch, so one process makes the same two of them.
    train(by_loss(plan, jaccard={"batch": 2, "accumulate": 2}), place / "one")
    return place / "one", place / "two", "".join(finish(process))


@pytest.mark.parametrize("loss", LOSSES)
def test_two_processes_make_one_large_batch(both: tuple[Path, Path, str], loss: str) -> None:
    runs = [next(run.glob(f"?-{loss}")) for run in both[:2]]
    one, two = (load_file(generations(run)[-1]) for run in runs)
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=1e-5, msg=name)
    first, second = (read_journal(run / "journal.jsonl") for run in runs)
    losses = [[e["loss"] for e in events if e["event"] == "step"] for events in (first, second)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    checked = [[e for e in events if e["event"] == "validate"] for events in (first, second)]
    assert checked[0][0]["mean_iu"] == pytest.approx(checked[1][0]["mean_iu"], abs=0.02)
    assert (runs[1] / "report.html").exists()


def test_one_of_two_processes_speaks(both: tuple[Path, Path, str]) -> None:
    assert both[2].count("step 3: mean IU") == len(LOSSES)
    assert both[2].count("report: ") == 1


def test_a_signal_to_one_process_stops_both_and_the_run_goes_on(data, tmp_path) -> None:
    plan = recipe(data, batch=2, devices=2, iterations=100_000, save_every=2)
    run = tmp_path / "run"
    process = start(plan, run)
    while process.poll() is None and not generations(run):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, told = finish(process, 143)
    assert "--resume" in told
    reached = int(generations(run)[-1].stem.removeprefix("step-"))
    again = start(plan, run, "--resume")
    while again.poll() is None and int(generations(run)[-1].stem[5:]) <= reached:
        time.sleep(0.05)
    again.send_signal(signal.SIGTERM)
    finish(again, 143)
    assert "resume" in [e["event"] for e in read_journal(run / "journal.jsonl")]


def test_a_process_that_is_gone_ends_the_others_with_a_word(data: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(recipe(data, batch=2, devices=2, iterations=100_000, save_every=2), run)
    while process.poll() is None and not generations(run):
        time.sleep(0.05)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        pytest.skip("this system does not list a process's children")
    for child in children.read_text().split():
        os.kill(int(child), signal.SIGKILL)
    _, told = process.communicate(timeout=120)
    assert "Traceback" not in told
    assert (process.returncode, "error R010" in told) == (5, True) or (
        process.returncode,
        "stopped at step" in told,
    ) == (143, True), told  # the launcher may stop the first process before it notices by itself
    assert generations(run)


def test_processes_agree_when_the_length_is_a_time(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, batch=2, devices=2, iterations=0, minutes=0.05, validate_every=0)
    plan = plan.replace(accumulate=20)  # few steps: what is learned is not the matter here
    finish(start(plan, tmp_path / "run"))
    events = read_journal(tmp_path / "run" / "journal.jsonl")
    assert events[-1]["reason"] == "done"
    assert events[-1]["seconds"] >= 3


def test_a_mistake_in_the_recipe_ends_all_processes(data: Path, tmp_path: Path) -> None:
    plan = recipe(data, devices=2, val_split="nowhere")
    _, told = finish(start(plan, tmp_path / "run"), 3)
    assert "nowhere" in told
