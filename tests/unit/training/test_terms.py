"""What a data set says of its terms goes with it, and with the models that are trained on it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from make_data import canonical_set, picture
from pixelwise.cli.app import run
from pixelwise.data.convert import convert
from pixelwise.data.formats.canonical import terms_of
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.training.recipe import Recipe
from pixelwise.training.run_data import read_data
from small_model import save_model


def test_terms_go_with_the_data_and_are_shown_of_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = {"train": [picture(0), picture(1)], "val": [picture(2)]}
    classes = {"a": (0, 0, 0), "b": (200, 0, 0), "c": (0, 200, 0)}
    data = canonical_set(tmp_path / "data", splits, classes)
    described = json.loads((data / "dataset.json").read_text("utf-8"))
    assert terms_of(data) == ""
    assert "terms" not in read_data(Recipe(data=str(data))).facts
    (data / "dataset.json").write_text(json.dumps({**described, "terms": "CC BY 4.0"}))
    convert(open_dataset(data), tmp_path / "out")
    assert terms_of(tmp_path / "out") == "CC BY 4.0"
    facts = read_data(Recipe(data=str(tmp_path / "out"))).facts
    assert facts["terms"] == "CC BY 4.0"
    of = {**facts, "trained_on": ["a", "b"]}
    model = save_model(tmp_path / "m.safetensors", data=of, scores={"mean_iu": 0.625}, step=7)
    assert run(["weights", "show", str(model)]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for words in ("data, terms CC BY 4.0", "2 pictures, by content", "0.625", facts["fingerprint"]):
        assert words in said
