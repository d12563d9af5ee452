"""Weights as people keep them: in containers, behind prefixes, converted from elsewhere."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from caffe_writer import layer, packed, shape
from safetensors.torch import save_file
from test_names import MODELS, vgg16
from torch import Tensor
from typer.testing import CliRunner

from pixelwise.cli.weights import app
from pixelwise.data.preprocess import Preprocess
from pixelwise.engine.build import build
from pixelwise.errors import ModelError, UsageError
from pixelwise.nets import catalog
from pixelwise.settings import read
from pixelwise.weights.checkpoint import (
    Calibration,
    Header,
    load_checkpoint,
    read_header,
    save_checkpoint,
)
from pixelwise.weights.importing import import_weights, preprocess_of, start_from
from pixelwise.weights.load import read_weights

# Published numbers, written out: Caffe's from its ImageNet mean over VOC, torchvision's from its
# documentation.
IMAGENET = {
    "order": "rgb",
    "scale": 1 / 255,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "values": "8-bit",
    "log": [],
    "given": 0,
    "components": [],
}
CAFFE = {
    "order": "bgr",
    "scale": 1.0,
    "mean": [104.00699, 116.66877, 122.67892],
    "std": [1.0] * 3,
    "values": "8-bit",
    "log": [],
    "given": 0,
    "components": [],
}


def named(trunk: str) -> dict[str, Tensor]:
    """One number under each of torchvision's names: a trunk is known by its names alone."""
    return {name: torch.full((1,), float(i)) for i, name in enumerate(MODELS[trunk][0])}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def pth(path: Path, value: Any) -> Path:
    torch.save(value, path)
    return path


def safetensors(path: Path, tensors: dict[str, Tensor]) -> Path:
    save_file(tensors, path)
    return path


WRITERS = pytest.mark.parametrize("write", [pth, safetensors])


# -- containers -------------------------------------------------------------------------------
def test_the_imagenet_examples_checkpoint_is_unwrapped(tmp_path: Path) -> None:
    state = prefixed("module.", named("resnet18"))
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}
    path = pth(
        tmp_path / "c.pth",
        {
            "epoch": 90,
            "arch": "resnet18",
            "state_dict": state,
            "best_acc1": torch.tensor(69.0),
            "optimizer": optimizer,
        },
    )
    foreign = read_weights(path)
    assert set(foreign.tensors) == set(MODELS["resnet18"][0])
    assert foreign.name == "torchvision's resnet18"
    assert foreign.notes == (
        "taken from `state_dict`; beside it: ['epoch', 'arch', 'best_acc1', 'optimizer']",
        "prefix `module.` taken off",
    )


@pytest.mark.parametrize(
    "keys",
    [
        ("model",),
        ("state_dict",),
        ("model_state_dict",),
        ("net",),
        ("module",),
        ("ema",),
        ("model", "state_dict"),
        ("weights", "backbone of mine"),  # no usual name: the trunk's names say it
    ],
)
def test_a_known_trunk_is_found_in_any_container(tmp_path: Path, keys: tuple[str, ...]) -> None:
    value: Any = named("resnet18")
    for key in reversed(keys):
        value = {key: value, "count": torch.tensor(3)}
    foreign = read_weights(pth(tmp_path / "a.pt", value))
    assert set(foreign.tensors) == set(MODELS["resnet18"][0])


def test_a_known_trunk_goes_before_a_usual_place(tmp_path: Path) -> None:
    value = {"model": {"a.weight": torch.ones(1)}, "trunk": named("resnet18")}
    assert "fc.weight" in read_weights(pth(tmp_path / "a.pt", value)).tensors


def test_unknown_nets_are_found_in_the_usual_place(tmp_path: Path) -> None:
    inner = {"a.weight": torch.ones(2), "a.bias": torch.ones(1)}
    value = {"best": torch.tensor(1.0), "model": inner, "model_ema": inner}
    foreign = read_weights(pth(tmp_path / "a.pt", value))
    assert set(foreign.tensors) == set(inner)
    assert foreign.notes == ("taken from `model`; beside it: ['best', 'model_ema']",)


