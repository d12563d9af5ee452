"""Parts of segmentation_models.pytorch, without the package itself, which needs model libraries."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

import pytest

PACKAGE = "segmentation_models_pytorch"


def smp_module(name: str) -> ModuleType:
    """A module of the package by its dotted name within it; skips the test where there is none."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip(f"{PACKAGE} is not installed")
    with pytest.MonkeyPatch.context() as patch:
        parts = name.split(".")[:-1]
        for part in (PACKAGE, *(".".join([PACKAGE, *parts[: i + 1]]) for i in range(len(parts)))):
            folder = part.replace(".", "/").removeprefix(PACKAGE)
            stand_in = ModuleType(part)
            stand_in.__path__ = [f"{place}{folder}" for place in spec.submodule_search_locations]
            patch.setitem(sys.modules, part, stand_in)
        patch.delitem(sys.modules, f"{PACKAGE}.{name}", raising=False)
        return importlib.import_module(f"{PACKAGE}.{name}")
