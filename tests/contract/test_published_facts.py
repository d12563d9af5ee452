"""Class lists, colours and preprocessing are those that were published, number by number.

The lists stand here once more, as their authors wrote them, so that two names exchanged in the
source are noticed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

import pixelwise as pw
from make_data import camvid_set, canonical_set
from small_runs import train
from witness import witness

# PASCAL VOC development kit: VOCinit.m has the names, VOClabelcolormap.m makes the colours.
VOC = {
    "background": (0, 0, 0),
    "aeroplane": (128, 0, 0),
    "bicycle": (0, 128, 0),
    "bird": (128, 128, 0),
    "boat": (0, 0, 128),
    "bottle": (128, 0, 128),
    "bus": (0, 128, 128),
    "car": (128, 128, 128),
    "cat": (64, 0, 0),
    "chair": (192, 0, 0),
    "cow": (64, 128, 0),
    "diningtable": (192, 128, 0),
    "dog": (64, 0, 128),
    "horse": (192, 0, 128),
    "motorbike": (64, 128, 128),
    "person": (192, 128, 128),
    "pottedplant": (0, 64, 0),
    "sheep": (128, 64, 0),
    "sofa": (0, 192, 0),
    "train": (128, 192, 0),
    "tvmonitor": (0, 64, 128),
}

# SegNet's tutorial, Scripts/test_segmentation_camvid.py: ``label_colours`` in its order, without
# Road_marking (which its labels do not have) and Unlabelled (11, void). SignSymbol is `sign` here.
CAMVID = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}


def test_camvid_has_segnets_classes_in_segnets_order_and_colours(tmp_path: Path) -> None:
    dataset = pw.open_dataset(camvid_set(tmp_path / "camvid"))
    assert dict(zip(dataset.classes, dataset.palette, strict=True)) == CAMVID
    assert dataset.classes == tuple(CAMVID)


def test_voc_has_its_classes_in_its_order_and_colours(tmp_path: Path) -> None:
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (tmp_path / folder).mkdir()
        shape = (8, 8, 3) if suffix == "jpg" else (8, 8)
        for i in range(4):
            name = f"2007_00000{i}.{suffix}"  # the names say that it is PASCAL's
            Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / folder / name)
    dataset = pw.open_dataset(tmp_path)
    assert dict(zip(dataset.classes, dataset.palette, strict=True)) == VOC
    assert dataset.classes == tuple(VOC)


# -- preprocessing --------------------------------------------------------------------------------
PIXEL = (160, 100, 90)
# caffe: fcn's voc_layers.py, BGR less the mean (104.00699, 116.66877, 122.67892).
CAFFE = (90 - 104.00699, 100 - 116.66877, 160 - 122.67892)
# torchvision: Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]) after /255.
TORCHVISION = (
    (160 / 255 - 0.485) / 0.229,
    (100 / 255 - 0.456) / 0.224,
    (90 / 255 - 0.406) / 0.225,
)
# torchvision.models.vgg16: where the convolutions stand among ``features``.
VGG16_CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    truth = np.zeros((32, 32), np.uint8)
    truth[16:] = 1
    image = np.full((32, 32, 3), PIXEL, np.uint8)
    other = image.copy()
    other[31, 31] = 0  # the same picture in two splits would be refused
    classes = {"above": (255, 0, 0), "below": (0, 0, 255)}
    root = tmp_path_factory.mktemp("facts") / "set"
    return canonical_set(root, {"train": [(image, truth)], "val": [(other, truth)]}, classes)


def torchvision_vgg16(path: Path) -> Path:
    """A narrow VGG16 under torchvision's names, as it would be saved."""
    net = pw.build("vgg16", classes=10, width=1 / 32)
    layers = [n.removesuffix(".weight") for n in net.state_dict() if n.endswith(".weight")]
    theirs = [f"features.{i}" for i in VGG16_CONVOLUTIONS]
    theirs += [f"classifier.{i}" for i in (0, 3, 6)]
    tensors = {}
    for ours, other in zip(layers, theirs, strict=True):
        weight, bias = (net.state_dict()[f"{ours}.{part}"] for part in ("weight", "bias"))
        flat = weight.flatten(1) if other.startswith("classifier") else weight
        tensors |= {f"{other}.weight": flat.clone(), f"{other}.bias": bias.clone()}
    save_file(tensors, path)
    return path


def shown(data: Path, run: Path, settings: str) -> tuple[torch.Tensor, dict]:
    """The first picture as the net gets it in training, and the header that is kept."""
    with witness() as seen:
        assert train(data, run, f"iterations=1 threads=1 batch=1 {settings}") == 0
    with safe_open(run / "weights/best.safetensors", "pt") as file:
        header = json.loads(file.metadata()["pixelwise"])
    evaluated = [f.x for f in seen.forwards if not f.training]
    assert evaluated
    for x in evaluated:  # validation and evaluation see what training saw
        torch.testing.assert_close(x[0, :, 0, 0], seen.batches[0][0, :, 0, 0])
    return seen.batches[0][0, :, 0, 0], header["preprocess"]


@pytest.mark.parametrize(
    ("net", "published", "order", "expected"),
    [
        ("vgg16-tight", False, "bgr", CAFFE),
        ("vgg16-tight", True, "rgb", TORCHVISION),
        ("resnet18", False, "rgb", TORCHVISION),
    ],
)
def test_a_net_is_shown_what_its_weights_were_trained_on(
    data: Path,
    tmp_path: Path,
    net: str,
    published: bool,
    order: str,
    expected: tuple[float, ...],
) -> None:
    """Also VGG16 from torchvision, which is not Caffe's (fact sheet, trap 9)."""
    settings = f"net=fcn8s-{net} width=0.03125 frozen_bn=true"
    if published:
        settings += f" weights={torchvision_vgg16(tmp_path / 'vgg16.safetensors')}"
    pixel, preprocess = shown(data, tmp_path / "run", settings)
    assert pixel.tolist() == pytest.approx(expected, rel=1e-5)
    assert preprocess["order"] == order
    assert preprocess["scale"] == pytest.approx(1 if order == "bgr" else 1 / 255)


def test_a_trunk_without_published_weights_is_shown_its_own_datas_deviations(
    tmp_path: Path,
) -> None:
    """Half of the pixels 10 and half 30 in red: mean 20, deviation 10."""
    truth = np.zeros((32, 32), np.uint8)
    truth[16:] = 1
    image = np.zeros((32, 32, 3), np.uint8)
    image[..., 0], image[..., 2] = np.where(truth == 0, 10, 30), np.where(truth == 0, 100, 60)
    classes = {"above": (255, 0, 0), "below": (0, 0, 255)}
    data = canonical_set(tmp_path / "set", {"train": [(image, truth)]}, classes)
    with witness() as seen:
        settings = "iterations=1 threads=1 batch=1 width=0.0625 val_split= augment.mirror=false"
        assert train(data, tmp_path / "run", f"{settings} frozen_bn=true") == 0
    batch = seen.batches[0][0]
    assert batch[:, 0, 0].tolist() == pytest.approx([-1, 0, 1], abs=1e-5)
    assert batch[:, -1, 0].tolist() == pytest.approx([1, 0, -1], abs=1e-5)
