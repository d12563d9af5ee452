"""Files that Caffe and torch really wrote: decoded to the last byte, and they do what they did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pixelwise.errors import ModelError
from pixelwise.nets import spec
from pixelwise.nets.catalog import build
from pixelwise.nets.module import Network
from pixelwise.nets.net import Net
from pixelwise.weights.caffe import read_caffemodel
from pixelwise.weights.importing import read_class_names
from pixelwise.weights.load import read_weights
from pixelwise.weights.surgery import carry_out, plan

MEAN = (104.0, 117.0, 123.0)  # BGR, as the BVLC models' deploy examples use

# File: (layers, layers with blobs, parameters, bytes of weights). The decoder's own balance says
# that weights + structure + skipped fields are all bytes; test_golden_blobs holds the numbers.
CAFFE_FILES = {
    "caffe_v1_legacy/lenet_iter_10000": (9, 4, 431_080),
    "caffe_v1_legacy/cifar10_quick_iter_5000": (13, 5, 145_578),
    "caffe_v1_legacy/cifar10_full_iter_70000": (14, 4, 89_578),
    "caffe_v2/lenet_iter_10000_v2": (9, 4, 431_080),
    "caffe_v2/det1": (18, 8, 6_632),
    "caffe_v2/det2": (22, 10, 101_468),
    "caffe_v2/det3": (25, 12, 389_040),
    "bvlc_googlenet/bvlc_googlenet_noaux_v2": (58, 58, 6_998_552),
    "squeezenet_v1.0/squeezenet_v1.0_v1": (26, 26, 1_248_424),
}


@pytest.fixture(scope="module")
def weights(real_data: Path) -> Path:
    return real_data / "weights"


@pytest.mark.parametrize("name", CAFFE_FILES)
def test_every_byte_of_a_caffe_file_is_accounted_for(weights: Path, name: str) -> None:
    path = weights / f"{name}.caffemodel"
    model = read_caffemodel(path)
    layers, with_blobs, parameters = CAFFE_FILES[name]
    assert (len(model.layers), sum(bool(x.blobs) for x in model.layers)) == (layers, with_blobs)
    assert model.parameters == parameters
    assert model.weight_bytes == 4 * parameters
    everything = model.weight_bytes + model.structure_bytes + sum(model.skipped.values())
    assert everything == model.size == path.stat().st_size


# -- LeNet ------------------------------------------------------------------------------------
def lenet() -> Network:
    net = Net()
    x = net.data(1)
    x = net.max_pool("pool1", net.conv("conv1", x, 20, kernel=5))
    x = net.max_pool("pool2", net.conv("conv2", x, 50, kernel=5))
    x = net.conv_relu("ip1", x, 500, relu="relu1", kernel=4, pad=0)
    net.top = net.conv("ip2", x, 10)
    net.add(spec.Softmax("prob", (net.top,)))
    return Network(net).eval()


@pytest.mark.parametrize(
    "name", ["caffe_v1_legacy/lenet_iter_10000", "caffe_v2/lenet_iter_10000_v2"]
)
def test_lenet_reads_the_ten_digits(weights: Path, name: str) -> None:
    foreign = read_weights(weights / f"{name}.caffemodel")
    net = lenet()
    transplant = plan(foreign.tensors, net)
    assert {r.target for r in transplant.reshaped} == {"ip1.weight", "ip2.weight"}
    assert len(transplant.copied) == 6
    assert not transplant.dropped + transplant.missing + transplant.mismatched
    carry_out(transplant, foreign.tensors, net)
    files = sorted((weights / "mnist_samples").glob("img_*.png"))
    digits = [int(f.name.split("_")[1]) for f in files]
    pixels = np.stack([np.asarray(Image.open(f).convert("L"), np.float32) for f in files])
    with torch.inference_mode():
        guess = net(torch.from_numpy(pixels / 256)[:, None]).squeeze().argmax(1)
    assert guess.tolist() == digits
    assert len(digits) == 10


# -- GoogLeNet --------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def googlenet(weights: Path) -> Network:
    foreign = read_weights(weights / "bvlc_googlenet/bvlc_googlenet_noaux_v2.caffemodel")
    net = build("googlenet").eval()
    transplant = plan(foreign.tensors, net)
    assert (len(transplant.copied), len(transplant.reshaped)) == (115, 1)
    assert len(transplant.rows) == 116
    carry_out(transplant, foreign.tensors, net)
    return net


def activation(path: Path) -> Tensor:
    """One of Caffe's stored maps, (1, C, H, W)."""
    io = pytest.importorskip("scipy.io")
    found = [v for k, v in io.loadmat(path).items() if not k.startswith("__")]
    array = np.atleast_3d(np.asarray(found[0], np.float32))
    return torch.from_numpy(np.ascontiguousarray(array.transpose(2, 1, 0)))[None]


def layer_of(path: Path, net: Network) -> str:
    """``20_inception_3a_output.mat`` to ``inception_3a/output``."""
    plain = {name.replace("/", "_"): name for name in net.net.layers}
    return plain[path.stem.partition("_")[2]]


def test_googlenet_repeats_what_caffe_computed(weights: Path, googlenet: Network) -> None:
    folder = weights / "bvlc_googlenet" / "caffe_activations"
    x = activation(folder / "1_data.mat")
    assert x.shape == (1, 3, 227, 227)
    files = {layer_of(f, googlenet): f for f in folder.glob("*.mat") if f.name != "1_data.mat"}
    assert len(files) == 18
    with torch.inference_mode():
        maps = googlenet.activations(x, files)
    for name, path in files.items():
        want = activation(path)
        got = maps[name]
        want = want.reshape(got.shape) if want.numel() == got.numel() else want
        assert got.shape == want.shape, name
        error = ((got - want).abs().max() / want.abs().max()).item()
        print(f"{name:24} {tuple(got.shape)!s:20} {error:.2e}")
        assert error < 1e-4, name


def cat(weights: Path) -> Tensor:
    """cat.jpg squeezed to 256x256, the middle 224x224, BGR minus the mean: (1, 3, 224, 224)."""
    picture = Image.open(weights / "cat.jpg").convert("RGB").resize((256, 256), Image.BILINEAR)
    bgr = np.asarray(picture, np.float32)[16:240, 16:240, ::-1] - np.float32(MEAN)
    return torch.from_numpy(np.ascontiguousarray(bgr.transpose(2, 0, 1)))[None]


def test_googlenet_sees_the_cat(weights: Path, googlenet: Network) -> None:
    names = read_class_names(weights / "synset_1000.txt")
    assert len(names) == 1000
    with torch.inference_mode():
        probabilities = googlenet(cat(weights)).squeeze()
    best = probabilities.topk(5)
    found = [(names[i].split(",")[0], round(p, 3)) for p, i in zip(*[v.tolist() for v in best])]
    print(found)
