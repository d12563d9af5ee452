"""What a masked net is shown: in training, in validation, in the run's evaluation, and later."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from make_data import canonical_set
from pixelwise.cli.app import run as command
from small_runs import train
from witness import witness

CLASSES = {"sky": (70, 130, 180), "background": (60, 160, 40), "road": (128, 64, 128)}
SMALL = "width=0.125 threads=1 batch=2 iterations=2 augment.mirror=false"


def noisy(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Background at the right, two things at the left, a line of void between."""
    truth = np.ones((24, 32), np.uint8)
    truth[:12, :15], truth[12:, :15], truth[:, 15] = 0, 2, 255
    noise = np.random.default_rng(index).integers(0, 256, (24, 32, 3))
    return noise.astype(np.uint8), truth


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    splits = {"train": [noisy(i) for i in range(4)], "val": [noisy(i) for i in (5, 6)]}
    return canonical_set(tmp_path_factory.mktemp("masks") / "set", splits, CLASSES)


def hidden(x: np.ndarray) -> np.ndarray:
    """(32,): the columns of (N, 3, 24, 32) in which nothing differs from the mean pixel."""
    return (np.abs(x) < 0.02).all((0, 1, 2))  # to half a grey level, of deviations of about 74


FOREGROUND, VOID, BACKGROUND = slice(0, 15), 15, slice(16, 32)


@pytest.mark.parametrize("masking", ["foreground", "background"])
def test_training_validation_and_evaluation_show_the_same(data, tmp_path, masking) -> None:
    with witness() as seen:
        assert train(data, tmp_path, f"{SMALL} mask={masking}") == 0
    assert {f.training for f in seen.forwards} == {True, False}
    assert len([f for f in seen.forwards if not f.training]) >= 4  # validation, then evaluation
    for forward in seen.forwards:
        columns = hidden(forward.x.numpy())
        expected = np.zeros(32, bool)
        expected[[VOID]] = True
        expected[FOREGROUND if masking == "foreground" else BACKGROUND] = True
        assert np.array_equal(columns, expected)


def test_the_mean_pixel_is_that_of_whole_pictures_and_a_mask_can_be_tested_alone(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Table 8's Reference-FG: trained on what is there, tested without the background."""
    for name, masking in (("whole", "none"), ("shape", "shape")):
        assert train(data, tmp_path / name, f"{SMALL} mask={masking}") == 0
    headers = []
    for name in ("whole", "shape"):
        with safe_open(tmp_path / name / "weights/last.safetensors", "pt") as file:
            headers.append(json.loads(file.metadata()["pixelwise"]))
    assert headers[0]["preprocess"] == headers[1]["preprocess"]
    assert headers[0]["data"]["trained_on"] == headers[1]["data"]["trained_on"]
    capsys.readouterr()
    scores = {}
    for masking in ("none", "background", "shape"):
        arguments = ["evaluate", str(tmp_path / "whole"), str(data), "--mask", masking, "--json"]
        with witness() as seen:
            assert command(arguments) == 0
        scores[masking] = json.loads(capsys.readouterr().out)
        assert scores[masking]["mask"] == masking
        columns = hidden(seen.forwards[0].x.numpy())
        assert columns[BACKGROUND].all() == (masking != "none")
        assert not columns[FOREGROUND].any()
        levels = len(np.unique(seen.forwards[0].x[:, :, :, FOREGROUND]))
        assert (levels == 3) == (masking == "shape")  # white, in each band
    assert command(["evaluate", str(tmp_path / "whole"), str(data), "--mask", "front"]) == 2
    assert "no mask is called `front`" in capsys.readouterr().err


def test_data_without_a_background_cannot_be_masked(tmp_path: Path, capsys) -> None:
    splits = {"train": [noisy(0)], "val": [noisy(1)]}
    names = {"sky": (70, 130, 180), "field": (60, 160, 40), "road": (128, 64, 128)}
    data = canonical_set(tmp_path / "set", splits, names)
    assert train(data, tmp_path / "run", f"{SMALL} mask=shape") == 2
    assert "no class is called background among sky, field, road" in capsys.readouterr().err
    assert not (tmp_path / "run" / "weights").exists()
