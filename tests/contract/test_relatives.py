"""The nets that grew from FCN train, go on, label and are judged as every other net."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import pixelwise as pw
from make_data import folder_set
from pixelwise.errors import DataError, Stopped, UsageError
from pixelwise.folders import read_journal
from pixelwise.training import loop
from pixelwise.training.state import generations
from small_runs import recipe, stop_after

CASES = {
    # A crop of 220 leaves U-Net 36 rows of labels.
    "unet": {"width": 1 / 64, "crop": (220, 220), "zoom": 4.0, "val_split": ""},
    "segnet-tiny": {"width": 0.25, "crop": (32, 32)},
    "pspnet-tiny": {"width": 0.25, "crop": (32, 32)},
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n == "unet" else ()) for n in CASES]
)
def test_it_trains_goes_on_to_the_bit_and_labels_every_pixel(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder_set(tmp_path / "set")
    plan = recipe(data, net=name, iterations=2, batch=2, **CASES[name])
    loop.train(plan, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stopped):
            loop.train(plan, tmp_path / "parts")
    loop.train(plan, tmp_path / "parts", resume=True)
    one, two = (load_file(generations(tmp_path / run)[-1]) for run in ("whole", "parts"))
    assert [key for key in one if not torch.equal(one[key], two[key])] == []
    losses = [e["loss"] for e in read_journal(tmp_path / "whole" / "journal.jsonl") if "loss" in e]
    assert np.isfinite(losses).all()
    model = pw.load(tmp_path / "whole")
    picture = np.random.default_rng(0).integers(0, 256, (37, 41, 3), np.uint8)
    scores = model.predictor.scores(picture)
    assert scores.shape == (len(model.classes), 37, 41)
    assert np.array_equal(model.predict(picture).labels, scores.argmax(0).numpy())


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
