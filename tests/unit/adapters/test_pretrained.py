"""A model as a folder with a card."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import yaml
from tests.small_model import save_model

from pixelwise import load
from pixelwise.adapters.pretrained import from_pretrained, save_pretrained
from pixelwise.errors import ModelError, ResourceError, UsageError
from pixelwise.predict.model import Model

PHOTO = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


@pytest.fixture
def model(tmp_path: Path) -> Model:
    scores = {"split": "val", "mean_iu": 0.5, "pixel_accuracy": 0.75}
    data = {"path": "/home/me/secret", "trained_on": ["abc"], "terms": "CC BY"}
    names = ("wall", "a | *bold* <b>", "floor")
    path = tmp_path / "m.safetensors"
    return load(save_model(path, scores=scores, data=data, classes=names, step=7))


def test_a_folder_gives_the_same_labels(model: Model, tmp_path: Path) -> None:
    folder = save_pretrained(model, tmp_path / "out", license="apache-2.0")
    assert sorted(p.name for p in folder.iterdir()) == [
        *("README.md", "config.json", "model.safetensors")
    ]
    again = from_pretrained(folder)
    assert (again.predict(PHOTO).labels == model.predict(PHOTO).labels).all()
    assert f"`{again.header.sha256}`" in (folder / "README.md").read_text()


def test_the_card_says_what_is_known_and_escapes_names(model: Model, tmp_path: Path) -> None:
    text = (save_pretrained(model, tmp_path / "out", license="mit") / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["pipeline_tag"] == "image-segmentation"
    assert front["license"] == "mit"
    assert "| mean iu | 0.5000 |" in text
    assert r"a \| \*bold\* \<b\>" in text
    assert "CC BY" in text
    assert "Not said by whoever saved this model." in text  # of its limits


def test_nothing_of_this_machine_goes_into_the_config(model: Model, tmp_path: Path) -> None:
    told = (save_pretrained(model, tmp_path / "out") / "config.json").read_text()
    assert json.loads(told)["net"] == "fcn8s-tiny"
    assert "secret" not in told
    assert "abc" not in told


def test_nothing_is_fetched_unless_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is no folder"):
        from_pretrained("someone/model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ResourceError) as caught:
        from_pretrained("someone/model", download=True)
    assert caught.value.code == "R008"
    with pytest.raises(ModelError) as missing:
        from_pretrained(tmp_path)
    assert missing.value.code == "M001"


def test_a_repository_is_fetched_by_the_hubs_package(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, asked = save_pretrained(model, tmp_path / "hub"), list[tuple[str, object]]()

    def snapshot_download(repository: str, **options: object) -> str:
        asked.append((repository, options["revision"]))
        if repository == "no/body":
            raise OSError("404")
        return str(folder)

    hub = types.SimpleNamespace(snapshot_download=snapshot_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    made = from_pretrained("someone/model", download=True, revision="v1")
    assert made.path == folder / "model.safetensors"
    assert asked == [("someone/model", "v1")]
    with pytest.raises(ResourceError, match="404"):
        from_pretrained("no/body", download=True)


def test_unknown_facts_are_refused(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="licence"):
        save_pretrained(model, tmp_path / "out", licence="mit")
    assert not (tmp_path / "out").exists()
