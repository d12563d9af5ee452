from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner, Result

from pixelwise.cli.score import score
from pixelwise.errors import DataError, UsageError

app = typer.Typer()
app.command()(score)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, str]:
    for folder, values in (("truth", [[0, 0, 1, 255]]), ("guesses", [[0, 1, 1, 0]])):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array(values, np.uint8)).save(tmp_path / folder / "a.png")
    return str(tmp_path / "guesses"), str(tmp_path / "truth")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_json_is_the_only_thing_on_stdout(folders: tuple[str, str]) -> None:
    result = call(*folders, "--json", "--classes", "3", "--protocol", "paper,smp-macro")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["mean_iu"] == pytest.approx(1 / 2)
    assert found["protocols"] == {"paper": 0.5, "smp-macro": pytest.approx((1 / 2 + 1 / 2 + 1) / 3)}


def test_tables_show_scores_classes_and_reasons(folders: tuple[str, str]) -> None:
    result = call(*folders, "--classes", "3", "--protocol", "all")
    assert result.exit_code == 0
    assert "mean IU" in result.stdout
    assert "largest class alone (0), %" in result.stdout  # 2 px of the truth are 0, one is 1
    for words in ("mean IU .*50.0 .*50.0 to 50.0 .*33.3", "pixel accuracy .*66.7 .*66.7"):
        assert re.search(words, result.stdout)
    assert "not in this truth; never predicted" in result.stdout
    assert "0/0 of class 2" in result.stdout  # why torchvision has no number
    assert "leaves out 1 class" in result.stderr


def test_one_class_alone_in_the_truth_is_warned_of(tmp_path: Path) -> None:
    for folder in ("truth", "guesses"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / folder / "a.png")
        if folder == "guesses":
            Image.fromarray(np.array([[0, 0]], np.uint8)).save(tmp_path / folder / "a.png")
    told = call(str(tmp_path / "guesses"), str(tmp_path / "truth"), "--classes", "2").stderr
    assert "warning: `0` is the only class in the truth" in told
    assert "255 is void" in told


def test_a_guessed_number_of_classes_is_said(folders: tuple[str, str]) -> None:
    assert "2 classes, from the largest value found" in call(*folders).stderr
    assert "largest value" not in call(*folders, "--classes", "2").stderr


def test_problems_propagate_with_their_exit_code(folders: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "guesses" / "a.png").unlink()
    error = call(*folders).exception
    assert isinstance(error, DataError)
    assert error.exit_code == 3


def test_an_unknown_protocol_is_refused_before_any_file_is_read() -> None:
    error = call("nowhere", "nowhere", "--protocol", "papre").exception
    assert isinstance(error, UsageError)
    assert "`paper`" in str(error)
