from __future__ import annotations

from pathlib import Path

import pytest

from pixelwise.predict import model as models
from small_model import photo, save_model


@pytest.fixture
def model(tmp_path: Path) -> models.Model:
    return models.load(save_model(tmp_path / "net.safetensors"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(3):
        photo(tmp_path / "photos" / f"p{i}.png", seed=i)
    return tmp_path / "photos"
