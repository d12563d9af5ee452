"""Files that Caffe and torch really wrote: decoded to the last byte, and they do what they did."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from pixelwise.engine.build import build
from pixelwise.engine.network import Network
from pixelwise.errors import ModelError
from pixelwise.nets.joining import Concat
from pixelwise.nets.layers import Softmax
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import GlobalAvgPool
from pixelwise.weights.caffe import parse_caffemodel, read_caffemodel
from pixelwise.weights.importing import read_class_names
from pixelwise.weights.load import read_weights
from pixelwise.weights.surgery import carry_out, plan
from pixelwise.weights.wire import Field, WireReader

MEAN = (104.0, 117.0, 123.0)  # BGR, as the BVLC models' deploy examples use

# Decoded by Google's protobuf: file to layers, and blob to shape and hash (make_caffe_blobs.py).
_GOLDEN_FILE = Path(__file__).parents[1] / "golden" / "caffe_blobs.json"
GOLDEN = json.loads(_GOLDEN_FILE.read_text(encoding="utf-8"))["files"]


@pytest.fixture(scope="module")
def weights(real_data: Path) -> Path:
    return real_data / "weights"


@pytest.mark.parametrize("name", GOLDEN)
def test_every_blob_is_what_protobuf_reads(weights: Path, name: str) -> None:
    model = read_caffemodel(weights / name)
    assert len(model.layers) == GOLDEN[name]["layers"]
    found = {
        f"{layer.name}#{i}": [*blob.shape, hashlib.sha256(blob.tobytes()).hexdigest()[:8]]
        for layer in model.layers
        for i, blob in enumerate(layer.blobs)
    }
    assert found == GOLDEN[name]["blobs"]


@pytest.mark.parametrize("name", GOLDEN)
def test_every_byte_of_a_caffe_file_is_accounted_for(weights: Path, name: str) -> None:
    model = read_caffemodel(weights / name)
    everything = model.weight_bytes + model.structure_bytes + sum(model.skipped.values())
    assert everything == (weights / name).stat().st_size
    blobs = [blob for layer in model.layers for blob in layer.blobs]
    assert model.weight_bytes == 4 * sum(blob.size for blob in blobs)


NET, V1_LAYER, LAYER, BLOB, SHAPE = "net", "v1", "layer", "blob", "shape"
INSIDE = {
    (NET, 2): V1_LAYER,
    (NET, 100): LAYER,
    (V1_LAYER, 6): BLOB,
    (LAYER, 7): BLOB,
    (BLOB, 7): SHAPE,
}


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def rewritten(wire: WireReader, fields: Iterator[Field], message: str) -> bytes:
    """A message written again from what the reader says is in it."""
    out = []
    for field in fields:
        tag = varint(field.number << 3 | field.kind)
        payload = bytes(wire.data[field.start : field.end])
        if (message, field.number) in INSIDE:
            payload = rewritten(wire, wire.enter(field), INSIDE[message, field.number])
        elif (message, field.number) == (BLOB, 5):
            payload = wire.array([field], field.kind if field.kind == 5 else 5).tobytes()
        if field.kind == 0:
            payload = varint(field.value)
        elif field.kind == 2:
            payload = varint(len(payload)) + payload
        out.append(tag + payload)
    return b"".join(out)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_file_written_again_from_what_was_read_is_the_same_file(weights: Path, name: str) -> None:
    data = (weights / name).read_bytes()
    wire = WireReader(data, name)
    assert rewritten(wire, wire.fields(0, len(data)), NET) == data


@pytest.mark.parametrize("name", ["caffe_v1_legacy/cifar10_full_iter_70000", "caffe_v2/det1"])
def test_a_real_file_that_is_cut_is_refused_with_the_byte(weights: Path, name: str) -> None:
    data = (weights / f"{name}.caffemodel").read_bytes()
    for length in (len(data) - 1, len(data) // 2, len(data) // 7):
        with pytest.raises(ModelError, match="damaged at byte") as caught:
            parse_caffemodel(data[:length], name)
        assert caught.value.code == "M002"


REFUSED = {
    "keras_h5/squeezenet_v1.1_notop_tf.h5": "HDF5",
    "squeezenet_v1.0/compressed_SqueezeNet.net": "Deep Compression",
    "cat.jpg": "JPEG",
    "synset_1000.txt": "text file",
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_formats_are_refused_by_name(weights: Path, name: str) -> None:
    with pytest.raises(ModelError, match=REFUSED[name]) as caught:
        read_weights(weights / name)
    assert caught.value.code == "M011"


def test_a_state_dict_is_found_in_a_legacy_torch_file(weights: Path) -> None:
    foreign = read_weights(weights / "pytorch_legacy" / "resnet20-12fca82f.th")
    assert foreign.kind == "torch"
    assert foreign.notes == (
        "taken from `state_dict`; beside it: ['best_prec1']",
        "prefix `module.` taken off",
    )
    learned = [v for k, v in foreign.tensors.items() if "running" not in k]
    assert sum(v.numel() for v in learned) == 269_722  # the author's table says 0.27M
    assert foreign.tensors["layer3.2.conv2.weight"].shape == (64, 64, 3, 3)


def test_a_bare_legacy_state_dict_is_read(weights: Path) -> None:
    foreign = read_weights(weights / "pytorch_legacy" / "espnet_p_2_q_8_camvid.pth")
    assert len(foreign.tensors) == 189
    assert foreign.tensors["encoder.level1.conv.weight"].shape == (16, 3, 3, 3)


# -- LeNet ------------------------------------------------------------------------------------
def lenet() -> Network:
    net = Net()
    x = net.data(1)
    x = net.max_pool("pool1", net.conv("conv1", x, 20, kernel=5))
    x = net.max_pool("pool2", net.conv("conv2", x, 50, kernel=5))
    x = net.conv("ip1", x, 500, kernel=4, relu="relu1")
    net.top = net.conv("ip2", x, 10)
    net.add(Softmax("prob", (net.top,)))
    return Network(net).eval()


@pytest.mark.parametrize(
    "name", ["caffe_v1_legacy/lenet_iter_10000", "caffe_v2/lenet_iter_10000_v2"]
)
def test_lenet_reads_the_ten_digits(weights: Path, name: str) -> None:
    foreign = read_weights(weights / f"{name}.caffemodel")
    net = lenet()
    transplant = plan(foreign.tensors, net)
    assert {r.target for r in transplant.of("reshaped")} == {"ip1.weight", "ip2.weight"}
    assert len(transplant.of("copied")) == 6
    assert not transplant.of("dropped", "missing", "mismatched")
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
    assert (len(transplant.of("copied")), len(transplant.of("reshaped"))) == (115, 1)
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
        assert ((got - want).abs().max() / want.abs().max()).item() < 1e-4, name


def cat(weights: Path) -> Tensor:
    """cat.jpg squeezed to 224x224, BGR minus the mean; OpenCV's bilinear rule, no antialiasing."""
    rgb = np.asarray(Image.open(weights / "cat.jpg").convert("RGB"), np.float32)
    bgr = torch.from_numpy(np.ascontiguousarray(rgb[..., ::-1].transpose(2, 0, 1)))[None]
    small = F.interpolate(bgr, size=(224, 224), mode="bilinear", align_corners=False)
    return small - torch.tensor(MEAN)[:, None, None]


