"""What a recipe says of rates, averages, views and precision is what a run does and leaves."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import pixelwise as pw
from make_data import canonical_set, picture
from small_runs import events, train
from witness import witness

CLASSES = {"sky": (70, 130, 180), "field": (60, 160, 40), "road": (128, 64, 128)}
NARROW = "width=0.125 threads=1 batch=2 optim.bias_rate=1"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    splits = {
        "train": [picture(i, (32, 40)) for i in range(6)],
        "val": [picture(i, (32, 40)) for i in (7, 9)],
    }
    return canonical_set(tmp_path_factory.mktemp("runs") / "set", splits, CLASSES)


# -- the rate -------------------------------------------------------------------------------------
def warmed(step: int, factor: float) -> float:
    """Linear over the first 15 steps, from a fifteenth."""
    return 0.02 * factor * min(1.0, (step + 1) / 15)


FACTORS: dict[str, Callable[[float], float]] = {
    "fixed": lambda done: 1.0,
    "poly": lambda done: (1 - done) ** 0.7,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "step": lambda done: 0.3 ** ((done >= 0.25) + (done >= 0.8)),
}


@pytest.mark.parametrize("name", FACTORS)
def test_the_rate_of_every_step_follows_the_formula_also_after_a_resume(
    data: Path, tmp_path: Path, name: str
) -> None:
    """40 steps, stopped in the seventh, which is carried out: warm-up and schedule go on."""
    settings = (
        f"{NARROW} iterations=40 val_split= optim.lr=0.02 schedule.name={name} schedule.power=0.7 "
        "schedule.steps=0.25,0.8 schedule.factor=0.3 schedule.warmup=15"
    )

    def stop(step: int) -> None:
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    with witness(at_step=stop) as first:
        assert train(data, tmp_path, settings) == 143
    with witness() as second:
        assert train(data, tmp_path, settings, "--resume") == 0
    assert len(first.rates) == 7
    expected = [warmed(step, FACTORS[name](step / 40)) for step in range(40)]
    assert [rate for step in (*first.rates, *second.rates) for rate in step] == pytest.approx(
        expected, rel=1e-6
    )
    journal = {e["step"]: e["lr"] for e in events(tmp_path, "step")}
    assert journal == {n: pytest.approx(expected[n - 1]) for n in (10, 20, 30, 40)}


def test_a_run_by_the_clock_takes_its_rate_from_the_clock(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes a tenth of a second here, so 30 fill 0.05 minutes, also in two sittings."""
    now = 1000.0
    rates: list[float] = []

    def pass_time(step: int) -> None:
        nonlocal now
        now += 0.1
        if not rates and step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    for clock in ("monotonic", "perf_counter"):
        monkeypatch.setattr(time, clock, lambda: now)
    settings = f"{NARROW} minutes=0.05 val_split= optim.lr=0.02 schedule.name=poly schedule.power=1"
    for options, status in (((), 143), (("--resume",), 0)):
        with witness(at_step=pass_time) as seen:
            assert train(data, tmp_path, settings, *options) == status
        rates += [rate for step in seen.rates for rate in step]
        now += 50  # between the sittings nothing is trained
    expected = [0.02 * (1 - step / 30) for step in range(30)]
    assert rates[:7] == pytest.approx(expected[:7], rel=1e-6)
    assert rates[7:30] == pytest.approx(expected[7:], rel=1e-6, abs=1e-9)
    assert len(rates) <= 31  # thirty tenths may add up to a little less


# -- what is kept ---------------------------------------------------------------------------------
def header(path: Path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["pixelwise"])


def newest_states(run: Path) -> list[dict[str, Tensor]]:
    return [load_file(path) for path in sorted((run / "state").iterdir())[-2:]]


def confusion(run: Path, data: Path, split: str) -> np.ndarray:
    """Counted from the files of the evaluation and of the data."""
    counts = np.zeros((3, 3), int)
    for guess in sorted((run / "evaluation/guesses").iterdir()):
        assert guess.name.startswith(split)
        truth, guesses = (np.array(Image.open(p)) for p in (data / "labels" / guess.name, guess))
        known = truth != 255
        np.add.at(counts, (truth[known], guesses[known]), 1)
    return counts


def mean_iu(counts: np.ndarray) -> float:
    hits = counts.diagonal()
    return float((hits / (counts.sum(0) + counts.sum(1) - hits)).mean())


