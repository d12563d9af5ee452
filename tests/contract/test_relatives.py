"""What the nets that grew from FCN cannot be given; `test_every_net.py` has what they can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pixelwise as pw
from make_data import folder_set
from pixelwise.errors import DataError, UsageError
from pixelwise.training import loop
from small_runs import recipe


def test_what_a_net_without_padding_cannot_take_is_refused_by_name(tmp_path: Path) -> None:
    data = folder_set(tmp_path / "set")
    small = recipe(data, net="deconvnet-vgg16", width=1 / 64, crop=(192, 192), zoom=4.0)
    with pytest.raises(UsageError, match="fc6 has no output for an input of 192 px"):
        loop.train(small, tmp_path / "run")
    fits = recipe(data, net="deconvnet-vgg16", width=1 / 64, iterations=1, zoom=5.0, val_split="")
    loop.train(fits, tmp_path / "run2")
    model = pw.load(tmp_path / "run2").shown(zoom=1)
    with pytest.raises(DataError, match=r"100x220 \(HxW\) is too small for the net"):
        model.predict(np.zeros((100, 220, 3), np.uint8))


def test_a_single_picture_has_no_deviation_for_image_pooling_to_learn_from(tmp_path: Path) -> None:
    data = folder_set(tmp_path / "set")
    alone = recipe(data, net="deeplabv3-tiny", width=0.25, batch=1)
    with pytest.raises(UsageError, match="image_pool/bn would see a single value"):
        loop.train(alone, tmp_path / "run")
