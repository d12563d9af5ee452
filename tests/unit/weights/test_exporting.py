from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pixelwise.cli.app import app
from pixelwise.engine.network import Network
from pixelwise.errors import ModelError, ResourceError, UsageError
from pixelwise.nets import layers, pooling
from pixelwise.nets.catalog import spec
from pixelwise.nets.net import Net
from pixelwise.nets.released import RELEASED
from pixelwise.weights import exporting
from pixelwise.weights.caffe import CaffeLayer, read_caffemodel
from pixelwise.weights.caffe_files import caffemodel, prototxt
from pixelwise.weights.caffe_layers import caffe_layers, misfits
from pixelwise.weights.checkpoint import HeadClasses, Header, save_checkpoint
from pixelwise.weights.exporting import export_weights
from pixelwise.weights.load import read_weights
from random_weights import random_net, save_random
from small_model import save_model

NARROW = 1 / 16


def exported(tmp_path: Path, name: str, **options: Any) -> exporting.Exported:
    save_random(tmp_path / "net.safetensors", name, classes=3, width=NARROW, **options)
    return export_weights(tmp_path / "net.safetensors", tmp_path / "out.caffemodel")


def layer_text(text: str, name: str) -> list[str]:
    """The words of one layer in a prototxt."""
    (found,) = re.findall(rf'^layer {{\n  name: "{name}"\n(.*?)^}}', text, re.DOTALL | re.MULTILINE)
    return found.split()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("fcn8s-vgg16-atonce", {}),
        ("fcn16s-alexnet", {"learned": "all"}),
        ("googlenet", {}),
        ("resnet18", {}),
    ],
)
def test_what_is_read_back_is_what_was_written_to_the_bit(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    net = save_random(tmp_path / "net.safetensors", name, classes=3, width=NARROW, **options)
    export_weights(tmp_path / "net.safetensors", tmp_path / "out.caffemodel")
    back = read_weights(tmp_path / "out.caffemodel").tensors
    counters = {k for k in net.state_dict() if "num_batches" in k}  # torch's alone
    for key in net.state_dict().keys() - counters:
        assert torch.equal(back[key], net.state_dict()[key]), key
    ups = {n for n, r in net.net.layers.items() if r.upsamples}
    assert {k.rpartition(".")[0] for k in back.keys() - net.state_dict().keys()} <= ups


AS_RELEASED = {  # of voc-fcn8s-atonce/train.prototxt, without the multipliers of rates
    "data": 'type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 500 dim: 500 } }',
    "conv1_1": 'type: "Convolution" bottom: "data" top: "conv1_1" '
    "convolution_param { num_output: 4 pad: 100 kernel_size: 3 }",
    # In place, as ReLU and dropout are in every released file.
    "relu1_1": 'type: "ReLU" bottom: "conv1_1" top: "conv1_1"',
    "pool1": 'type: "Pooling" bottom: "conv1_2" top: "pool1" '
    "pooling_param { pool: MAX kernel_size: 2 stride: 2 }",
    "drop6": 'type: "Dropout" bottom: "fc6" top: "fc6" dropout_param { dropout_ratio: 0.5 }',
    "upscore2": 'type: "Deconvolution" bottom: "score_fr" top: "upscore2" param { lr_mult: 0 } '
    "convolution_param { num_output: 3 bias_term: false kernel_size: 4 stride: 2 }",
    "scale_pool4": 'type: "Scale" bottom: "pool4" top: "scale_pool4" param { lr_mult: 0 }',
    "score_pool4c": 'type: "Crop" bottom: "score_pool4" bottom: "upscore2" top: "score_pool4c" '
    "crop_param { axis: 2 offset: 5 }",
    "fuse_pool4": 'type: "Eltwise" bottom: "upscore2" bottom: "score_pool4c" top: "fuse_pool4" '
    "eltwise_param { operation: SUM }",
    "score": 'type: "Crop" bottom: "upscore8" bottom: "data" top: "score" '
    "crop_param { axis: 2 offset: 31 }",
}


def test_layers_are_written_as_the_release_writes_them(tmp_path: Path) -> None:
    text = exported(tmp_path, "fcn8s-vgg16-atonce").prototxt.read_text("utf-8")
    assert {name: " ".join(layer_text(text, name)) for name in AS_RELEASED} == AS_RELEASED


def test_a_map_that_others_read_is_not_overwritten_in_place() -> None:
    net = random_net("resnet18", width=NARROW, classes=2)
    written = {r.name: r for r in caffe_layers(net.net, net.state_dict(), 64, 64)}
    # The pool's map is read by the block and by its shortcut; the sum's by its ReLU alone.
    assert written["res2a_relu"].tops == ("res2a",)
    assert written["res2b"].bottoms == ("res2a", "res2b_branch2b")
    assert written["pool1"].settings["pooling_param"]["round_mode"] == "FLOOR"
    assert written["bn_conv1/scale"].bottoms == written["bn_conv1"].tops == ("conv1",)
    assert [b.shape for b in written["bn_conv1"].blobs] == [(4,), (4,), (1,)]


def test_upsampling_is_dense_with_its_kernel_on_the_diagonal(tmp_path: Path) -> None:
    out = exported(tmp_path, "fcn32s-vgg16")
    (up,) = (r for r in read_caffemodel(out.caffemodel).layers if r.name == "upscore")
    (blob,) = up.blobs
    assert blob.shape == (3, 3, 64, 64)
    assert blob[0, 1].max() == blob[2, 0].max() == 0
    # fact sheet 2.3: the sum is f * f = 1024, a corner 1/4096
    assert blob[1, 1].sum() == pytest.approx(1024)
    assert blob[1, 1, 0, 0] == 1 / 4096


def test_names_and_comments_cannot_break_out_of_the_text() -> None:
    text = prototxt('a"b\n', (), ["class\nlayer { }"])
    assert text.splitlines() == ["# class\\nlayer { }", 'name: "a\\"b\\n"']


def test_long_blobs_have_long_lengths() -> None:
    net = random_net("fcn32s-vgg16", width=NARROW, classes=3)
    written = list(caffe_layers(net.net, net.state_dict(), 64, 64))
    data = b"".join(map(bytes, caffemodel("x", written)))
    assert len(data) > 4 * sum(b.size for r in written for b in r.blobs)
    # NetParameter.name, then the first layer: field 100, its name in field 1.
    assert data[:3] == b"\x0a\x01x"
    assert data[3:5] == b"\xa2\x06"
    assert data[6:12] == b"\x0a\x04data"


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("fcn8s-vgg16-tight", "upscore2: Caffe's deconvolution fades", "--net fcn8s-vgg16 "),
        ("fcn8s-tiny", "upscore2: Caffe's deconvolution fades", "without -tight"),
        ("mobilenetv2", "conv1/relu: Caffe has no ReLU that is cut at 6", "without -tight"),
    ],
)
def test_what_caffe_cannot_do_is_refused_by_name(
    tmp_path: Path, name: str, said: str, hint: str
) -> None:
    with pytest.raises(ModelError, match=re.escape(f"{name} is no net for Caffe: ")) as caught:
        exported(tmp_path, name)
    assert caught.value.code == "M040"
    assert said in str(caught.value)
    assert hint in caught.value.hint
    assert {p.name for p in tmp_path.iterdir()} == {"net.safetensors"}


