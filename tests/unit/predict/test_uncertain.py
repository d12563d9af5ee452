from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pixelwise.cli.app import run
from pixelwise.errors import UsageError
from pixelwise.predict import model as models
from pixelwise.predict.jobs import carry_out, plan
from pixelwise.predict.prediction import Prediction
from pixelwise.predict.sources import find


def of(*chances: list[float]) -> Prediction:
    """Of one row of pixels, with the chances of three classes each."""
    soft = np.array(chances, np.float32).T[:, None]
    colours, names = ((0, 0, 0),) * 3, ("a", "b", "c")
    image, labels = np.zeros((1, len(chances), 3), np.uint8), soft.argmax(0).astype(np.uint8)
    return Prediction(image, labels, names, colours, soft)


def test_uncertainty_is_the_mean_entropy_as_a_share_of_the_highest() -> None:
    third = [1 / 3] * 3
    assert of([1, 0, 0]).uncertainty() == 0
    assert of(third).uncertainty() == pytest.approx(1)
    assert of(third, [0, 1, 0]).uncertainty() == pytest.approx(0.5)
    assert of([0.5, 0.5, 0]).uncertainty() == pytest.approx(math.log(2) / math.log(3))
    both = replace(of(third), heads={"x": of(third), "y": of([0, 0, 1])})
    assert both.uncertainty() == pytest.approx(0.5)
    with pytest.raises(UsageError, match="holds no probabilities"):
        replace(of(third), probabilities=None).uncertainty()


def test_the_least_sure_pictures_are_listed_to_be_given_again(
    model: models.Model, photos: Path, tmp_path: Path
) -> None:
    out, all_photos = tmp_path / "out", sorted(photos.iterdir())
    expected = {str(p): model.predict(p, probabilities=True).uncertainty() for p in all_photos}
    work = plan([str(photos)], out, save="labels")
    carry_out(work, model)
    done = carry_out(replace(work, uncertain=2), model)  # without outputs to make
    assert (done.made, done.skipped) == (0, 3)
    order = sorted(expected, key=lambda path: -expected[path])[:2]
    assert [r["path"] for r in done.uncertain] == order
    assert [r["uncertainty"] for r in done.uncertain] == pytest.approx(
        [expected[path] for path in order]
    )
    assert done.uncertain[0]["output"] == str(out / Path(order[0]).with_suffix(".png").name)
    again = [job.source for job in find([f"@{out / 'uncertain.txt'}"], tmp_path / "x")[0]]
    assert again == [Path(path) for path in order]
    with pytest.MonkeyPatch.context() as patched:  # what is known is not computed again
        patched.setattr(models.Model, "predict", None)
        assert carry_out(replace(work, uncertain=2), model).uncertain == done.uncertain
    assert carry_out(work, model).uncertain == []


def test_the_command_lists_them(
    model: models.Model, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["predict", str(model.path), str(photos), "-o", str(tmp_path / "out")]
    assert run([*words, "--uncertain", "1", "--save", "labels"]) == 0
    assert capsys.readouterr().out.count("p") >= 1
    assert run([*words, "--uncertain", "2", "--save", "labels", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["uncertain"]
    assert [r["uncertainty"] for r in listed] == sorted(
        (r["uncertainty"] for r in listed), reverse=True
    )
    assert len(listed) == 2