def test_a_mapping_that_holds_itself_ends(tmp_path: Path) -> None:
    value: dict[str, Any] = {"a.weight": torch.ones(1)}
    for key in ("model", "net", "x", "y", "z"):
        value[key] = value
    assert set(read_weights(pth(tmp_path / "a.pt", value)).tensors) == {"a.weight"}


# -- prefixes ---------------------------------------------------------------------------------
PREFIXES = (
    "module.",
    "model.",
    "net.",
    "backbone.",
    "encoder.",
    "_orig_mod.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "model.backbone.",
    "my_own.thing.",
)


@WRITERS
@pytest.mark.parametrize("prefix", PREFIXES)
def test_a_prefix_is_found_by_the_names_that_it_leaves(
    tmp_path: Path, write: Callable[..., Path], prefix: str
) -> None:
    head = {"decode_head.conv.weight": torch.ones(2), "classifier.1.weight": torch.ones(3)}
    foreign = read_weights(write(tmp_path / "a", prefixed(prefix, named("mobilenetv2")) | head))
    assert set(foreign.tensors) == set(MODELS["mobilenetv2"][0]) | set(head)
    assert foreign.notes == (f"prefix `{prefix}` taken off",)
    # Under the prefix stands the classifier; what another head calls so is no part of the trunk.
    assert foreign.names["classifier.1.weight"] == "fc1000.weight"
    assert foreign.tensors["classifier.1.weight"].tolist() == [312]


def test_a_head_beside_a_trunk_without_classifier_is_not_translated(tmp_path: Path) -> None:
    trunk = {k: v for k, v in named("mobilenetv2").items() if not k.startswith("classifier")}
    head = {"classifier.1.weight": torch.ones(3)}
    foreign = read_weights(safetensors(tmp_path / "a", prefixed("backbone.", trunk) | head))
    assert "classifier.1.weight" in foreign.tensors
    assert "classifier.1.weight" not in foreign.names


