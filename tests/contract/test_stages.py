"""A recipe in stages: what each starts from, where it lies, how it is stopped and gone on with."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import pixelwise as pw
from make_data import folder_set
from page_tree import page_tree, table
from pixelwise.cli.app import run as command
from pixelwise.engine.build import build
from pixelwise.errors import ModelError, NumericalError, Stopped, UsageError
from pixelwise.folders import is_finished, read_journal, stages
from pixelwise.training import loop
from pixelwise.training.recipe import Augmentation, Optim, Recipe
from pixelwise.training.recipe_text import read_recipe, write_recipe
from pixelwise.training.run import Run
from pixelwise.training.state import generations
from pixelwise.weights.checkpoint import load_checkpoint
from small_runs import events, stop_after

CHAIN = ("fcn32s", "fcn16s", "fcn8s")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_set(tmp_path_factory.mktemp("data") / "set")


def recipe(data: Path, **changes) -> Recipe:
    """Three stages of four steps each, of a narrow net."""
    settings = {
        "width": 0.125,
        "iterations": 4,
        "batch": 2,
        "threads": 1,
        "save_every": 1,
        "validate_every": 2,
        "device": "cpu",
        "augment": Augmentation(mirror=True),
        "optim": Optim("sgd", lr=1e-2),
        "stages": {
            name: {"net": f"{name}-tiny", "optim": {"lr": 10.0 ** -(i + 2)}}
            for i, name in enumerate(CHAIN)
        },
    }
    return Recipe(data=str(data), **(settings | changes))


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "chain"
    loop.train(recipe(data), run)
    return run


def folders(run: Path) -> list[str]:
    return [stage.name for stage in stages(run)]


def weights(run: Path, which: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / "weights" / f"{which}.safetensors")


def test_each_stage_is_a_run_that_starts_from_the_last_weights_before(finished: Path) -> None:
    assert folders(finished) == ["1-fcn32s", "2-fcn16s", "3-fcn8s"]
    one, two, three = stages(finished)
    for run, name, rate in zip((one, two, three), CHAIN, (1e-2, 1e-3, 1e-4), strict=True):
        assert is_finished(run)
        settled = read_recipe(run / "recipe.yaml")
        assert (settled.net, settled.optim.lr, settled.stages) == (f"{name}-tiny", rate, {})
        assert (run / "evaluation" / "scores.json").exists()
        assert (run / "report.html").exists()
    assert read_recipe(one / "recipe.yaml").weights == ""
    for before, after in ((one, two), (two, three)):
        assert read_recipe(after / "recipe.yaml").weights == str(
            before / "weights/last.safetensors"
        )
        told = events(after, "start")[0]["weights"]
        rows = {r["target"]: r["action"] for r in told["rows"]}
        new = {n for n, action in rows.items() if action == "missing"}
        skip = "score_pool4" if after == two else "score_pool3"
        assert new == {f"{skip}.weight", f"{skip}.bias"}
    header = load_checkpoint(three / "weights/last.safetensors")[0]
    assert header.step == 4


def test_a_stage_is_what_the_commands_by_hand_would_give(data, finished, tmp_path) -> None:
    """train; train --weights RUN/weights/last.safetensors; and so on: the same bits."""
    plans, start = recipe(data).by_stage(), ""
    for number, name in enumerate(CHAIN, start=1):
        loop.train(plans[name].replace(weights=start), tmp_path / name)
        start = str(tmp_path / name / "weights/last.safetensors")
        by_hand, staged = weights(tmp_path / name), weights(finished / f"{number}-{name}")
        assert by_hand.keys() == staged.keys()
        assert all(torch.equal(by_hand[k], staged[k]) for k in staged)


@pytest.mark.parametrize("steps", [2, 6, 9])
def test_stopped_in_any_stage_it_ends_with_the_same_bits(
    data, finished, tmp_path, monkeypatch, steps: int
) -> None:
    run, counted = tmp_path / "parts", []
    original = Run._step

    def step(self, number):
        loss = original(self, number)
        counted.append(number)
        if len(counted) == steps:
            self.caught.signal = signal.SIGTERM
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_step", step)
        with pytest.raises(Stopped) as stopped:
            loop.train(recipe(data), run)
    assert stopped.value.exit_code == 143
    assert shlex.split(stopped.value.hint)[1:] == [
        *("train", str(run / "recipe.yaml"), "-o", str(run), "--resume")
    ]
    assert len(stages(run)) == 1 + (steps - 1) // 4
    loop.train(recipe(data), run, resume=True)
    for a, b in zip(stages(finished), stages(run), strict=True):
        one, two = (load_file(generations(stage)[-1]) for stage in (a, b))
        assert [k for k in one if not torch.equal(one[k], two[k])] == []
        losses = [[e["loss"] for e in events(stage, "step")] for stage in (a, b)]
        assert losses[0] == losses[1]


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_to_the_same_weights(data, finished, tmp_path) -> None:
    """SIGKILL, again and again, wherever it is; a real process."""
    write_recipe(tmp_path / "plan.yaml", recipe(data))
    run, kills = tmp_path / "killed", 0
    words = [sys.executable, "-m", "pixelwise", "train", str(tmp_path / "plan.yaml"), "-o"]
    for attempt in range(8):
        process = subprocess.Popen(
            [*words, str(run), "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

        def saved() -> int:
            return sum(len(list((s / "state").glob("step-*"))) for s in run.glob("*-*"))

        before, deadline = saved(), time.monotonic() + 120
        while attempt < 3 and process.poll() is None and time.monotonic() < deadline:
            if saved() > before:
                time.sleep(0.15 * attempt)  # in the midst of a step, a save, a report
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        _, errors = process.communicate(timeout=240)
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, errors.decode()
    assert process.returncode == 0
    assert kills >= 2
    for a, b in zip(stages(finished), stages(run), strict=True):
        one, two = weights(a), weights(b)
        assert [k for k in one if not torch.equal(one[k], two[k])] == []
    assert (run / "report.html").exists()


def test_a_run_in_stages_is_used_as_its_last_finished_stage(data, finished, tmp_path) -> None:
    assert pw.load(finished).path == finished / "3-fcn8s/weights/best.safetensors"
    parts = tmp_path / "parts"
    shutil.copytree(finished, parts)
    journal = parts / "3-fcn8s/journal.jsonl"
    kept = [line for line in journal.read_text().splitlines() if '"done"' not in line]
    journal.write_text("\n".join(kept) + "\n")
    assert pw.load(parts).header.net == "fcn16s-tiny"
    for number, name in ((1, "fcn32s"), (2, "fcn16s")):
        (parts / f"{number}-{name}/journal.jsonl").write_text("")
    with pytest.raises(ModelError, match=r"no stage of .* is finished \(3-fcn8s is under way\)"):
        pw.load(parts)
    assert command(["evaluate", str(finished), str(data), "--json"]) == 0
    out = tmp_path / "out"
    assert command(["predict", str(finished), str(data / "images"), "-o", str(out)]) == 0


def test_one_page_shows_what_each_stage_brought(finished: Path) -> None:
    page = page_tree((finished / "report.html").read_text())
    rows = table(page, "stage", "mean IU", "gain")
    assert [row["stage"].text for row in rows] == ["1 fcn32s", "2 fcn16s", "3 fcn8s"]
    links = [row["stage"].all("a")[0].attributes["href"] for row in rows]
    assert [(finished / link).is_file() for link in links] == [True] * 3
    assert [row["starts from"].text for row in rows] == [
        *("random weights", "1-fcn32s, last", "2-fcn16s, last")
    ]
    assert [row["rate"].text for row in rows] == ["0.01", "0.001", "0.0001"]
    assert [row["steps"].text for row in rows] == ["4", "4", "4"]
    scores = [
        json.loads((stage / "evaluation/scores.json").read_text()) for stage in stages(finished)
    ]
    ius = [score["mean_iu"] for score in scores]
    assert [row["mean IU"].text for row in rows] == [f"{100 * iu:.1f} %" for iu in ius]
    gains = [row["gain"].text for row in rows]
    assert gains == ["", *(f"{100 * (b - a):+.1f}" for a, b in pairwise(ius))]
    (section,) = (e for e in page.all("section") if e.attributes.get("id") == "stages")
    curves = [e for e in section.all("polyline") if "line" in e.attributes["class"]]
    points = [curve.attributes["points"].split() for curve in curves]
    assert [len(p) for p in points] == [2, 3, 3]  # each goes on where the one before ended
    assert points[0][-1] == points[1][0]
    assert points[1][-1] == points[2][0]
    assert page.all("h1")[0].text == "chain"


def test_the_command_tells_each_stage(data, tmp_path, capsys) -> None:
    write_recipe(tmp_path / "r.yaml", recipe(data))
    words = ["train", str(tmp_path / "r.yaml"), "-o", str(tmp_path / "run"), "--iterations", "1"]
    assert command([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [s["stage"] for s in told["stages"]] == list(CHAIN)
    assert told["weights"] == told["stages"][-1]["weights"]
    assert told["scores"]["mean_iu"] == told["stages"][-1]["scores"]["mean_iu"]
    assert [s["step"] for s in told["stages"]] == [1, 1, 1]
    assert told["report"] == str(tmp_path / "run/report.html")
    assert command(words) == 2  # it holds a run
    assert "already holds a run" in capsys.readouterr().err
    assert command(["train", str(tmp_path / "nowhere"), *words[2:]]) == 2  # before data is read
    assert "already holds a run" in capsys.readouterr().err
    assert command([*words, "--resume"]) == 0  # nothing is left to do
    assert "is finished" in capsys.readouterr().err


def test_what_is_changed_in_a_stage_that_was_begun_is_refused(data, finished) -> None:
    other = recipe(data)
    changed = {**other.stages, "fcn16s": {**other.stages["fcn16s"], "optim": {"lr": 0.5}}}
    with pytest.raises(UsageError, match=r"stages\.fcn16s\.optim\.lr 0\.001 -> 0\.5\n") as caught:
        loop.train(other.replace(stages=changed), finished, resume=True)
    assert caught.value.code == "U004"
    with pytest.raises(UsageError, match="already holds a run"):
        loop.train(other, finished)
    with pytest.raises(UsageError, match="already holds a run"):
        loop.train(other.replace(stages={}), finished)


def test_a_run_may_move_between_its_stages(data, finished, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        with pytest.raises(Stopped):
            loop.train(recipe(data), tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = recipe(data).replace(workers=1)
    with monkeypatch.context() as patch:
        original = Run._step

        def step(self, number):
            if self.folder.name == "2-fcn16s" and number == 2:
                self.caught.signal = signal.SIGINT
            return original(self, number)

        patch.setattr(Run, "_step", step)
        with pytest.raises(Stopped):
            loop.train(moved, tmp_path / "there", resume=True)
    (tmp_path / "there").rename(tmp_path / "end")
    loop.train(moved, tmp_path / "end", resume=True)
    one, two = weights(finished / "3-fcn8s"), weights(tmp_path / "end/3-fcn8s")
    assert all(torch.equal(one[k], two[k]) for k in one)


def test_a_stage_names_what_it_starts_from(data, tmp_path) -> None:
    source = loop.train(recipe(data, stages={}, net="fcn32s-tiny"), tmp_path / "source")
    stages_of = {
        "a": {"net": "fcn32s-tiny"},
        "b": {"net": "fcn32s-tiny", "weights": str(source)},
        "c": {"net": "fcn16s-tiny", "weights": "stage:a/best"},
    }
    loop.train(recipe(data, stages=stages_of, iterations=2), tmp_path / "run")
    run = tmp_path / "run"
    assert read_recipe(run / "1-a/recipe.yaml").weights == ""
    assert read_recipe(run / "2-b/recipe.yaml").weights == str(source)
    assert read_recipe(run / "3-c/recipe.yaml").weights == str(run / "1-a/weights/best.safetensors")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"b": {"weights": "nowhere.pth"}}, "stage b: nowhere.pth does not exist"),
        ({"b": {"net": "fcn9s-tiny"}}, "no net is called `fcn9s-tiny`"),
        ({"b": {"optim": {"lr": 1e-14}, "loss": {"reduction": "sum"}}}, "stage b: optim.lr 1e-14"),
    ],
)
def test_what_would_end_a_later_stage_is_said_before_the_first(
    data, tmp_path, changes: dict, told: str
) -> None:
    plan = recipe(data, stages={"a": {"net": "fcn32s-tiny"}, **changes})
    with pytest.raises((UsageError, ModelError), match=told) as caught:
        loop.train(plan, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    if "1e-14" in told:
        assert caught.value.hint.startswith("--set stages.b.optim.lr=")


def test_a_collapsed_stage_ends_the_run_each_time(data, tmp_path, monkeypatch) -> None:
    """What comes after would start from nothing; --resume does not go past it."""
    import pixelwise.training.run as run_module

    monkeypatch.setattr(run_module, "COLLAPSED_AFTER", 1)
    plan = recipe(data, force=True, stages={"a": {}, "b": {}}, optim=Optim("sgd", lr=1e-12))
    for resume in (False, True):
        with pytest.raises(NumericalError, match="collapsed"):
            loop.train(plan, tmp_path / "run", resume=resume)
        assert folders(tmp_path / "run") == ["1-a"]


def test_a_run_does_not_begin_among_the_pictures(data) -> None:
    before = sorted(data.rglob("*"))
    with pytest.raises(UsageError, match="holds the data's own files") as caught:
        loop.train(recipe(data), data / "images")
    assert caught.value.code == "U003"
    assert sorted(data.rglob("*")) == before


def test_bad_data_leaves_nothing_behind(data, tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(pw.PixelwiseError):
        loop.train(recipe(tmp_path / "empty"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_lies_in_numbered_folders_is_no_run_in_stages(finished, tmp_path) -> None:
    """A folder of runs that someone has numbered has no recipe."""
    (tmp_path / "1-first").mkdir()
    (tmp_path / "1-first/journal.jsonl").write_text("")
    assert stages(tmp_path) == []
    assert read_journal(finished / "1-fcn32s/journal.jsonl")[-1]["reason"] == "done"


@pytest.mark.slow
def test_two_processes_go_through_the_stages_together(data, tmp_path) -> None:
    """As one process with the whole batch: every stage starts from the same weights in both."""
    ends = []
    for devices, batch in ((1, 4), (2, 2)):
        plan = recipe(
            data, devices=devices, batch=batch, frozen_bn=True, augment=Augmentation(mirror=False)
        )
        run = tmp_path / f"{devices}"
        write_recipe(tmp_path / "plan.yaml", plan)
        words = [sys.executable, "-m", "pixelwise", "train", str(tmp_path / "plan.yaml")]
        done = subprocess.run(
            [*words, "-o", str(run)], capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert folders(run) == ["1-fcn32s", "2-fcn16s", "3-fcn8s"]
        ends.append(weights(run / "3-fcn8s"))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=1e-4, atol=1e-6, msg=name)


def test_a_finer_net_straight_from_a_classifier_is_warned_of_in_a_regime(
    data, tmp_path, caplog
) -> None:
    """At 1e-14 its coarse scores would stay at zero (fact sheet, trap 10)."""
    classifier = tmp_path / "vgg.safetensors"
    save_file(build("vgg16", classes=5, width=1 / 32).state_dict(), classifier)
    narrow = {"width": 1 / 32, "iterations": 1, "stages": {}, "regime": "heavy", "force": True}
    for net, rate, warned in (
        ("fcn32s-vgg16-tight", 1e-10, False),
        ("fcn8s-vgg16-tight", 1e-14, True),
        ("fcn8s-vgg16-atonce", 1e-10, False),
    ):
        plan = Recipe(data=str(data), net=net, weights=str(classifier), **narrow)
        assert plan.optim.lr == rate
        caplog.clear()
        loop.train(plan, tmp_path / net)
        assert ("at the rate of a finer stage (1e-14)" in caplog.text) == warned
