"""The search for a learning rate: what it proposes, and that nothing is trained or harmed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path

import pytest

from make_data import folder_set
from page_tree import page_tree, table
from pixelwise.cli.app import run as command
from pixelwise.errors import Stopped, UsageError
from pixelwise.pages.rates import figure
from pixelwise.training import loop
from pixelwise.training.line_search import LineSearch, Trial, find_rate
from pixelwise.training.recipe import Augmentation, Loss, Optim, Recipe
from small_runs import events


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("data") / "set", 6)


def recipe(data: Path, **changes) -> Recipe:
    settings = {
        "net": "fcn8s-tiny",
        "width": 0.125,
        "batch": 2,
        "threads": 1,
        "device": "cpu",
        "iterations": 12,
        "augment": Augmentation(mirror=False),
        "optim": Optim("sgd", lr=1.0, momentum=0.5),
    }
    return Recipe(data=str(data), **(settings | changes))


@pytest.fixture(scope="module")
def found(data: Path) -> LineSearch:
    return find_rate(recipe(data), Path("none"), steps=8)


def fingerprints(folder: Path) -> dict[str, str]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_proposed_rate_learns_and_far_ones_do_not(data, found, tmp_path) -> None:
    """By whole runs of twelve steps; what the recipe said of its rate did not matter."""
    assert found.proposal is not None

    def loss(lr: float) -> float:
        run = tmp_path / f"{lr:g}"
        optim = Optim("sgd", lr=lr, momentum=0.5)
        loop.train(recipe(data, optim=optim, force=True, val_split=""), run)
        return events(run, "step")[-1]["loss"]

    best = loss(found.proposal)
    assert best < loss(found.proposal / 100) - 0.05
    assert best < loss(found.proposal * 100) - 0.05
    other = find_rate(recipe(data, optim=Optim("sgd", lr=1e-6, momentum=0.5)), "none", steps=8)
    assert other == found


def test_a_sum_is_searched_as_its_mean(data, found) -> None:
    """Every picture has as many pixels, so the rates differ by the pixels of a step (2 x 1,920)."""
    summed = find_rate(recipe(data, loss=Loss("sum")), "none", steps=8)
    assert summed.proposal is not None
    assert found.proposal is not None
    assert summed.proposal * 3840 == pytest.approx(found.proposal, rel=1.2)
    assert summed.unmoved == pytest.approx(found.unmoved, rel=1e-4)  # per pixel, both
    assert min(t.loss for t in summed.trials if t.loss) == pytest.approx(
        min(t.loss for t in found.trials if t.loss), rel=0.2
    )


def test_nothing_is_harmed(data, tmp_path, capsys) -> None:
    """A run that is there stays as it is to the byte, and a new one can begin there."""
    run = tmp_path / "run"
    loop.train(recipe(data, iterations=1, optim=Optim("sgd", lr=0.01)), run)
    before = fingerprints(run)
    words = ["--set", "width=0.125", "--set", "batch=2", "--set", "optim.name=sgd"]
    words += ["--threads", "1", "--device", "cpu", "--find-lr", "--iterations", "4"]
    assert command(["train", str(data), "-o", str(run), *words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["page"] == str(run / "find-lr.html")
    assert told["steps"] == 4
    after = fingerprints(run)
    after.pop(told["page"])
    assert after == before
    rates = [t["lr"] for t in told["trials"]]
    assert rates == sorted(rates)
    page = page_tree((run / "find-lr.html").read_text())
    rows = table(page, "learning rate", "loss")
    assert [row["learning rate"].text for row in rows] == [f"{lr:.3g}" for lr in rates]
    new = tmp_path / "new"
    assert command(["train", str(data), "-o", str(new), *words]) == 0
    assert [p.name for p in new.iterdir()] == ["find-lr.html"]
    assert "--set optim.lr=" in capsys.readouterr().err
    words = words[: words.index("--find-lr")]
    assert command(["train", str(data), "-o", str(new), *words, "--iterations", "1"]) == 0


def trials(*losses: float | None) -> LineSearch:
    made = tuple(Trial(10.0**i, loss) for i, loss in enumerate(losses, start=-3))
    return LineSearch(made, 20, made[0].loss or 0)


@pytest.mark.parametrize(
    ("losses", "proposal"),
    [
        ((2.0, 1.5, 1.0, 1.8), 0.1),
        ((2.0, 1.5, 1.0, None), 0.05),  # at the edge of what goes well
        ((2.0, 1.0, 1.5, None), 0.01),
        ((2.0, 2.0, 2.5, None), None),  # no rate lowers it
        ((None, None, None, None), None),
    ],
)
def test_the_proposal_by_hand(losses: tuple[float | None, ...], proposal: float | None) -> None:
    assert trials(*losses).proposal == proposal
    drawn = figure(trials(*losses).as_dict())
    assert drawn.outcome == (f"proposed {proposal:.2g}" if proposal else "no rate lowers the loss")


def test_high_momentum_gets_the_steps_that_it_needs(data, monkeypatch) -> None:
    """2 / (1 - momentum): 200 for the heavy 0.99, 20 at least."""
    from pixelwise.training import line_search

    asked = []

    def short(trials: line_search._Trials) -> LineSearch:
        asked.append(trials.steps)
        return LineSearch((), trials.steps, 1.0)

    monkeypatch.setattr(line_search, "_searched", short)
    for momentum in (0.0, 0.9, 0.99):
        find_rate(recipe(data, optim=Optim("sgd", lr=1.0, momentum=momentum)), "none")
    assert asked == [20, 20, 200]


def test_of_stages_it_is_the_first_that_is_not_finished(data, tmp_path) -> None:
    plan = recipe(data, stages={"a": {"net": "fcn32s-tiny"}, "b": {"net": "fcn16s-tiny"}})
    plan = plan.replace(optim=Optim("sgd", lr=1e-2), iterations=2)
    loop.train(plan, tmp_path / "run")
    with pytest.raises(UsageError, match=r"every stage of .* is finished"):
        find_rate(plan, tmp_path / "run", steps=2)
    journal = tmp_path / "run/2-b/journal.jsonl"
    kept = [line for line in journal.read_text().splitlines() if '"done"' not in line]
    journal.write_text("\n".join(kept) + "\n")
    assert find_rate(plan, tmp_path / "run", steps=2).steps == 2


def test_what_cannot_be_searched_is_refused(data) -> None:
    with pytest.raises(UsageError, match="devices is 2, expected 1"):
        find_rate(recipe(data, devices=2), "none")
    with pytest.raises(UsageError, match="is the data itself"):
        find_rate(recipe(data), data)
    with pytest.raises(UsageError, match="holds the data's own files"):
        find_rate(recipe(data), data / "images")


def test_a_signal_ends_it(data, tmp_path) -> None:
    def interrupt(_: Trial) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match="nothing was written") as caught:
        find_rate(recipe(data), tmp_path / "run", steps=4, watch=interrupt)
    assert caught.value.exit_code == 130
    assert not (tmp_path / "run").exists()