@WRITERS
def test_our_own_names_are_found_behind_a_prefix(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    torch.manual_seed(0)
    theirs, ours = build("fcn8s-tiny", classes=3), build("fcn8s-tiny", classes=3)
    torch.nn.init.normal_(theirs.get_submodule("score_fr").weight)
    path = write(tmp_path / "a", prefixed("model.net.", dict(theirs.state_dict())))
    _, transplant = start_from(path, ours)
    assert not transplant.of("missing", "dropped", "mismatched")
    assert all(torch.equal(ours.state_dict()[k], v) for k, v in theirs.state_dict().items())


def test_of_two_copies_the_first_counts_and_the_other_is_told(tmp_path: Path) -> None:
    student, teacher = named("resnet18"), {k: v + 0.5 for k, v in named("resnet18").items()}
    value = prefixed("student.", student) | prefixed("teacher.", teacher)
    foreign = read_weights(pth(tmp_path / "a.pt", value))
    assert foreign.tensors["fc.bias"].item() == student["fc.bias"].item()
    assert foreign.notes == ("prefix `student.` taken off; so could be teacher.",)


def test_names_without_prefix_go_before_names_with_one(tmp_path: Path) -> None:
    value = prefixed("ema.", named("resnet18")) | {k: v + 0.5 for k, v in named("resnet18").items()}
    foreign = read_weights(pth(tmp_path / "a.pt", value))
    assert foreign.tensors["conv1.weight"].item() == 0.5
    assert foreign.notes == ()


def test_names_of_unknown_nets_lose_what_tools_put_before_all(tmp_path: Path) -> None:
    net = {"model.0.weight": torch.ones(1), "head.bias": torch.ones(1)}
    path = safetensors(tmp_path / "a.safetensors", prefixed("module._orig_mod.", net))
    foreign = read_weights(path)
    assert set(foreign.tensors) == set(net)
    assert foreign.notes == ("prefix `module._orig_mod.` taken off",)
    path = safetensors(tmp_path / "b.safetensors", {"module.a": torch.ones(1)} | net)
    assert set(read_weights(path).tensors) == {"module.a", *net}


# -- what weights were trained with -----------------------------------------------------------
# The first filter's blue, green and red: torchvision's VGG16 (as its documentation's users print
# it), and Caffe's blue. The rest of the layer is drawn at the same scale.
TORCHVISION_RED = [[-0.5537, 0.1427, 0.5290], [-0.5831, 0.3566, 0.7657], [-0.6902, -0.0480, 0.4841]]
CAFFE_BLUE = [
    [0.42947057, 0.373467, -0.061360113],
    [0.27476987, 0.038680777, -0.36722335],
    [-0.05746817, -0.26224968, -0.35009676],
]


def vgg(channel: int, plane: list[list[float]], scale: float = 1.0) -> dict[str, Tensor]:
    """A narrow VGG16 under torchvision's names, one plane of its first filter given."""
    drawn = torch.Generator().manual_seed(0)
    narrow = build("vgg16", width=1 / 16, classes=5).state_dict()
    theirs = dict(zip(vgg16(), sorted(narrow, key=_place), strict=True))
    tensors = {name: narrow[own].clone() for name, own in theirs.items()}
    first = torch.randn(tensors["features.0.weight"].shape, generator=drawn) * 0.3
    first[0, channel] = torch.tensor(plane)
    return tensors | {"features.0.weight": first * scale}


def _place(name: str) -> tuple[str, bool]:
    return name.rpartition(".")[0], name.endswith("bias")


def preprocessing(path: Path) -> dict[str, Any]:
    return preprocess_of(read_weights(path), "fcn8s-vgg16")


def test_torchvisions_vgg16_gets_torchvisions_preprocessing(tmp_path: Path) -> None:
    """Trap 9 of the fact sheet; in the catalogue the trunk's own preprocessing is Caffe's."""
    path = pth(tmp_path / "vgg16-397923af.pth", vgg(0, TORCHVISION_RED))
    assert preprocessing(path) == IMAGENET
    assert read_weights(path).notes == ()


def test_caffes_vgg16_gets_caffes_preprocessing(tmp_path: Path) -> None:
    blob = shape(1, 3, 3, 3) + packed(5, [0.1] * 27)
    path = tmp_path / "vgg.caffemodel"
    path.write_bytes(layer("conv1_1", "Convolution", blob))
    assert preprocessing(path) == CAFFE


@pytest.mark.parametrize("change", [lambda t: t, Tensor.half, lambda t: t + 0.01])
def test_caffes_numbers_under_torchvisions_names_are_known(
    tmp_path: Path, change: Callable[[Tensor], Tensor]
) -> None:
    tensors = {k: change(v) for k, v in vgg(0, CAFFE_BLUE).items()}
    path = safetensors(tmp_path / "converted.safetensors", prefixed("model.", tensors))
    assert preprocessing(path) == CAFFE
    assert "features.0 has the numbers of Caffe's VGG16, as BGR" in read_weights(path).notes[1]


def test_with_red_and_blue_exchanged_they_are_shown_as_rgb(tmp_path: Path) -> None:
    path = pth(tmp_path / "features.pth", vgg(2, CAFFE_BLUE))
    mean = [122.67892, 116.66877, 104.00699]
    assert preprocessing(path) == CAFFE | {"order": "rgb", "mean": mean}


def test_a_first_layer_scaled_for_bytes_is_told_by_its_size(tmp_path: Path) -> None:
    path = pth(tmp_path / "bytes.pth", vgg(0, TORCHVISION_RED, scale=1 / 58))
    assert preprocessing(path) == CAFFE
    assert "as small as for 0..255" in read_weights(path).notes[0]


@pytest.fixture
def narrow_vgg16(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = catalog.entry("vgg16")
    narrow = dataclasses.replace(entry, make=partial(entry.make, width=1 / 16))
    monkeypatch.setitem(catalog.NETS, "vgg16", narrow)


@pytest.mark.usefixtures("narrow_vgg16")
@pytest.mark.parametrize(
    ("plane", "option", "pixel"),
    [
        (TORCHVISION_RED, (), ((10 / 255 - 0.485) / 0.229, (30 / 255 - 0.406) / 0.225)),
        (CAFFE_BLUE, (), (30 - 104.00699, 10 - 122.67892)),
        (TORCHVISION_RED, ("--preprocess", "caffe"), (30 - 104.00699, 10 - 122.67892)),
        (
            CAFFE_BLUE,
            ("--preprocess", "imagenet"),
            ((10 / 255 - 0.485) / 0.229, (30 / 255 - 0.406) / 0.225),
        ),
        (CAFFE_BLUE, ("--preprocess", "plain"), (10, 30)),
    ],
)
def test_import_says_how_a_picture_reaches_the_first_layer(
    tmp_path: Path, plane: list[list[float]], option: tuple[str, ...], pixel: tuple[float, float]
) -> None:
    path, out = pth(tmp_path / "vgg.pth", vgg(0, plane)), tmp_path / "out.safetensors"
    arguments = ["import", str(path), "-o", str(out), "--net", "vgg16", "--json", *option]
    ran = CliRunner().invoke(app, arguments)
    assert ran.exit_code == 0, ran.exception
    shown = read(Preprocess, load_checkpoint(out)[0].preprocess)
    red_to_blue = shown(np.array([[[10, 20, 30]]], np.uint8))[:, 0, 0]
    assert [red_to_blue[0], red_to_blue[2]] == pytest.approx(pixel, abs=1e-4)
    assert json.loads(ran.stdout)["options"] == {"classes": 5}


def test_a_preprocessing_of_another_name_is_refused(tmp_path: Path) -> None:
    path = pth(tmp_path / "vgg.pth", {"a": torch.ones(1)})
    with pytest.raises(UsageError, match="no preprocessing is called `cafe`; did you mean `caffe`"):
        import_weights(path, tmp_path / "out.safetensors", preprocess="cafe")
    assert not (tmp_path / "out.safetensors").exists()


def test_the_conversion_that_counts_dropout_first_fills_fc6_and_fc7(tmp_path: Path) -> None:
    tensors = vgg(0, CAFFE_BLUE)
    other = {"classifier.0": "classifier.1", "classifier.3": "classifier.4"}
    moved = {
        f"{other.get(module, module)}.{parameter}": tensor
        for name, tensor in tensors.items()
        for module, _, parameter in [name.rpartition(".")]
    }
    _, transplant = start_from(
        pth(tmp_path / "vgg16-00b39a1b.pth", moved), build("vgg16", width=1 / 16, classes=5)
    )
    assert not transplant.of("missing", "dropped", "mismatched")


def test_a_file_without_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no tensors in it"):
        read_weights(pth(tmp_path / "a.pt", {"epoch": 3, "model": {}}))


def test_weights_of_eight_bits_are_read_only_by_who_asks_for_them(tmp_path: Path) -> None:
    header = Header("x", quantised=Calibration({"data": (0.5, 3)}, ("conv1",)))
    tensors = {"w": torch.ones(2)}
    path = save_checkpoint(tmp_path / "low.safetensors", tensors, header)
    assert read_header(path).version == 3
    for reader in (read_weights, load_checkpoint):
        with pytest.raises(ModelError, match="is quantised: it holds weights of eight") as caught:
            reader(path)
        assert caught.value.code == "M040"
        assert reader(path, quantised=True)
    kept = read_weights(path, quantised=True).header
    assert kept is not None
    assert kept.quantised == header.quantised
    plain = save_checkpoint(tmp_path / "plain.safetensors", tensors, Header("x"))
    assert read_header(plain).version == 2  # which earlier versions read
