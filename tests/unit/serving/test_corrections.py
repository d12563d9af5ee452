"""Corrected label maps become a data set."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.small_model import save_model

import pixelwise.serving.corrections as module
from pixelwise import load
from pixelwise.data.formats.layouts import open_dataset
from pixelwise.errors import PixelwiseError
from pixelwise.predict.model import Model
from pixelwise.serving.corrections import keep

PHOTO = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
LABELS = np.random.default_rng(1).choice(np.array([0, 1, 2, 255], np.uint8), (20, 30))


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load(save_model(tmp_path / "m.safetensors"))


def png(labels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(labels).save(buffer, "PNG")
    return buffer.getvalue()


def kept(folder: Path, model: Model, labels: bytes) -> dict[str, object]:
    kind, content = keep(folder, model, next(iter(model.heads)), PHOTO, labels)
    assert kind == "application/json"
    return json.loads(content)  # type: ignore[no-any-return]


def test_what_is_kept_is_a_data_set_of_the_models_classes(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "set"
    assert kept(folder, model, png(LABELS)) == {"name": "000001", "pictures": 1}
    (folder / "images" / "000001.png").rename(folder / "images" / "000007.png")
    (folder / "labels" / "000001.png").rename(folder / "labels" / "000007.png")
    assert kept(folder, model, png(LABELS)) == {"name": "000008", "pictures": 2}
    data = open_dataset(folder)
    assert (data.classes, data.problems) == (model.classes, ())
    assert data.palette == model.palette
    (item,) = [item for item in data.all_items() if item.name == "000008"]
    sample = data.read(item)
    assert (sample.image == PHOTO).all()
    assert (sample.labels == LABELS).all()


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        (png(LABELS[:10]), "D013"),
        (png(np.full((20, 30), 3, np.uint8)), "D012"),
        (png(np.full((20, 30), 300, np.uint16)), "D012"),
        (png(PHOTO), "D016"),
        (b"GIF89a", "D015"),
        (png(LABELS)[:-30], "D020"),
    ],
)
def test_a_label_map_that_does_not_fit_is_refused_and_nothing_is_written(
    model: Model, tmp_path: Path, labels: bytes, code: str
) -> None:
    with pytest.raises(PixelwiseError) as caught:
        kept(tmp_path / "set", model, labels)
    assert caught.value.code == code
    assert "/" not in str(caught.value)
    assert not (tmp_path / "set").exists()


def test_a_folder_of_something_else_or_of_other_classes_is_left_as_it_is(
    model: Model, tmp_path: Path
) -> None:
    other = load(save_model(tmp_path / "other.safetensors", classes=("a", "b", "c")))
    kept(tmp_path / "set", model, png(LABELS))
    before = sorted(tmp_path.rglob("*"))
    for folder, by, code in ((tmp_path / "set", other, "M040"), (tmp_path, model, "U003")):
        with pytest.raises(PixelwiseError) as caught:
            kept(folder, by, png(LABELS))
        assert caught.value.code == code
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("limit", [("MOST", 1), ("FREE", 2**60)])
def test_a_full_folder_or_disk_takes_no_more(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: tuple[str, int]
) -> None:
    kept(tmp_path / "set", model, png(LABELS))
    monkeypatch.setattr(module, *limit)
    with pytest.raises(PixelwiseError) as caught:
        kept(tmp_path / "set", model, png(LABELS))
    assert caught.value.code == "R001"
    assert len(list((tmp_path / "set" / "images").iterdir())) == 1
