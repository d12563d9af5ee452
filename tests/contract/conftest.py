from __future__ import annotations

from pathlib import Path

import pytest

from make_data import folder_set
from pixelwise.machine.files import write_json
from pixelwise.training import loop
from small_runs import recipe


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = folder_set(tmp_path_factory.mktemp("data") / "set", count=16)
    write_json(root / "classes.json", {"classes": ["sky", "grass", "road"]})
    return root


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "first"
    loop.train(recipe(data), run)
    return run
