"""A temperature is fitted on one split, kept in the run, and changes probabilities alone."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from make_data import canonical_set, picture
from pixelwise.cli.app import run
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import DataError
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores
from pixelwise.pages import build
from pixelwise.predict.calibration import judged
from pixelwise.predict.components import Sieve
from pixelwise.predict.ensembles import ensemble
from pixelwise.predict.model import Model, load
from pixelwise.weights.checkpoint import save_checkpoint
from small_model import pixels, save_model

CLASSES = {"a": (1, 0, 0), "b": (2, 0, 0), "c": (3, 0, 0)}
NUMBERS = {"train": (0,), "val": (0,), "fit": (1, 2), "held": (3, 4)}
"""Of pictures, by split."""


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run folder whose net is far too sure."""
    folder = tmp_path / "run"
    made = load(save_model(tmp_path / "made.safetensors", classes=tuple(CLASSES)))
    state = dict(made.predictor.runner.network.state_dict())
    state = {k: 8 * v if k.startswith("score") else v for k, v in state.items()}
    save_checkpoint(folder / "weights" / "best.safetensors", state, made.header)
    (folder / "recipe.yaml").write_text("net: fcn8s-tiny\n")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    splits = {split: [picture(i) for i in numbers] for split, numbers in NUMBERS.items()}
    return canonical_set(tmp_path / "data", splits, CLASSES)


def by_hand(model: Model, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the best classes, and whether they are right, of all pixels."""
    sure, right = [], []
    for number in NUMBERS[split]:
        image, truth = picture(number)
        made = model.predict(image, probabilities=True)
        sure.append(made.probabilities.max(0).ravel())
        right.append((made.labels == truth).ravel())
    return np.concatenate(sure), np.concatenate(right)


def error(sure: np.ndarray, right: np.ndarray) -> float:
    """The sum over 15 bins of their shares, times accuracy less probability."""
    cells = np.minimum((sure * 15).astype(int), 14)
    bins = [cells == i for i in range(15) if (cells == i).any()]
    return sum(abs(right[b].mean() - sure[b].mean()) * b.mean() for b in bins)


def test_the_command_calibrates_and_the_run_keeps_it(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load(trained)
    words = ["evaluate", str(trained), str(data), "--split", "held", "--device", "cpu", "--json"]
    assert run([*words, "--calibrate", "fit", "--reject", "0.6"]) == 0
    told = json.loads(capsys.readouterr().out)
    after = load(trained)
    assert next(iter(after.predictor.view.temperature.values())) > 1.5
    (sure,) = told["confidence"].values()
    for model, own in ((after, sure), (before, sure["uncalibrated"])):
        by = error(*by_hand(model, "held"))
        assert own["calibration_error"] == pytest.approx(by, abs=1e-4)
    assert sure["calibration_error"] < sure["uncalibrated"]["calibration_error"]
    probability, right = by_hand(after, "held")
    assert sure["kept"]["coverage"] == pytest.approx((probability >= 0.6).mean(), abs=1e-6)
    assert sure["kept"]["pixel_accuracy"] == pytest.approx(right[probability >= 0.6].mean())
    assert told["pixel_accuracy"] == pytest.approx(right.mean())  # of all, as without --reject
    kept = json.loads((trained / "calibration.json").read_text())
    assert (kept["fitted_on"], kept["judged_on"]) == ("fit", "held")
    page = build(trained).read_text()
    assert 'id="calibration"' in page
    assert "without temperature" in page
    assert run([*words[:-1], "--reject", "0"]) == 0
    assert "calibration error without temperature" in capsys.readouterr().out


def test_labels_stay_and_probabilities_are_of_divided_scores(trained: Path) -> None:
    plain, image = load(trained), pixels()
    head = next(iter(plain.heads))
    warm = plain.predictor.shown({"temperature": {head: 2.5}})
    scores_of = plain.predictor.scores(image)
    assert np.array_equal(warm.labels(image), plain.predictor.labels(image))
    assert np.allclose(warm.scores(image), scores_of / 2.5, atol=1e-5)
    both = ensemble([Model(warm, plain.header, plain.path), plain])
    mean = ((scores_of / 2.5).softmax(0) + scores_of.softmax(0)) / 2
    made = both.predict(image, probabilities=True).probabilities
    assert made == pytest.approx(mean.numpy(), abs=1e-6)


def test_a_sieve_is_judged_with_what_it_keeps(trained: Path, data: Path) -> None:
    model = load(trained).shown(sieve=Sieve(min_area=40, reject=0.9))
    dataset = model.fitting(open_dataset(data))
    (own,) = judged(model, dataset, "held").values()
    counts = np.zeros((3, 3), np.int64)
    for number in NUMBERS["held"]:
        image, truth = picture(number)
        labels = model.predict(image).labels
        counts += confusion(truth[labels != 255], labels[labels != 255], 3)
    assert own["kept"]["mean_iu"] == pytest.approx(scores(counts).mean_iu)
    assert own["kept"]["coverage"] == pytest.approx(counts.sum() / (2 * 40 * 48))


def test_other_weights_and_damaged_files_are_not_used(
    trained: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = trained / "calibration.json"
    place.write_text('{"temperature": {"x": 2}, "model": "another"}')
    assert not load(trained).predictor.view.temperature
    assert "is of other weights" in caplog.text
    for damaged in ("{", '{"temperature": {"x": 0}, "model": ""}', "[]"):
        place.write_text(damaged)
        with pytest.raises(DataError, match=r"calibration\.json: "):
            load(trained)


def test_what_has_no_run_folder_is_refused(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained / "weights" / "best.safetensors"
    for words in ([str(file)], [str(trained), "--with", str(trained)]):
        assert run(["evaluate", words[0], str(data), *words[1:], "--calibrate", "fit"]) == 2
        assert "keeps a temperature in a run folder" in capsys.readouterr().err
    assert run(["evaluate", str(trained), str(data), "--calibrate", "none"]) == 3
    assert not (trained / "calibration.json").exists()
