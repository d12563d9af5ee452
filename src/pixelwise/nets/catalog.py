"""NETS: the one place where a name becomes a net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsIndex

from pixelwise.errors import UsageError, unknown_name
from pixelwise.nets.heads.fcn import fcn
from pixelwise.nets.layers import Softmax
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.alexnet import alexnet
from pixelwise.nets.trunks.googlenet import googlenet
from pixelwise.nets.trunks.mobilenet import mobilenetv2
from pixelwise.nets.trunks.resnet import resnet18, resnet50
from pixelwise.nets.trunks.tiny import tiny
from pixelwise.nets.trunks.trunk import Geometry, TrunkFunction
from pixelwise.nets.trunks.vgg16 import vgg16

WIDEST = 8
"""Factor on a trunk's channels: a mistyped one is refused before it takes all memory."""


@dataclass(frozen=True)
class Entry:
    """A net of the catalogue."""

    make: Callable[..., Net]
    """(classes, channels, width, ...) -> Net, all by keyword."""
    about: str
    """One line for the listing."""
    preprocess: str
    """Name of the preprocessing that its published weights expect: caffe, imagenet or plain."""
    task: str = "segmentation"


@dataclass(frozen=True)
class Family:
    """A trunk and the nets that are built on it."""

    trunk: TrunkFunction
    geometries: tuple[Geometry, ...]
    preprocess: str
    about: str
    classifier: str = ""
    """The layer that gives the published classifier's 1000 values, where there is one."""


FAMILIES: dict[str, Family] = {
    "alexnet": Family(alexnet, ("caffe", "tight"), "caffe", "AlexNet (CaffeNet), 2012", "fc8"),
    "vgg16": Family(vgg16, ("caffe", "tight"), "caffe", "VGG16, the paper's best trunk", "fc8"),
    "googlenet": Family(
        googlenet, ("caffe", "tight"), "caffe", "GoogLeNet (BVLC)", "loss3/classifier"
    ),
    "resnet18": Family(resnet18, ("tight",), "imagenet", "ResNet-18, batch norm", "fc1000"),
    "resnet50": Family(resnet50, ("tight",), "imagenet", "ResNet-50, batch norm", "fc1000"),
    "mobilenetv2": Family(mobilenetv2, ("tight",), "imagenet", "MobileNetV2, small", "fc1000"),
    "tiny": Family(tiny, ("tight",), "plain", "narrow, batch norm, learns from scratch"),
}


def classifier(
    trunk: TrunkFunction, layer: str, *, classes: int = 1000, channels: int = 3, width: float = 1.0
) -> Net:
    """The published classifier of a trunk: its fully connected layers are convolutions."""
    net = Net()
    net.data(channels)
    net.top = net.conv(layer, trunk(net, width, "published").top, classes)
    net.add(Softmax("prob", (net.top,)))
    return net


def _catalogue() -> dict[str, Entry]:
    """fcn{32,16,8,4}s on every trunk, in every geometry that the trunk has; then classifiers."""
    entries = {}
    for name, family in FAMILIES.items():
        for geometry in family.geometries:
            suffix = "-tight" if geometry == "tight" and len(family.geometries) > 1 else ""
            for stride in (32, 16, 8, 4):
                make = partial(fcn, family.trunk, stride, geometry=geometry)
                about = f"stride {stride} on {family.about}" + (suffix and ", no wasted border")
                entries[f"fcn{stride}s-{name}{suffix}"] = Entry(make, about, family.preprocess)
    at_once = partial(fcn, vgg16, 8, at_once=True)
    about = "stride 8, all streams trained together"
    entries["fcn8s-vgg16-atonce"] = Entry(at_once, about, "caffe")
    for name, family in FAMILIES.items():
        if family.classifier:
            make = partial(classifier, family.trunk, family.classifier)
            about = f"convolutionalised classifier: {family.about.partition(',')[0]}"
            entries[name] = Entry(make, about, family.preprocess, "classification")
    return entries


NETS: dict[str, Entry] = _catalogue()


def entry(name: str) -> Entry:
    """The entry called ``name``; a UsageError lists similar names."""
    if name not in NETS:
        raise unknown_name("net", name, tuple(NETS), "`pixelwise nets` lists the catalogue")
    return NETS[name]


def spec(name: str, **options: Any) -> Net:
    """The net ``name`` as data.

    The options are ``classes``, ``channels``, ``width``, and of segmentation nets ``learned``.

    Raises:
        UsageError: unknown name, unknown option, or a value out of range.
    """
    named = entry(name)
    known = ["classes", "channels", "width"]
    if named.task == "segmentation":
        known.append("learned")
    for option, value in options.items():
        if option not in known:
            problem, hint = f"{name} has no option {option}", f"options: {', '.join(known)}"
        elif option in ("classes", "channels") and not _is_count(value):
            problem = f"{option} is {value!r}, expected a whole number of at least 1"
            hint = f"{option}: 21, for instance"
        elif option == "width" and not 0 < value <= WIDEST:
            problem = f"width is {value}, expected a factor in (0, {WIDEST}]"
            hint = "1 is the net as published"
        else:
            continue
        raise UsageError("U002", problem, hint)
    return named.make(**options)


def _is_count(value: object) -> bool:
    """A whole number of at least 1, Python's or numpy's."""
    return isinstance(value, SupportsIndex) and type(value) is not bool and int(value) >= 1
