"""Shared fixtures: where the real data is, and one torch thread count for all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and weights; a test that needs it is skipped without it."""
    folder = Path(os.environ.get("PIXELWISE_TEST_DATA", ""))
    if not folder.name or not folder.is_dir():
        pytest.skip(f"no real data: PIXELWISE_TEST_DATA is `{folder}`, expected their folder")
    return folder
