"""Commands that compute keep freed memory while they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixelwise.cli.app import run
from pixelwise.engine.network import Network
from pixelwise.engine.planned import PlannedRunner
from pixelwise.machine import memory
from small_model import photo, save_model

pytestmark = pytest.mark.skipif(
    memory._glibc() is None or memory._address_space() is not None, reason="nothing is kept here"
)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many blocks the process was in at every forward pass, by modules or by a plan."""
    found: list[int] = []

    def watch(kind: type, name: str) -> None:
        run: Callable[..., Any] = getattr(kind, name)

        def look(*arguments: Any, **named: Any) -> Any:
            found.append(len(memory._blocks))
            return run(*arguments, **named)

        monkeypatch.setattr(kind, name, look)

    watch(Network, "_run")
    watch(PlannedRunner, "maps")
    return found


def test_predict_does(tmp_path: Path, seen: list[int]) -> None:
    model, source = save_model(tmp_path / "net.safetensors"), photo(tmp_path / "a.png")
    assert run(["predict", str(model), str(source), "-o", str(tmp_path / "out")]) == 0
    assert seen == [1]
    assert len(memory._blocks) == 0


def test_training_and_evaluation_do(
    tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    given_back: list[None] = []
    monkeypatch.setattr(memory, "give_back", lambda: given_back.append(None))
    data, out = str(tmp_path / "data"), str(tmp_path / "run")
    assert run(["data", "make", "scenes", data, "--count", "20", "--size", "32x48"]) == 0
    train = ["train", data, "-o", out, "--net", "fcn8s-tiny", "--iterations", "2"]
    assert run(train) == 0
    assert len(seen) > 4
    assert set(seen) == {1}
    assert given_back  # an evaluation's sizes are others than a step's
    seen.clear()
    assert run(["evaluate", out, data]) == 0
    assert set(seen) == {1}
    assert len(memory._blocks) == 0
