"""NETS: the one place where a name becomes a net."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, SupportsIndex, get_args

from pixelwise.errors import UsageError, unknown_name
from pixelwise.nets.fusion import Fusion
from pixelwise.nets.heads.context import (
    ASPP,
    deeplab_vgg16,
    deeplabv2_on,
    deeplabv3_on,
    pspnet_on,
)
from pixelwise.nets.heads.fcn import fcn
from pixelwise.nets.heads.mirrored import deconvnet, segnet
from pixelwise.nets.heads.scored import Body, scored
from pixelwise.nets.heads.spectral import spectral
from pixelwise.nets.heads.unet import unet, unet_on
from pixelwise.nets.kinds import Kind
from pixelwise.nets.layers import Softmax
from pixelwise.nets.net import Net
from pixelwise.nets.rarefaction import lower_stride, rarefy
from pixelwise.nets.released import RELEASED
from pixelwise.nets.trunks.alexnet import alexnet
from pixelwise.nets.trunks.efficientnet import EFFICIENTNET_LITE
from pixelwise.nets.trunks.googlenet import googlenet
from pixelwise.nets.trunks.mobilenet import mobilenetv2
from pixelwise.nets.trunks.resnet import resnet18, resnet50
from pixelwise.nets.trunks.tiny import BLOCKS, tiny
from pixelwise.nets.trunks.trunk import Geometry, TrunkFunction
from pixelwise.nets.trunks.vgg16 import vgg16, vgg16_to_pool5
from pixelwise.settings import read

WIDEST = 8
"""Factor on a trunk's channels: a mistyped one is refused before it takes all memory."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""Of a head or an input: torch's names of modules have no dots."""


@dataclass(frozen=True)
class Entry:
    """A net of the catalogue."""

    make: Callable[..., Net]
    """Options -> Net, all by keyword: heads, inputs, width, ...; of classifiers classes, channels.
    """
    about: str
    """One line for the listing."""
    preprocess: str
    """Name in ``data.preprocess.PUBLISHED`` of what its published weights expect; or plain."""
    trunk: str = ""
    """The trunk's name in ``FAMILIES``; empty: its layers are no trunk's."""
    task: str = "segmentation"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of ``spec`` that are its own unless others are given: classes or heads, inputs."""
    weights: str = ""
    """Name of the file in which its weights were published, where they were."""
    relative: bool = False
    """Whether it grew from FCN."""


@dataclass(frozen=True)
class Family:
    """A trunk and the nets that are built on it."""

    trunk: TrunkFunction
    geometries: tuple[Geometry, ...]
    preprocess: str
    about: str
    classifier: str = ""
    """The layer that gives the published classifier's 1000 values, where there is one."""
    atrous: int = 0
    """The stride to which DeepLab v3 and PSPNet rarefy it; 0: these, and U-Net, are not on it."""


