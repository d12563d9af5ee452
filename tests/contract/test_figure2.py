"""Figure 2 of the paper: a classifier made convolutional gives a heat map.

Theory: where nothing is padded inside, one pass over a large picture equals the classifier run on
every window of the size of its receptive field. The published net pads; then the heat map sees the
surroundings where a window sees zeros, and the two differ. Both are measured here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.nets.catalog import spec as net_spec
from pixelwise.nets.unpadded import unpadded
from pixelwise.weights.load import read_weights
from pixelwise.weights.surgery import carry_out, plan

TABBY, CATS = 281, slice(281, 286)  # synset_1000.txt: tabby, tiger cat, Persian, Siamese, Egyptian


def on_windows(net: Network, x: Tensor, window: int, stride: int) -> Tensor:
    """The classifier on every window: (1, K, rows, columns)."""
    rows = range(0, x.shape[2] - window + 1, stride)
    columns = range(0, x.shape[3] - window + 1, stride)
    cells = [
        torch.cat([net(x[:, :, r : r + window, c : c + window]) for c in columns], dim=3)
        for r in rows
    ]
    return torch.cat(cells, dim=2)


def relative(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return ((a - b).abs().max() / b.abs().max()).item()


def test_unpadded_narrow_net_on_a_picture_equals_itself_on_windows() -> None:
    torch.manual_seed(0)
    net = Network(unpadded(net_spec("googlenet", classes=5, width=1 / 16))).eval().double()
    assert (net.net.receptive_field, net.net.stride) == (907, 32)
    for p in net.parameters():  # zero or tiny scores would hide a difference
        torch.nn.init.normal_(p, std=(2 / p[0].numel()) ** 0.5 if p.ndim > 1 else 0.1)
    x = torch.randn(1, 3, 907 + 64, 907 + 32, dtype=torch.float64)
    with torch.inference_mode():
        heat, windows = net(x), on_windows(net, x, 907, 32)
    assert heat.shape == (1, 5, 3, 2)
    assert heat.std() > 1e-3
    assert relative(heat, windows) < 1e-10


def test_a_window_smaller_than_the_receptive_field_gives_nothing() -> None:
    sizes = unpadded(net_spec("googlenet", width=1 / 16)).sizes(907)
    assert sizes["loss3/classifier"] == 1
    assert sizes["inception_5b/output"] == 7


# -- the real weights -------------------------------------------------------------------------
@pytest.fixture(scope="module")
def weights(real_data: Path) -> Path:
    return real_data / "weights"


def loaded(weights: Path, net: Network) -> Network:
    foreign = read_weights(weights / "bvlc_googlenet/bvlc_googlenet_noaux_v2.caffemodel")
    transplant = plan(foreign.tensors, net)
    assert len(transplant.of("copied")) + len(transplant.of("reshaped")) == 116
    carry_out(transplant, foreign.tensors, net)
    return net.eval()


def photo(weights: Path, height: int, width: int) -> Tensor:
    """cat.jpg at another size, BGR minus the mean: (1, 3, height, width)."""
    rgb = np.asarray(Image.open(weights / "cat.jpg").convert("RGB"), np.float32)
    bgr = np.ascontiguousarray((rgb[..., ::-1] - np.float32((104, 117, 123))).transpose(2, 0, 1))
    return F.interpolate(torch.from_numpy(bgr)[None], size=(height, width), mode="bilinear")


@pytest.mark.slow
def test_unpadded_googlenet_on_the_cat_equals_itself_on_windows(weights: Path) -> None:
    net = loaded(weights, Network(unpadded(net_spec("googlenet")))).double()
    x = photo(weights, 907, 907 + 32).double()
    with torch.inference_mode():
        heat, windows = net(x), on_windows(net, x, 907, 32)
    assert heat.shape == (1, 1000, 1, 2)
    assert relative(heat, windows) < 1e-10


def test_the_heat_map_of_the_cat_is_on_the_cat(weights: Path) -> None:
    net = loaded(weights, build("googlenet"))
    with torch.inference_mode():
        heat = net(photo(weights, 540, 720))[0]
    assert heat.shape == (1000, 10, 16)
    cats = heat[CATS].sum(0)
    assert heat[TABBY].max() > 0.1
    assert cats.max() > 0.95
    # The cat sits in the middle of the picture, its head in the upper half; the rim is wall.
    row, column = divmod(int(cats.argmax()), 16)
    assert (2 <= row <= 6, 5 <= column <= 10) == (True, True)
    assert cats[:, [0, 1, -2, -1]].max() < 0.1


def test_the_padded_net_differs_from_its_windows_and_says_by_how_much(
    weights: Path, record_property: pytest.RecordProperty
) -> None:
    """Zero padding stands for the surroundings in a window: measured, not assumed away."""
    net = loaded(weights, build("googlenet"))
    x = photo(weights, 360, 480)[:, :, 32 : 32 + 224 + 64, 96 : 96 + 224 + 64]
    with torch.inference_mode():
        heat, windows = net(x), on_windows(net, x, 224, 32)
    assert heat.shape == windows.shape == (1, 1000, 3, 3)
    off = (heat - windows).abs()
    agree = (heat.argmax(1) == windows.argmax(1)).float().mean().item()
    record_property("largest_difference_of_a_probability", off.max().item())
    record_property("mean_total_variation", off.sum(1).mean().item() / 2)
    record_property("same_first_class", agree)
    print(f"largest {off.max():.3f}, total variation {off.sum(1).mean() / 2:.3f}, same {agree:.2f}")
    assert off.max() > 0.01
    assert heat[0, CATS].sum(0).min() > 0.3
    assert windows[0, CATS].sum(0).min() > 0.3