VIEWED = f"{NARROW} iterations=31 validate_every=31 save_every=1 optim.lr=0.02 zoom=1.25 "
VIEWED += "zooms=1,1.5 mirror=true"


@pytest.fixture(scope="module")
def averaged(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("averaged") / "run"
    assert train(data, run, f"{VIEWED} ema=0.95") == 0
    return run


@pytest.fixture(scope="module")
def plain(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run without an average: its weights are the other's raw ones."""
    run = tmp_path_factory.mktemp("plain") / "run"
    assert train(data, run, VIEWED) == 0
    return run


def test_the_weights_that_are_kept_are_the_average(averaged: Path, plain: Path) -> None:
    before, after = newest_states(averaged)
    decay = 31 / 40  # (1 + 30) / (10 + 30), below 0.95
    kept = {n: load_file(averaged / f"weights/{n}.safetensors") for n in ("best", "last")}
    raw = load_file(plain / "weights/last.safetensors")
    apart = 0.0
    for name, value in kept["last"].items():
        assert torch.equal(value, after[f"ema.{name}"])
        assert torch.equal(value, kept["best"][name])  # the one validation was at the end
        assert torch.equal(raw[name], after[f"net.{name}"])
        if value.is_floating_point():
            mixed = decay * before[f"ema.{name}"] + (1 - decay) * after[f"net.{name}"]
            torch.testing.assert_close(value, mixed, rtol=1e-5, atol=1e-6)
            apart = max(apart, float((value - raw[name]).abs().max()))
    assert apart > 0.01


def test_validation_and_evaluation_score_the_weights_and_view_that_are_kept(
    averaged: Path, plain: Path, data: Path
) -> None:
    shares = []
    for run in (averaged, plain):
        counts = confusion(run, data, "val")
        scores = json.loads((run / "evaluation/scores.json").read_text())
        (validated,) = events(run, "validate")
        assert scores["confusion"] == counts.tolist()
        assert validated["guess_share"] == pytest.approx((counts.sum(0) / counts.sum()).tolist())
        for value in (scores, validated, header(run / "weights/best.safetensors")["scores"]):
            assert value["mean_iu"] == pytest.approx(mean_iu(counts), abs=1e-12)
        shares.append(validated["guess_share"])
        model = pw.load(run, device="cpu")
        for i in range(2):
            stored = np.array(Image.open(run / f"evaluation/guesses/val{i}.png"))
            assert np.array_equal(model.predict(data / f"images/val{i}.png").labels, stored)
            for changes in ({"mirror": False}, {"zoom": 1.0}, {"zoom": 1.25}):
                other = model.shown(**changes).predict(data / f"images/val{i}.png")
                assert not np.array_equal(other.labels, stored), changes
    assert shares[0] != pytest.approx(shares[1], abs=1e-3)


@pytest.mark.parametrize("name", ["best", "last"])
def test_the_finished_model_keeps_the_recipes_view(averaged: Path, name: str) -> None:
    kept = header(averaged / f"weights/{name}.safetensors")
    assert kept["inference"] == {"zooms": [1.0, 1.5], "mirror": True, "stitch": 1}
    assert (kept["net"], kept["step"]) == ("fcn8s-tiny", 31)
    assert kept["classes"] == list(CLASSES)
    assert kept["palette"] == [list(colour) for colour in CLASSES.values()]


def test_without_zooms_the_model_has_the_zoom_it_was_trained_at(data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, f"{NARROW} iterations=1 zoom=1.5") == 0
    kept = header(tmp_path / "weights/best.safetensors")
    assert kept["inference"] == {"zooms": [1.5], "mirror": False, "stitch": 1}


# -- precision ------------------------------------------------------------------------------------
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_bf16_is_computed_where_it_is_asked_for(data: Path, tmp_path: Path, precision: str) -> None:
    with witness() as seen:
        assert train(data, tmp_path, f"{NARROW} iterations=2 precision={precision}") == 0
    trained = [torch.bfloat16 in f.dtypes for f in seen.forwards if f.training]
    assert trained == [precision == "bf16"] * 2
    first = next(f for f in seen.forwards if not f.training)
    assert (torch.bfloat16 in first.dtypes) == (precision == "bf16")
    kept = load_file(tmp_path / "weights/last.safetensors")
    assert {t.dtype for t in kept.values()} == {torch.float32, torch.int64}
