"""Small pictures through the net at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.small_model import save_model

from pixelwise import load
from pixelwise.engine.rounding import unsupported
from pixelwise.predict.shared_pass import can_share, sharing

NO_BF16 = pytest.mark.skipif(bool(unsupported("bf16")), reason=unsupported("bf16") or "it is there")


@pytest.mark.parametrize(
    ("net", "precision"),
    [
        ("fcn8s-tiny", "fp32"),
        pytest.param("fcn8s-tiny", "bf16", marks=NO_BF16),
        ("fcn8s-efficientnetlite0", "fp32"),
        ("deeplabv3-resnet18", "fp32"),
    ],
)
@pytest.mark.parametrize("size", [(33, 47), (128, 130)])
def test_each_has_its_own_scores_to_the_bit(
    tmp_path: Path, net: str, precision: str, size: tuple[int, int]
) -> None:
    path = save_model(tmp_path / "m.safetensors", net=net, options={"classes": 3, "width": 1 / 8})
    predictor = load(path, precision=precision).predictor
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), np.uint8) for _ in range(3)]
    assert can_share(predictor, size)
    for image, shown in zip(images, sharing(predictor, images), strict=True):
        alone = predictor.scores(image)
        assert (shown.scores(image) == alone).all()
        assert (shown.labels(image) == alone.argmax(0).numpy()).all()
