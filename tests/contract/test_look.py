"""What is seen of a run early, and that seeing it changes nothing; and a length of two kinds."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from make_data import folder_set
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.folders import LOOK
from pixelwise.labels import overlay
from pixelwise.predict.model import load
from pixelwise.training import look, run
from pixelwise.training.loop import train
from pixelwise.training.run import Run
from pixelwise.training.state import generations
from small_runs import events, recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the validation pictures the second alone has four classes."""
    root = folder_set(tmp_path_factory.mktemp("data") / "set", 12)
    second = open_dataset(root).items("val")[1].labels["labels"].files[0]
    labels = np.array(Image.open(second))
    labels[:10] = 3
    Image.fromarray(labels).save(second)
    return root


def test_looking_after_every_step_changes_no_bit(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = recipe(data, iterations=3, width=0.25, ema=0.9, validate_every=3)
    train(plan, tmp_path / "unseen")
    step = Run._step
    with monkeypatch.context() as patch:
        patch.setattr(Run, "_step", lambda self, number: (self._look(), step(self, number))[1])
        train(plan, tmp_path / "seen")
    unseen, seen = (load_file(generations(tmp_path / n)[-1]) for n in ("unseen", "seen"))
    assert unseen.keys() == seen.keys()
    assert [k for k, v in unseen.items() if not torch.equal(v, seen[k])] == []


def test_after_a_minute_there_is_a_look_and_after_each_evaluation(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pixelwise")
    seen: list[int] = []
    write = run.write_look

    def note(path: Path, *rest: object) -> Path:
        seen.append(int(rest[-1]))  # type: ignore[call-overload]
        return write(path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "write_look", note)
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.0)
    place = tmp_path / "run"
    train(recipe(data, iterations=6, width=0.25, validate_every=3), place)
    assert seen == [1, 3, 6]
    assert [r.message for r in caplog.records if "look: " in r.message] == [
        f"look: {place / LOOK}, a held-out picture, its labels so far and the truth"
    ]
    (final,) = [r.message for r in caplog.records if "the largest class alone" in r.message]
    assert final.startswith("best.safetensors on val: mean IU ")


def test_a_look_shows_the_picture_of_most_classes_its_labels_and_the_truth(
    data: Path, tmp_path: Path
) -> None:
    place, dataset = tmp_path / "run", open_dataset(data)
    train(recipe(data, iterations=4, validate_every=4, width=0.25), place)
    sample = dataset.read(dataset.items("val")[1])
    guess = load(place / "weights/last.safetensors").predict(sample.image).labels
    shown = np.array(Image.open(place / LOOK))
    height, width = (round(n * look.SIDE / max(guess.shape)) for n in guess.shape)
    assert max(height, width) == 480
    top, gap = shown.shape[0] - height, 8
    assert 0 < top < 60
    panels = [shown[top:, i * (width + gap) :][:, :width] for i in range(3)]
    palette = np.asarray(dataset.palette, np.uint8)
    for panel, labels in zip(panels[1:], (guess, sample.labels), strict=True):
        large = np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))
        assert (panel == overlay(panels[0], large, palette, opacity=look.OPACITY)).all()
    assert len(np.unique(sample.labels)) == 4


@pytest.mark.parametrize(("steps", "reached"), [(20, 20), (10**6, 30)])
def test_of_steps_and_minutes_what_comes_first_ends_the_run(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, reached: int
) -> None:
    """By a clock that only steps turn: each takes an eighth of a second."""
    now, step = 0.0, Run._step

    def timed(self: Run, number: int) -> dict[str, float]:
        nonlocal now
        now += 0.125
        return step(self, number)

    monkeypatch.setattr(Run, "_step", timed)
    monkeypatch.setattr(time, "monotonic", lambda: now)
    train(recipe(data, iterations=steps, minutes=30 / 8 / 60, width=0.25), tmp_path / "run")
    rows = events(tmp_path / "run", "step")
    assert rows[-1]["step"] == reached
    assert rows[-1]["lr"] < 0.2 * rows[0]["lr"]  # the schedule has come to its end in both


def test_reading_and_evaluating_are_told_as_they_go(data: Path, tmp_path: Path) -> None:
    reports = []
    train(recipe(data, iterations=2, width=0.25), tmp_path / "run", watch=reports.append)
    shares = {
        doing: [r.done for r in reports if r.doing == doing]
        for doing in ("reading the data", "evaluating", "evaluating the best weights")
    }
    held_out = len(open_dataset(data).items("val"))
    for doing, parts in (("reading the data", 12), ("evaluating the best weights", held_out)):
        assert shares[doing] == pytest.approx([i / parts for i in range(1, parts + 1)])
    assert len(shares["evaluating"]) % held_out == 0
    assert max(shares["evaluating"]) == 1