def test_values_other_than_caffes_own_are_written() -> None:
    net = Net()
    x = net.add(layers.Conv("c", (net.data(2),), 4, 3, 2, 1, 2, 3, False))
    x = net.add(layers.Lrn("n", (x,), 3, 0.5, 0.6, 2.0))
    net.add(pooling.AvgPool("p", (x,), 3, 2))
    written = {r.name: r for r in caffe_layers(net, Network(net).state_dict(), 9, 9)}
    text = prototxt("own", written.values())
    conv = 'type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4'
    conv += " bias_term: false pad: 1 kernel_size: 3 stride: 2 group: 2 dilation: 3 }"
    assert " ".join(layer_text(text, "c")) == conv
    norm = "lrn_param { local_size: 3 alpha: 0.5 beta: 0.6 k: 2.0 }"
    assert " ".join(layer_text(text, "n")).endswith(norm)
    pool = "pooling_param { pool: AVE kernel_size: 3 stride: 2 }"
    assert " ".join(layer_text(text, "p")).endswith(pool)


def test_layers_that_caffe_has_not_are_all_named() -> None:
    net = Net()
    x = net.conv("same", net.data(3), 4, kernel=3, stride=2, pad=(0, 1))
    x = net.max_pool("where", x, indices=True)
    net.unpool("back", x, "where")
    assert list(misfits(net)) == [
        "same: Caffe pads alike before and after, not (0, 1)",
        "where: Caffe has no unpooling",
        "back: Caffe has no unpooling",
    ]
    net = Net()
    x = net.add(layers.Conv("wide", (net.data(3),), 4, 3, dilation=2, pad=2))
    x = net.add(layers.Relu("cut", (x,), ceiling=6.0))
    x = net.add(layers.Relu("relu", (x,)))
    x = net.add(pooling.MaxPool("apart", (x,), 3, 2, dilation=2))
    x = net.add(pooling.MaxPool("pool", (x,), 3, 2))
    assert list(misfits(net)) == [
        "cut: Caffe has no ReLU that is cut at 6",
        "apart: Caffe has no dilated pooling",
    ]


def test_what_is_longer_than_protobuf_allows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "MAX_FILE", 1000)
    with pytest.raises(ModelError, match=r"a \.caffemodel has at most 1,000"):
        exported(tmp_path, "fcn32s-alexnet")
    assert {p.name for p in tmp_path.iterdir()} == {"net.safetensors"}
    blobs = [np.zeros((2, 3, 5), np.float32), np.zeros(2, np.float32)]
    layers = [CaffeLayer("a", "X", tuple(blobs)), CaffeLayer("b", "X", (blobs[1],))]
    monkeypatch.setattr(exporting, "MAX_FILE", 4 * (30 + 2 + 2))
    exporting._refuse_too_large(layers, tmp_path)
    monkeypatch.setattr(exporting, "MAX_FILE", 4 * (30 + 2 + 2) - 1)
    with pytest.raises(ModelError, match=r"136 bytes of weights; a \.caffemodel has at most 135"):
        exporting._refuse_too_large(layers, tmp_path)