def test_googlenet_sees_the_cat(weights: Path, googlenet: Network) -> None:
    names = read_class_names(weights / "synset_1000.txt")
    assert len(names) == 1000
    with torch.inference_mode():
        p, index = googlenet(cat(weights)).squeeze().topk(5)
    assert [names[i].split(",")[0] for i in index.tolist()] == [
        "tiger cat",
        "tabby",
        "Egyptian cat",
        "lynx",
        "Persian cat",
    ]
    # As OpenCV's run of the same file gave; two JPEG decoders differ in the third digit.
    assert p.tolist() == pytest.approx([0.500, 0.228, 0.162, 0.028, 0.013], abs=0.002)


# -- SqueezeNet -------------------------------------------------------------------------------
def fire(net: Net, name: str, src: str, squeeze: int, expand: int) -> str:
    x = net.conv(f"{name}/squeeze1x1", src, squeeze, relu=f"{name}/relu_squeeze")
    one = net.conv(f"{name}/expand1x1", x, expand, relu=f"{name}/relu1")
    three = net.conv(f"{name}/expand3x3", x, expand, kernel=3, pad=1, relu=f"{name}/relu3")
    return net.add(Concat(f"{name}/concat", (one, three)))


def squeezenet() -> Network:
    """Version 1.0 (forresti/SqueezeNet); conv10 really is padded by 1 there."""
    net = Net()
    x = net.conv("conv1", net.data(3), 96, kernel=7, stride=2, relu="relu1")
    x = net.max_pool("pool1", x, 3, 2)
    plan = [(16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256)]
    for i, (squeeze, expand) in enumerate(plan, 2):
        x = fire(net, f"fire{i}", x, squeeze, expand)
        if i in (4, 8):
            x = net.max_pool(f"pool{i}", x, 3, 2)
    net.top = net.conv("conv10", x, 1000, pad=1, relu="relu_conv10")
    x = net.add(GlobalAvgPool("pool10", (net.top,)))
    net.add(Softmax("prob", (x,)))
    return Network(net).eval()


def test_squeezenet_repeats_what_caffe_computed(weights: Path) -> None:
    net = squeezenet()
    foreign = read_weights(weights / "squeezenet_v1.0/squeezenet_v1.0_v1.caffemodel")
    transplant = plan(foreign.tensors, net)
    assert len(transplant.of("copied")) == len(transplant.rows) == 52
    carry_out(transplant, foreign.tensors, net)
    x = activation(weights / "bvlc_googlenet/caffe_activations/1_data.mat")  # the same picture
    files = list((weights / "squeezenet_v1.0/caffe_activations").glob("*.mat"))
    named = {("relu_" if "conv10" in f.stem else "") + layer_of(f, net): f for f in files}
    with torch.inference_mode():
        maps = net.activations(x, named)
    for name, path in named.items():
        want = activation(path)
        assert ((maps[name] - want).abs().max() / want.abs().max()).item() < 1e-4, name