FAMILIES: dict[str, Family] = {
    "alexnet": Family(alexnet, ("caffe", "tight"), "caffe", "AlexNet (CaffeNet), 2012", "fc8"),
    "vgg16": Family(vgg16, ("caffe", "tight"), "caffe", "VGG16, the paper's best trunk", "fc8"),
    "googlenet": Family(
        googlenet, ("caffe", "tight"), "caffe", "GoogLeNet (BVLC)", "loss3/classifier"
    ),
    "resnet18": Family(resnet18, ("tight",), "imagenet", "ResNet-18, batch norm", "fc1000", 8),
    "resnet50": Family(resnet50, ("tight",), "imagenet", "ResNet-50, batch norm", "fc1000", 8),
    "mobilenetv2": Family(mobilenetv2, ("tight",), "imagenet", "MobileNetV2, small", "fc1000", 16),
    **{
        f"efficientnetlite{i}": Family(
            trunk, ("tight",), "efficientnet-lite", f"EfficientNet-Lite{i}, small", "fc1000", 16
        )
        for i, trunk in enumerate(EFFICIENTNET_LITE)
    },
    "tiny": Family(tiny, ("tight",), "plain", "narrow, batch norm, learns from scratch", atrous=8),
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
    """fcn{32,16,8,4}s on every trunk and geometry of it; classifiers; what the paper released."""
    entries = {}
    for name, family in FAMILIES.items():
        for geometry in family.geometries:
            suffix = "-tight" if geometry == "tight" and len(family.geometries) > 1 else ""
            for stride in (32, 16, 8, 4):
                make = partial(fcn, family.trunk, stride, geometry=geometry)
                about = f"stride {stride} on {family.about}" + (suffix and ", no wasted border")
                entries[f"fcn{stride}s-{name}{suffix}"] = Entry(
                    make, about, family.preprocess, name
                )
    at_once = partial(fcn, vgg16, 8, at_once=True)
    about = "stride 8, all streams trained together"
    entries["fcn8s-vgg16-atonce"] = Entry(at_once, about, "caffe", "vgg16")
    to_pool5, about = partial(fcn, vgg16_to_pool5, 32), "stride 32, pool5 scored: no fc6 and fc7"
    entries["fcn32s-vgg16-pool5"] = Entry(to_pool5, about, "caffe", "vgg16")
    for name, family in FAMILIES.items():
        if family.classifier:
            make = partial(classifier, family.trunk, family.classifier)
            about = f"convolutionalised classifier: {family.about.partition(',')[0]}"
            entries[name] = Entry(make, about, family.preprocess, name, "classification")
    trunks = {family.trunk: name for name, family in FAMILIES.items()}
    for name, net in RELEASED.items():
        make = partial(fcn, net.trunk, net.stride, at_once=net.at_once)
        entries[name] = Entry(
            make,
            net.about,
            net.preprocess,
            trunks[net.trunk],
            options=net.options,
            weights=net.weights,
        )
    return entries


def _relatives() -> dict[str, Entry]:
    """The nets that grew from FCN, and those among them whose idea allows other trunks."""
    entries: dict[str, Entry] = {}

    def add(name: str, body: Body, about: str, preprocess: str = "caffe", trunk: str = "") -> None:
        make = partial(scored, body)
        entries[name] = Entry(make, about, preprocess, trunk, relative=True)

    vgg = {"preprocess": "caffe", "trunk": "vgg16"}
    add("segnet-vgg16", segnet, "SegNet: VGG16 mirrored, unpooling by indices", **vgg)
    small = partial(segnet, widths=BLOCKS)
    add("segnet-tiny", small, "SegNet on the narrow trunk", "plain", "tiny")
    add("deconvnet-vgg16", deconvnet, "DeconvNet: VGG16 mirrored with fc6, from 193 px on", **vgg)
    add("unet", unet, "U-Net as published: valid convolutions, 572 px give 388", "plain")
    padded = partial(unet, padded=True)
    add("unet-padded", padded, "U-Net with padding and batch norm", "plain")
    add("deeplab-largefov-vgg16", deeplab_vgg16, "DeepLab v1: atrous VGG16, LargeFOV", **vgg)
    aspp = partial(deeplab_vgg16, rates=ASPP)
    add("deeplabv2-vgg16", aspp, "DeepLab v2: atrous VGG16, four rates summed", **vgg)
    residual = partial(deeplabv2_on, resnet50)
    about = "DeepLab v2: atrous ResNet-50, four rates summed"
    add("deeplabv2-resnet50", residual, about, "imagenet", "resnet50")
    entries["fcn-spectral"] = Entry(partial(scored, spectral), "stride 1: for spectra", "plain")
    for name, family in FAMILIES.items():
        if stride := family.atrous:
            at, of = f"stride {stride} on", (family.preprocess, name)
            short = family.about.partition(",")[0] if name != "tiny" else "the narrow trunk"
            rising, v3 = partial(unet_on, family.trunk), partial(deeplabv3_on, family.trunk)
            pyramid = partial(pspnet_on, family.trunk, stride=stride)
            add(f"unet-{name}", rising, f"U-Net's way up on {short}", *of)
            add(f"deeplabv3-{name}", partial(v3, stride=stride), f"DeepLab v3, {at} {short}", *of)
            add(f"pspnet-{name}", pyramid, f"PSPNet, {at} {short}", *of)
    return entries


NETS: dict[str, Entry] = _catalogue() | _relatives()


def entry(name: str) -> Entry:
    """The entry called ``name``; a UsageError lists similar names."""
    if name not in NETS:
        raise unknown_name("net", name, tuple(NETS), "`pixelwise nets` lists the catalogue")
    return NETS[name]


def spec(name: str, **options: Any) -> Net:
    """The net ``name`` as data.

    The options are ``classes``, ``channels`` and ``width``, and of segmentation nets ``learned``,
    ``heads`` (name to classes: an output each, its layers named with ``_<head>`` behind),
    ``inputs`` (name to bands, in the order of the picture's bands) and ``fusion`` of several
    inputs: early, sum or average; ``kinds`` is head to what it gives, a ``Kind``. A released net
    has options of its own; those given replace them. ``rarefied`` and ``lowered`` name layers for
    ``nets.rarefy`` and ``nets.lower_stride``.

    Raises:
        UsageError: unknown name, unknown option, a value out of range, or two that contradict.
    """
    named = entry(name)
    known = ["classes", "channels", "width", "rarefied", "lowered"]
    if named.task == "segmentation":
        known += ["learned", "heads", "inputs", "fusion", "kinds"]
    for option, value in options.items():
        if option not in known:
            problem, hint = f"{name} has no option {option}", f"options: {', '.join(known)}"
        elif option in ("classes", "channels") and not _is_count(value):
            problem = f"{option} is {value!r}, expected a whole number of at least 1"
            hint = f"{option}: 21, for instance"
        elif option == "width" and not 0 < value <= WIDEST:
            problem = f"width is {value}, expected a factor in (0, {WIDEST}]"
            hint = "1 is the net as published"
        elif option in ("heads", "inputs") and not _are_counts(value):
            problem = f"{option} is {value!r}, expected each name with a whole number of at least 1"
            hint = "heads: {'sem': 33, 'geo': 3}" if option == "heads" else "inputs: {'color': 3}"
        elif option == "fusion" and value not in get_args(Fusion):
            problem = f"fusion is {value!r}, expected one of {', '.join(get_args(Fusion))}"
            hint = "sum is the paper's late fusion, average the release's"
        elif option == "kinds" and not isinstance(value, Mapping):
            problem, hint = f"kinds is {value!r}, expected one for each name", "{'far': {...}}"
        elif option in ("rarefied", "lowered") and not _are_names(value):
            problem, hint = f"{option} is {value!r}, expected names of layers", "['pool5']"
        else:
            continue
        raise UsageError("U002", problem, hint)
    if named.task == "segmentation":
        options = _parts(name, dict(named.options), options)
    rarefied, lowered = options.pop("rarefied", ()), options.pop("lowered", ())
    kinds = {head: read(Kind, kind) for head, kind in options.pop("kinds", {}).items()}
    net = lower_stride(rarefy(named.make(**options), *rarefied), *lowered)
    net.kinds = kinds
    return net


def _parts(name: str, own: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A net's own options and those given as one, heads and inputs in place of their numbers."""
    merged = {**own, **given}
    for number, parts, alone in (("classes", "heads", ""), ("channels", "inputs", "data")):
        count = given.get(number, None if parts in merged else own.get(number))
        merged.pop(number, None)
        if count is None:
            continue
        named = merged.setdefault(parts, {alone: count})
        # One number says nothing of several heads; of several inputs it may say how many bands.
        if sum(named.values()) != count or (parts == "heads" and len(named) > 1):
            listed = ", ".join(f"{part} ({n})" for part, n in named.items())
            problem = f"{name} with {number} {count}, which contradicts its {parts} {listed}"
            raise UsageError("U002", problem, f"{parts}={dict(named)} alone, or other {parts}")
    fusion, inputs = merged.get("fusion", "early"), merged.get("inputs", ())
    if fusion != "early" and len(inputs) < 2:
        problem = f"{name} with fusion {fusion} has one input, expected several"
        raise UsageError("U002", problem, "inputs={'color': 3, 'hha': 3}, or no fusion")
    return merged


def _are_counts(value: object) -> bool:
    """At least one name that a layer's name can end in, each with a whole number."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and _NAME.fullmatch(k) for k in value)
        and all(map(_is_count, value.values()))
    )


def _are_names(value: object) -> bool:
    """A list of words, not one word."""
    return isinstance(value, list | tuple) and all(isinstance(word, str) for word in value)


def _is_count(value: object) -> bool:
    """A whole number of at least 1, Python's or numpy's."""
    return isinstance(value, SupportsIndex) and type(value) is not bool and int(value) >= 1
