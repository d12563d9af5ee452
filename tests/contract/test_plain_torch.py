"""What a caller has switched on for torch changes neither runs nor predictions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import pixelwise as pw
from pixelwise.errors import UsageError
from pixelwise.training import loop
from pixelwise.weights.checkpoint import load_checkpoint
from small_runs import recipe


@contextmanager
def surroundings(kind: str) -> Iterator[None]:
    """What a caller may have switched on for the whole process or block."""
    match kind:
        case "double":
            torch.set_default_dtype(torch.float64)
            try:
                yield
            finally:
                torch.set_default_dtype(torch.float32)
        case "meta":
            with torch.device("meta"):
                yield
        case "autocast":
            with torch.autocast("cpu", torch.bfloat16):
                yield
        case "inference":
            with torch.inference_mode():
                yield
        case _:
            with torch.no_grad():
                yield


@pytest.mark.parametrize("kind", ["double", "inference", "no gradients"])
def test_what_the_caller_has_switched_on_does_not_change_a_run(
    data: Path, tmp_path: Path, kind: str
) -> None:
    plan = recipe(data, iterations=2)
    loop.train(plan, tmp_path / "plain")
    with surroundings(kind):
        loop.train(plan, tmp_path / "other")
    one, two = (
        load_checkpoint(tmp_path / n / "weights/last.safetensors")[1] for n in ("plain", "other")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("kind", ["double", "autocast", "inference", "no gradients", "meta"])
def test_what_the_caller_has_switched_on_does_not_change_a_prediction(
    finished: Path, data: Path, kind: str
) -> None:
    picture = data / "images/p0.png"
    plain = pw.load(finished).predict(picture, probabilities=True)
    with surroundings(kind):
        model = pw.load(finished)
        if kind == "meta":  # where pictures are put is another matter
            kind = ""
    with surroundings(kind):
        found = model.predict(picture, probabilities=True)
    assert np.array_equal(found.probabilities, plain.probabilities)


def test_training_within_autocast_is_refused(data: Path, tmp_path: Path) -> None:
    with surroundings("autocast"), pytest.raises(UsageError, match=r"within torch\.autocast"):
        loop.train(recipe(data, iterations=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
