"""Shared fixtures: where the real data is, and one torch thread count for all tests."""

import os
from pathlib import Path

import pytest

# Figures and bits in the tests are a processor's; a GPU has one module (`make test-cuda`).
if not os.environ.get("PIXELWISE_TEST_CUDA"):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real photos and weights; a test that needs it is skipped without it."""
    told = os.environ.get("PIXELWISE_TEST_DATA", "")
    if not told or not Path(told).is_dir():
        what = f"`{told}`" if told else "not set"
        pytest.skip(f"no real data: PIXELWISE_TEST_DATA is {what}, expected their folder")
    return Path(told)