def test_no_net_of_the_papers_geometry_is_refused() -> None:
    plain = ("alexnet", "vgg16", "googlenet")
    names = [f"fcn{s}s-{t}" for s in (32, 16, 8, 4) for t in plain] + [*RELEASED, *plain]
    assert not [p for name in names for p in misfits(spec(name))]


def test_both_files_are_there_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(name: str, layers: Any) -> Any:
        yield b"\x0a"
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(exporting, "caffemodel", no_space)
    with pytest.raises(ResourceError) as caught:
        exported(tmp_path, "fcn32s-alexnet")
    assert caught.value.code == "R001"
    assert {p.name for p in tmp_path.iterdir()} == {"net.safetensors"}


def test_outputs_that_exist_are_kept_unless_forced(tmp_path: Path) -> None:
    done = exported(tmp_path, "fcn32s-alexnet")
    done.caffemodel.unlink()
    with pytest.raises(UsageError, match=r"out\.prototxt exists already") as caught:
        export_weights(tmp_path / "net.safetensors", tmp_path / "out.caffemodel")
    assert caught.value.code == "U003"
    again = export_weights(tmp_path / "net.safetensors", done.caffemodel, size=(97, 33), force=True)
    assert "dim: 97\n      dim: 33\n" in again.prototxt.read_text("utf-8")


def test_the_file_that_is_read_is_never_replaced(tmp_path: Path) -> None:
    save_random(tmp_path / "a.safetensors", "fcn32s-alexnet", classes=3, width=NARROW)
    os.link(tmp_path / "a.safetensors", tmp_path / "a.caffemodel")
    with pytest.raises(UsageError, match="exists already"):
        export_weights(tmp_path / "a.safetensors", tmp_path / "a.caffemodel", force=True)


def test_an_odd_ending_or_size_is_refused(tmp_path: Path) -> None:
    save_random(tmp_path / "a.safetensors", "googlenet", classes=3, width=NARROW)
    with pytest.raises(UsageError, match=r"ends in \.caffemodel"):
        export_weights(tmp_path / "a.safetensors", tmp_path / "a.caffe")
    with pytest.raises(UsageError, match="has no output for an input of 9 px"):
        export_weights(tmp_path / "a.safetensors", tmp_path / "a.caffemodel", size=(224, 9))


def test_a_foreign_file_is_to_be_imported_first(tmp_path: Path) -> None:
    done = exported(tmp_path, "fcn32s-alexnet")
    with pytest.raises(ModelError, match="looks like a caffe file"):
        export_weights(done.caffemodel, tmp_path / "again.caffemodel")
    loose = {"a.weight": torch.ones(1)}
    save_checkpoint(tmp_path / "loose.safetensors", loose, Header(""))
    with pytest.raises(ModelError, match="loose blobs"):
        export_weights(tmp_path / "loose.safetensors", tmp_path / "again.caffemodel")


def test_the_classes_of_every_head_stand_in_the_prototxt(tmp_path: Path) -> None:
    two = {"labels": ("wall", "door"), "geometry": ("near", "far", "sky")}
    options = {"heads": {h: len(c) for h, c in two.items()}, "width": NARROW}
    heads = {head: HeadClasses(classes) for head, classes in two.items()}
    header = Header("fcn16s-vgg16", options, two["labels"], heads=heads)
    net = random_net("fcn16s-vgg16", **options)
    path = save_checkpoint(tmp_path / "m.safetensors", net.state_dict(), header)
    done = export_weights(path, tmp_path / "m.caffemodel")
    assert done.outputs == {"labels": "score_labels", "geometry": "score_geometry"}
    lines = done.prototxt.read_text("utf-8").splitlines()
    assert lines[3:5] == [
        "# classes of labels: wall, door",
        "# classes of geometry: near, far, sky",
    ]


def test_the_command_says_what_it_wrote(tmp_path: Path) -> None:
    options = {"width": NARROW, "classes": 3}
    model = save_model(tmp_path / "m.safetensors", net="fcn8s-alexnet", options=options)
    call = ["weights", "export", str(model), "-o", str(tmp_path / "m.caffemodel")]
    done = CliRunner().invoke(app, [*call, "--json", "--size", "375x500"])
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["inputs"] == {"data": [1, 3, 375, 500]}
    assert said["outputs"] == {"score": "score"}
    assert (tmp_path / "m.caffemodel").stat().st_size > 4 * said["parameters"]
    text = (tmp_path / "m.prototxt").read_text("utf-8").splitlines()
    assert text[0].startswith("# fcn8s-alexnet, written by pixelwise")
    assert '"mean": [128.0, 128.0, 128.0]' in text[1]
    assert text[3] == "# classes of score: wall, tür, door, floor"
    table = CliRunner().invoke(app, [*call, "--force"])
    assert table.exit_code == 0
    assert "1x3x500x500" in table.stdout
