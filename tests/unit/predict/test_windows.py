"""A classifier on windows and in one pass: equal where nothing is padded, else compared."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pixelwise.data.preprocess import CAFFE
from pixelwise.engine.network import Network
from pixelwise.engine.runner import TorchRunner
from pixelwise.errors import UsageError
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net
from pixelwise.nets.unpadded import unpadded
from pixelwise.predict.predictor import Predictor
from pixelwise.predict.windows import window_scores
from small_model import pixels


def predictor(net: Net) -> Predictor:
    """Random weights, larger than those of a start: differences are seen."""
    network, generator = Network(net).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            fan = p[0].numel() if p.dim() > 1 else 16
            p.copy_(torch.randn(p.shape, generator=generator) * math.sqrt(2 / fan))
    return Predictor(TorchRunner(network), CAFFE)


def alexnet() -> Net:
    return spec("alexnet", classes=7, width=1 / 16)


@pytest.mark.parametrize("batch", [1, 4])
def test_without_padding_one_pass_equals_the_windows(batch: int) -> None:
    """355 is AlexNet's receptive field; 3 x 2 windows, the last batch of four is not full."""
    slid = window_scores(
        predictor(unpadded(alexnet())), pixels((355 + 64, 355 + 32)), window=355, batch=batch
    )
    assert slid.windows.shape == slid.one_pass.shape == (7, 3, 2)
    scale = float(np.abs(slid.windows).max())
    assert np.ptp(slid.windows[0]) > 1e-3 * scale
    assert slid.off.max() < 1e-5 * scale
    assert slid.same_first_class == 1


def test_the_published_net_differs_from_its_windows_by_as_much_as_is_said() -> None:
    """Each window alone by the predictor; padding stands for what surrounds it in the picture."""
    made, image = predictor(alexnet()), pixels((227 + 32, 227 + 64))
    slid = window_scores(made, image, window=227, batch=5)
    whole = made.scores(image).numpy()
    assert slid.windows.shape == (7, 2, 3)
    np.testing.assert_allclose(slid.one_pass, whole[:, :2, :3], rtol=1e-5)
    best = []
    for i, j in np.ndindex(2, 3):
        alone = made.scores(image[32 * i : 32 * i + 227, 32 * j : 32 * j + 227]).numpy()[:, 0, 0]
        np.testing.assert_allclose(slid.windows[:, i, j], alone, rtol=1e-4, atol=1e-6)
        best.append(alone.argmax() == whole[:, i, j].argmax())
        np.testing.assert_allclose(slid.off[:, i, j], abs(alone - whole[:, i, j]), atol=1e-5)
    assert slid.same_first_class == pytest.approx(np.mean(best))
    assert slid.off.max() > 1e-4


def test_a_window_that_is_none_is_refused() -> None:
    made = predictor(alexnet())
    with pytest.raises(UsageError, match=r"a window of 300 .* gives 4x4 cells, expected one"):
        window_scores(made, pixels((400, 400)), window=300)
    with pytest.raises(UsageError, match=r"a window of 227 in a picture of 226x300"):
        window_scores(made, pixels((226, 300)), window=227)


def test_the_convolutional_classifier_on_227_is_the_fully_connected_one() -> None:
    """fc6 to fc8 as matrices on the flattened pool5, as Caffe has them (fact sheet 11.14)."""
    made = predictor(alexnet())
    network = made.runner.network  # type: ignore[attr-defined]
    x = torch.randn(2, 3, 227, 227, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = network.activations(x, ["pool5", "fc8"])
        assert maps["pool5"].shape[-2:] == (6, 6)
        assert maps["fc8"].shape == (2, 7, 1, 1)
        values = maps["pool5"].flatten(1)
        for name in ("fc6", "fc7", "fc8"):
            layer = network.get_submodule(name)
            values = F.linear(values, layer.weight.flatten(1), layer.bias)
            values = values if name == "fc8" else F.relu(values)
    torch.testing.assert_close(maps["fc8"][:, :, 0, 0], values, rtol=1e-5, atol=1e-5)
    assert values.std() > 1e-2
