from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelwise.errors import ModelError
from pixelwise.predict.model import load
from pixelwise.workflows.figure2 import BAND, figure2
from small_model import pixels, save_classifier, save_model


def test_one_pass_and_windows_are_compared_cell_by_cell(tmp_path: Path) -> None:
    model, image = load(save_classifier(tmp_path / "c.safetensors")), pixels((260, 300))
    found = figure2(model, image, "thing 2")
    one = model.predict(image, probabilities=True).probabilities
    assert one is not None
    windows = np.array(
        [
            [
                model.predict(image[y : y + 224, x : x + 224], probabilities=True).probabilities
                for x in (0, 32, 64)
            ]
            for y in (0, 32)
        ]
    )[..., 0, 0].transpose(2, 0, 1)
    off = np.abs(one[2, :2, :3] - windows[2])
    assert found.cells == (2, 3)
    assert found.highest == (pytest.approx(one[2].max()), pytest.approx(windows[2].max()))
    assert found.largest_difference == pytest.approx(off.max(), abs=1e-6)
    assert found.mean_difference == pytest.approx(off.mean(), abs=1e-6)
    assert found.same_first_class == (one.argmax(0)[:2, :3] == windows.argmax(0)).mean()
    assert found.largest_difference > 0  # the net pads inside
    assert found.sheet.shape == (260, 3 * (300 + BAND), 3)
    assert np.array_equal(found.sheet[:, :300], image)
    assert "sheet" not in found.as_dict()


def test_a_segmentation_net_has_no_windows(tmp_path: Path) -> None:
    model = load(save_model(tmp_path / "net.safetensors"))
    with pytest.raises(ModelError, match="is a segmentation net"):
        figure2(model, pixels(), "wall")
