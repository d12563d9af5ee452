"""The nets of the paper under the names of its release (fcn.berkeleyvision.org), as options.

Fifteen were published (fact sheet 1.1). Two more are of the paper and were not: FCN-GoogLeNet
(table 1), and FCN-16s on colour and HHA, the best row of table 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pixelwise.nets.trunks.alexnet import alexnet
from pixelwise.nets.trunks.googlenet import googlenet
from pixelwise.nets.trunks.trunk import TrunkFunction
from pixelwise.nets.trunks.vgg16 import vgg16


@dataclass(frozen=True)
class Released:
    """A published net, in our functions and options."""

    about: str
    trunk: TrunkFunction = vgg16
    stride: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of ``spec``: classes or heads, inputs, fusion."""
    preprocess: str = "caffe"
    weights: str = ""
    """Name of the published file, where there is one."""
    at_once: bool = False


VOC, CONTEXT, NYUD = {"classes": 21}, {"classes": 60}, {"classes": 40}
"""VOC's 20 classes and the background; 59 and the background; Gupta's 40 (fact sheet 3)."""
SIFT_FLOW = {"heads": {"sem": 33, "geo": 3}}
COLOR_HHA = {**NYUD, "inputs": {"color": 3, "hha": 3}, "fusion": "average"}


def _stages(
    data: str, about: str, file: str, options: Mapping[str, Any], preprocess: str = "caffe"
) -> dict[str, Released]:
    """32s, 16s and 8s of one data set."""
    return {
        f"{data}-fcn{s}s": Released(
            f"{about}, stride {s}, as released", vgg16, s, options, preprocess, file.format(s)
        )
        for s in (32, 16, 8)
    }


RELEASED: dict[str, Released] = {
    **_stages("voc", "PASCAL VOC and SBD", "fcn{}s-heavy-pascal.caffemodel", VOC),
    "voc-fcn8s-atonce": Released(
        "PASCAL VOC and SBD, stride 8, trained at once, as released",
        vgg16,
        8,
        VOC,
        weights="fcn8s-atonce-pascal.caffemodel",
        at_once=True,
    ),
    "voc-fcn-alexnet": Released(
        "PASCAL VOC and SBD, FCN-AlexNet, as released",
        alexnet,
        options=VOC,
        weights="fcn-alexnet-pascal.caffemodel",
    ),
    "voc-fcn-googlenet": Released(
        "PASCAL VOC, FCN-GoogLeNet of table 1, never released", googlenet, options=VOC
    ),
    "nyud-fcn32s-color": Released(
        "NYUDv2, colour, as released",
        options=NYUD,
        preprocess="nyud-color",
        weights="nyud-fcn32s-color-heavy.caffemodel",
    ),
    "nyud-fcn32s-color-d": Released(
        "NYUDv2, colour and log depth in one first layer, as released",
        options={**NYUD, "inputs": {"color": 3, "depth": 1}},
        preprocess="nyud-color-d",
    ),
    "nyud-fcn32s-hha": Released(
        "NYUDv2, HHA, as released",
        options=NYUD,
        preprocess="nyud-hha",
        weights="nyud-fcn32s-hha-heavy.caffemodel",
    ),
    "nyud-fcn32s-color-hha": Released(
        "NYUDv2, colour and HHA, two streams, as released",
        options=COLOR_HHA,
        preprocess="nyud-color-hha",
        weights="nyud-fcn32s-color-hha-heavy.caffemodel",
    ),
    "nyud-fcn16s-color-hha": Released(
        "NYUDv2, colour and HHA, two streams, stride 16, table 4's best row, never released",
        stride=16,
        options=COLOR_HHA,
        preprocess="nyud-color-hha",
    ),
    **_stages("siftflow", "SIFT Flow", "siftflow-fcn{}s-heavy.caffemodel", SIFT_FLOW, "siftflow"),
    **_stages("pascalcontext", "PASCAL-Context", "pascalcontext-fcn{}s-heavy.caffemodel", CONTEXT),
}
"""By the name of its folder in the release."""
