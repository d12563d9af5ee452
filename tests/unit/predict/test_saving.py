from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelwise.predict import saving
from pixelwise.predict.prediction import Prediction
from pixelwise.weights.checkpoint import read_header
from small_model import save_model


@pytest.mark.parametrize(
    ("kinds", "heat", "expected"),
    [
        (("labels", "scores"), (("a", 3),), ("labels", "scores", "b/labels", "b/scores")),
        (
            ("heatmaps", "labels"),
            (),
            ("labels", "heatmaps first 3", "b/labels", "b/heatmaps first 3"),
        ),
        (
            ("heatmaps",),
            (("a", 3), ("b", 1), ("a", 0)),
            ("heatmaps 3", "heatmaps 0", "b/heatmaps 1"),
        ),
    ],
)
def test_each_heat_map_and_each_heads_output_is_a_part(kinds, heat, expected) -> None:
    assert saving.parts(kinds, heat, ("a", "b")) == expected
    of_first = tuple(part for part in expected if "/" not in part)
    assert saving.parts(kinds, [c for c in heat if c[0] == "a"], ("a",)) == of_first


@pytest.mark.parametrize(
    ("wanted", "needed"),
    [
        (("labels", "overlay", "geometry/labels"), False),
        (("labels", "geometry/heatmaps 2"), True),
        (("labels", "scores"), True),
        (("labels", "heatmaps 2"), True),
        ((), False),
    ],
)
def test_label_maps_and_overlays_need_no_probabilities(wanted, needed) -> None:
    assert saving.needs_probabilities(wanted) is needed


def test_the_largest_classes_over_the_picture_are_drawn(tmp_path: Path) -> None:
    header = read_header(save_model(tmp_path / "net.safetensors"))
    chances = np.zeros((5, 4, 6), np.float32)
    for share, where in zip((0.1, 0.3, 0.0, 0.2, 0.4), chances, strict=True):
        where[:] = share
    chances[2, 0, 0] = 1.0  # highest anywhere, but not on the whole
    found = Prediction(
        image=np.zeros((4, 6, 3), np.uint8),
        labels=np.zeros((4, 6), np.uint8),
        classes=("a", "b/c", "d", "..", "e"),
        palette=((0, 0, 0),) * 5,
        probabilities=chances,
    )
    to = saving.Target(tmp_path / "out", "p", header)
    files = saving.write("heatmaps first 3", found, to)
    names = [path.relative_to(tmp_path).as_posix() for path in files]
    assert names == ["out/p_heat/4-e.png", "out/p_heat/1-b_c.png", "out/p_heat/3-__.png"]
    with Image.open(files[0]) as image:
        assert image.size == (6, 4)
