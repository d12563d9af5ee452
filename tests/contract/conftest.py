from __future__ import annotations

from pathlib import Path

import pytest

import small_runs
from every_net import Cases
from make_data import folder_set, two_of_each
from pixelwise.machine.files import write_json
from pixelwise.training import loop
from small_runs import recipe
from two_heads import SETTINGS


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


@pytest.fixture(scope="session")
def two_headed_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_of_each(tmp_path_factory.mktemp("heads") / "d")


@pytest.fixture(scope="session")
def two_headed_run(two_headed_data: Path) -> Path:
    """A stream for the colours and one for depth, and two heads on both."""
    data = two_headed_data
    run = data.parent / "run"
    assert small_runs.train(data, run, SETTINGS, "--iterations", "80") == 0
    return run


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Cases:
    """Nets of the catalogue, each prepared once."""
    return Cases(tmp_path_factory)
