"""NETS: the one place where a name becomes a net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, SupportsIndex

from pixelwise.errors import UsageError, unknown_name
from pixelwise.nets.heads.fcn import fcn
from pixelwise.nets.net import Net
from pixelwise.nets.trunks import googlenet, mobilenet, resnet
from pixelwise.nets.trunks.alexnet import alexnet, alexnet_classifier
from pixelwise.nets.trunks.tiny import tiny
from pixelwise.nets.trunks.trunk import Geometry, TrunkFunction
from pixelwise.nets.trunks.vgg16 import vgg16, vgg16_classifier

WIDEST = 8
"""Factor on a trunk's channels."""


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
    """A trunk and the heads that are built on it."""

    trunk: TrunkFunction
    geometries: tuple[Geometry, ...]
    preprocess: str
    about: str


FAMILIES: dict[str, Family] = {
    "alexnet": Family(alexnet, ("caffe", "tight"), "caffe", "AlexNet (CaffeNet), 2012"),
    "vgg16": Family(vgg16, ("caffe", "tight"), "caffe", "VGG16, the paper's best trunk"),
    "googlenet": Family(googlenet.googlenet, ("caffe", "tight"), "caffe", "GoogLeNet (BVLC)"),
    "resnet18": Family(resnet.resnet18, ("tight",), "imagenet", "ResNet-18, batch norm"),
    "resnet50": Family(resnet.resnet50, ("tight",), "imagenet", "ResNet-50, batch norm"),
    "mobilenetv2": Family(mobilenet.mobilenetv2, ("tight",), "imagenet", "MobileNetV2, small"),
    "tiny": Family(tiny, ("tight",), "plain", "narrow, batch norm, learns from scratch"),
}
STRIDES = (32, 16, 8, 4)


def _segmenters() -> dict[str, Entry]:
    """fcn{32,16,8,4}s on every trunk, in every geometry that the trunk has."""
    entries = {}
    for trunk, family in FAMILIES.items():
        for geometry in family.geometries:
            suffix = "-tight" if geometry == "tight" and len(family.geometries) > 1 else ""
            for stride in STRIDES:
                make = partial(fcn, family.trunk, stride, geometry=geometry)
                about = f"stride {stride} on {family.about}" + (suffix and ", no wasted border")
                entries[f"fcn{stride}s-{trunk}{suffix}"] = Entry(make, about, family.preprocess)
    return entries


def _classifier(write: Callable[[Net, int, float], str], about: str, preprocess: str) -> Entry:
    def make(*, classes: int = 1000, channels: int = 3, width: float = 1.0) -> Net:
        net = Net()
        net.data(channels)
        write(net, classes, width)
        return net

    return Entry(make, f"convolutionalised classifier: {about}", preprocess, "classification")


NETS: dict[str, Entry] = _segmenters() | {
    "fcn8s-vgg16-atonce": Entry(
        partial(fcn, vgg16, 8, at_once=True), "stride 8, all streams trained together", "caffe"
    ),
    "alexnet": _classifier(alexnet_classifier, "AlexNet (CaffeNet)", "caffe"),
    "vgg16": _classifier(vgg16_classifier, "VGG16", "caffe"),
    "googlenet": _classifier(googlenet.googlenet_classifier, "GoogLeNet (BVLC)", "caffe"),
    "resnet18": _classifier(
        partial(resnet.resnet_classifier, plan=resnet.RESNET18), "ResNet-18", "imagenet"
    ),
    "resnet50": _classifier(
        partial(resnet.resnet_classifier, plan=resnet.RESNET50), "ResNet-50", "imagenet"
    ),
    "mobilenetv2": _classifier(mobilenet.mobilenetv2_classifier, "MobileNetV2", "imagenet"),
}


def nets() -> tuple[str, ...]:
    """Names of the catalogue."""
    return tuple(NETS)


def entry(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        UsageError: no such net; similar names are listed.
    """
    if name not in NETS:
        raise unknown_name("net", name, nets(), "`pixelwise nets` lists the catalogue")
    return NETS[name]


def spec(name: str, **options: Any) -> Net:
    """The net ``name`` as data.

    Args:
        name: a name of the catalogue.
        options: ``classes``, ``channels``, ``width``; for segmentation nets also ``learned``.

    Raises:
        UsageError: unknown name, unknown option, or a value out of range.
    """
    named = entry(name)
    known = (
        "classes",
        "channels",
        "width",
        *(("learned",) if named.task == "segmentation" else ()),
    )
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
