"""What we write for Caffe, carried out by OpenCV's importer: the same scores as ours.

OpenCV 4's ``readNetFromCaffe`` parses both files with caffe.proto and has layers of its own; no
code is shared. Version 5 dropped it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pixelwise.engine.network import Network
from pixelwise.nets import layers
from pixelwise.nets.joining import Concat
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import AvgPool, GlobalAvgPool
from pixelwise.nets.released import RELEASED
from pixelwise.weights.caffe_files import caffemodel, prototxt
from pixelwise.weights.caffe_layers import caffe_layers, misfits
from pixelwise.weights.exporting import Exported, export_weights
from pixelwise.weights.importing import import_weights
from random_weights import random_net, randomised, save, save_random

cv2 = pytest.importorskip("cv2")

FOUR_SIZES = ((500, 500), (375, 500), (97, 131), (255, 333))
EXACT = 1e-4  # of the largest score


def opened(files: Exported, *, instead: dict[str, str] | None = None) -> Any:
    """The net in OpenCV; ``instead`` are words that it spells otherwise than Caffe."""
    for caffe, opencv in (instead or {}).items():
        text = files.prototxt.read_text("utf-8")
        files.prototxt.write_text(text.replace(caffe, opencv), "utf-8")
    return cv2.dnn.readNetFromCaffe(str(files.prototxt), str(files.caffemodel))


def in_opencv(net: Any, files: Exported, picture: NDArray[np.float32]) -> list[NDArray[Any]]:
    """The map of each output for a stack of bands (B, H, W)."""
    bands = np.cumsum([shape[1] for shape in files.inputs.values()])[:-1]
    for name, part in zip(files.inputs, np.split(picture, bands), strict=True):
        net.setInput(part[None], name)
    return [np.asarray(m) for m in net.forward(list(files.outputs.values()))]


def compare(net: Network, there: Any, files: Exported, height: int, width: int) -> float:
    """The largest difference as a share of the largest score; labels must be equal but for ties."""
    rng = np.random.default_rng(height * width)
    picture = rng.normal(0, 60, (sum(net.net.inputs.values()), height, width)).astype(np.float32)
    theirs = in_opencv(there, files, picture)
    with torch.inference_mode():
        ours = net(torch.from_numpy(picture)[None])
    worst = 0.0
    maps = ours.values() if isinstance(ours, dict) else [ours]
    for want, got in zip(maps, theirs, strict=True):
        assert got.shape == tuple(want.shape)
        reach = want.abs().max().item()
        assert reach > 0.1  # scores of nothing would agree with anything
        worst = max(worst, float(np.abs(got - want.numpy()).max()) / reach)
        first, second = want.topk(2, dim=1).values.unbind(1)
        clear = (first - second > EXACT * reach).numpy()
        assert clear.mean() > 0.9
        assert (got.argmax(1) == want.argmax(1).numpy())[clear].all()
    return worst


@pytest.mark.parametrize("name", RELEASED)
def test_a_narrow_copy_gives_the_same_scores_in_opencv(tmp_path: Path, name: str) -> None:
    net = save_random(tmp_path / "net.safetensors", name, width=1 / 8)
    files = export_weights(tmp_path / "net.safetensors", tmp_path / "net.caffemodel")
    there = opened(files)
    for height, width in ((97, 131), (40, 33)):
        assert compare(net, there, files, height, width) < EXACT


@pytest.mark.slow
@pytest.mark.parametrize("name", RELEASED)
def test_the_whole_net_gives_the_same_scores_in_opencv(tmp_path: Path, name: str) -> None:
    net = save_random(tmp_path / "net.safetensors", name)
    files = export_weights(tmp_path / "net.safetensors", tmp_path / "net.caffemodel")
    (tmp_path / "net.safetensors").unlink()  # half a GB, of two streams a whole one
    there = opened(files)
    figures = {size: compare(net, there, files, *size) for size in FOUR_SIZES}
    print(name, {f"{h}x{w}": f"{figure:.1e}" for (h, w), figure in figures.items()})
    assert max(figures.values()) < EXACT


@pytest.mark.parametrize("name", ["fcn4s-vgg16", "fcn8s-alexnet", "fcn8s-googlenet"])
def test_learned_upsampling_gives_the_same_scores(tmp_path: Path, name: str) -> None:
    net = save_random(tmp_path / "net.safetensors", name, classes=5, width=1 / 8, learned="all")
    files = export_weights(tmp_path / "net.safetensors", tmp_path / "net.caffemodel")
    assert compare(net, opened(files), files, 97, 131) < EXACT


def test_batch_norm_and_pools_that_round_down_give_the_same(tmp_path: Path) -> None:
    net = save_random(tmp_path / "net.safetensors", "resnet18", classes=5, width=1 / 4)
    files = export_weights(tmp_path / "net.safetensors", tmp_path / "net.caffemodel")
    there = opened(files, instead={"round_mode: FLOOR": "ceil_mode: false"})
    assert compare(net, there, files, 96, 130) < EXACT


def test_every_layer_that_has_a_place_in_caffe_gives_the_same() -> None:
    """What no released net has: dilation, deconvolutions with pads and groups."""
    net = Net()
    x = net.conv("a", net.data(3), 8, kernel=3, pad=1, relu="a_relu")
    x = net.add(layers.Conv("b", (x,), 8, 3, 1, 2, 2, 2, False))  # pad 2, groups 2, dilation 2
    x = net.add(layers.Lrn("lrn", (x,), 3, 0.5, 0.6))  # OpenCV passes over Caffe's k, it has 1
    small = net.add(AvgPool("average", (x,), 3, 2))
    up = net.add(layers.Deconv("up", (small,), 8, 3, 2, 1, 4))
    x = net.add(Concat("both", (net.crop("x", x, like=up), up)))
    x = net.sum("sum", x, x, coefficients=(0.25, -1.5))
    x = net.add(layers.Softmax("soft", (net.score("score", x, 5),)))
    net.add(GlobalAvgPool("mean", (x,)))
    network = randomised(Network(net))
    written = list(caffe_layers(net, network.state_dict(), 41, 59))
    assert not list(misfits(net))
    assert {r.type for r in written} >= {"Deconvolution", "Crop", "Concat", "Eltwise", "Softmax"}
    text = np.frombuffer(prototxt("own", written).encode(), np.uint8)
    numbers = np.frombuffer(b"".join(map(bytes, caffemodel("own", written))), np.uint8)
    there = cv2.dnn.readNetFromCaffe(text, numbers)
    x = torch.randn(1, 3, 41, 59)
    there.setInput(x.numpy(), "data")
    for layer in ("lrn", "average", "up", "sum", "soft", "mean"):
        with torch.inference_mode():
            want = network.activations(x, [layer])[layer].numpy()
        got = np.asarray(there.forward(layer))
        assert got.shape == want.shape, layer
        assert np.abs(got - want).max() < EXACT * np.abs(want).max(), layer


# Fact sheet 1.8, measured there with torch's own deconvolution: rows below 1 at top and bottom,
# and the factor of the last row.
FADE = {
    "fcn32s-vgg16": {500: (13, 7, 0.797), 375: (13, 10, 0.703), 425: (13, 0, 1), 256: (13, 0, 1)},
    "fcn16s-vgg16": {500: (21, 15, 0.773), 375: (21, 18, 0.703), 425: (21, 4, 0.945)},
    "fcn8s-vgg16": {500: (25, 19, 0.754), 375: (25, 22, 0.684), 425: (25, 8, 0.941)},
}


@pytest.mark.parametrize("name", FADE)
def test_the_border_fades_as_in_the_released_nets(tmp_path: Path, name: str) -> None:
    net = random_net(name, classes=2, width=1 / 16)
    for array, tensor in net.state_dict().items():
        if array.startswith("score"):
            tensor.fill_(1.0 if array == "score_fr.bias" else 0.0)
    save(tmp_path / "net.safetensors", name, net, classes=2, width=1 / 16)
    files = export_weights(tmp_path / "net.safetensors", tmp_path / "net.caffemodel")
    for height, (top, bottom, last) in FADE[name].items():
        picture = np.zeros((3, height, 100), np.float32)
        (theirs,) = in_opencv(opened(files), files, picture)
        with torch.inference_mode():
            ours = net(torch.from_numpy(picture)[None]).numpy()
        for maps in (ours, theirs):
            rows = maps[0, 0].max(1)
            below = rows < 1 - 1e-6
            assert below[: height // 2].sum() == top
            assert below[height // 2 :].sum() == bottom
            assert rows[0] == pytest.approx(0.609375)
            assert rows[-1] == pytest.approx(last, abs=5e-4)
            # columns alike, and corners are the product
            assert maps[0, 0, 0, 0] == pytest.approx(0.609375**2)


def test_the_real_googlenet_written_again_repeats_caffe(tmp_path: Path, real_data: Path) -> None:
    io = pytest.importorskip("scipy.io")
    folder = real_data / "weights" / "bvlc_googlenet"
    path, out = folder / "bvlc_googlenet_noaux_v2.caffemodel", tmp_path / "g.caffemodel"
    import_weights(path, tmp_path / "g.safetensors", net="googlenet")
    files = export_weights(tmp_path / "g.safetensors", out, size=(227, 227))
    stored = {}
    for file in (folder / "caffe_activations").glob("*.mat"):
        (array,) = (v for k, v in io.loadmat(file).items() if not k.startswith("__"))
        maps = np.atleast_3d(np.asarray(array, np.float32)).transpose(2, 1, 0)
        stored[file.stem.partition("_")[2]] = np.ascontiguousarray(maps)
    net = opened(files)
    net.setInput(stored.pop("data")[None], "data")
    # OpenCV fuses ReLU into convolutions; maps of other layers can be asked for.
    names = {n.replace("/", "_"): n for n in net.getLayerNames()}
    assert len(stored) == 18
    for name, want in stored.items():
        got = np.asarray(net.forward(names[name]))[0]
        worst = np.abs(got - want.reshape(got.shape)).max() / np.abs(want).max()
        assert worst < EXACT, name
