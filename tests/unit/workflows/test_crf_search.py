from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from make_data import canonical_set, picture
from pixelwise.cli.app import run
from pixelwise.crf.dense import believed, refine
from pixelwise.crf.parameters import DenseCrf
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.metrics.confusion import confusion
from pixelwise.metrics.scores import scores
from pixelwise.settings import read
from pixelwise.workflows.crf_search import Judge
from small_model import CLASSES, HEADER, save_model

QUICK = ("--set", "iterations=1", "--pictures", "2", "--split", "train", "--json")


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    colours = dict(zip(CLASSES, HEADER.palette, strict=True))
    pictures = [picture(i) for i in range(3)]
    data = canonical_set(tmp_path / "data", {"train": pictures, "val": pictures[:1]}, colours)
    save_model(tmp_path / "run" / "weights" / "best.safetensors")
    return ["crf", "--search", str(tmp_path / "run"), str(data), *QUICK]


def doubtful(judge: Judge, *_: object) -> None:
    """Two pictures of stripes, of which every seventh pixel is taken for another class."""
    for i in range(2):
        truth = np.repeat(np.arange(3, dtype=np.uint8), 5)[None].repeat(12, 0)
        guess = (truth + (np.random.default_rng(i).random(truth.shape) < 1 / 7)) % 3
        belief = believed(guess.astype(np.uint8), 3, 0.6).astype(np.float16)
        judge.seen.append((truth, np.stack([80 * truth] * 3, -1), belief))


def test_a_search_goes_on_where_it_stopped_and_writes_what_predict_takes(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Judge, "see", doubtful)
    out, record = tmp_path / "run" / "crf.json", tmp_path / "run" / "crf-search.jsonl"
    assert run([*words, "--minutes", "0.00001"]) == 0
    first = json.loads(capsys.readouterr().out)
    assert (len(first["trials"]), first["complete"], first["out"]) == (1, False, None)
    assert not out.exists()
    assert run(words) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["complete"]
    assert whole["trials"][0] == first["chosen"]
    best = max(trial["mean_iu"] for trial in whole["trials"])
    assert whole["chosen"]["mean_iu"] == best > whole["trials"][0]["mean_iu"]
    assert json.loads(out.read_text()) == whole["chosen"]["crf"]
    assert all(trial["crf"]["iterations"] == 1 for trial in whole["trials"][1:])
    lines = record.read_text().splitlines()
    assert len(lines) == len(whole["trials"]) + 1
    # Its last line torn, all but one trial is read back; then nothing is tried again.
    record.write_text("\n".join(lines[:-2]) + "\n" + lines[-2][:50])
    out.unlink()
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out) == whole
    monkeypatch.setattr(Judge, "see", None)
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out) == whole


def test_a_trial_is_what_the_model_and_the_crf_give(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--minutes", "0.00001", "-o", str(tmp_path / "other.json")]) == 0
    without = json.loads(capsys.readouterr().out)["chosen"]
    model, dataset = pw.load(tmp_path / "run"), open_dataset(tmp_path / "data")
    judge, crf = Judge(), DenseCrf(iterations=2)
    judge.see(model, dataset, "train", 2)
    counts = {None: 0, crf: 0}
    items = dataset.items("train")
    for item in (items[0], items[-1]):
        sample = dataset.read(item)
        (truth,) = sample.heads.values()
        made = model.predict(sample.image, probabilities=True)
        refined = refine(made.probabilities.astype(np.float16), sample.image, crf)
        counts[None] = counts[None] + confusion(truth, made.labels, len(dataset.classes))
        counts[crf] = counts[crf] + confusion(truth, refined.argmax(0), len(dataset.classes))
    assert without["mean_iu"] == pytest.approx(scores(counts[None]).mean_iu)
    assert judge.scores(crf)["mean_iu"] == pytest.approx(scores(counts[crf]).mean_iu)
    assert (tmp_path / "crf-search.jsonl").is_file()
    assert read(DenseCrf, {"iterations": 2}) == crf


def test_a_result_of_other_hands_and_what_is_no_run_are_left_alone(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(words: list[str], code: int, text: str) -> None:
        assert run(words) == code
        assert text in capsys.readouterr().err.replace("\n", " ")

    mine = tmp_path / "run" / "crf.json"
    for text in ('{"appearance": 3}', "{"):
        mine.write_text(text)
        refused(words, 2, "crf.json exists and was not chosen by a search")
        assert mine.read_text() == text
    mine.unlink()
    file = tmp_path / "run" / "weights" / "best.safetensors"
    refused([*words[:2], str(file), *words[3:]], 2, "is no run folder, expected one")
    refused([*words, "--split", "held"], 3, "held")
    refused([*words, "--minutes", "0"], 2, "2 pictures and 0 minutes, expected numbers above zero")
    refused([*words, "--fill"], 2, "--fill does nothing with --search")
    refused([*words, "--set", "colour=3"], 2, "no CRF parameter is called `colour`")
