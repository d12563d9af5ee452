"""The released nets as Caffe files, from their prototxts (fcn.berkeleyvision.org): layers, blobs.

Written a second time on purpose, as text, with no word from the catalogue: the files that tests
make of it are what a reader of ours has to understand. Shapes are divided by ``NARROW`` where they
count channels of a trunk, so that a file takes a few MB and not 540.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from caffe_writer import chunk, legacy, number, varint

NARROW = 16
CONVOLUTION, DECONVOLUTION, DATA = 4, 39, 5  # of V1LayerParameter.LayerType

# name: outputs x inputs x kernel
VGG = """conv1_1 64x3x3 conv1_2 64x64x3 conv2_1 128x64x3 conv2_2 128x128x3 conv3_1 256x128x3
conv3_2 256x256x3 conv3_3 256x256x3 conv4_1 512x256x3 conv4_2 512x512x3 conv4_3 512x512x3
conv5_1 512x512x3 conv5_2 512x512x3 conv5_3 512x512x3 fc6 4096x512x7 fc7 4096x4096x1"""
ALEXNET = """conv1 96x3x11 conv2 256x48x5 conv3 384x256x3 conv4 384x192x3 conv5 256x192x3
fc6 4096x256x6 fc7 4096x4096x1"""
# score layers: name, inputs; deconvolutions: name, kernel
HEADS = {
    32: "score_fr 4096 upscore up64",
    16: "score_fr 4096 upscore2 up4 score_pool4 512 upscore16 up32",
    8: "score_fr 4096 upscore2 up4 score_pool4 512 upscore_pool4 up4 score_pool3 256 upscore8 up16",
}
AT_ONCE = """score_fr 4096 upscore2 up4 scale_pool4 x512 score_pool4 512 upscore_pool4 up4
scale_pool3 x256 score_pool3 256 upscore8 up16"""

Layers = dict[str, tuple[tuple[int, ...], ...]]
"""Layer to the shapes of its blobs."""


def trunk(text: str, suffix: str = "", narrow: int = NARROW) -> Layers:
    words = text.split()
    layers: Layers = {}
    for name, shape in zip(words[::2], words[1::2], strict=True):
        out, into, kernel = map(int, shape.split("x"))
        into = into if into < 5 else into // narrow  # bands of the picture stay
        layers[name + suffix] = ((out // narrow, into, kernel, kernel), (out // narrow,))
    return layers


def head(text: str, classes: int, suffix: str = "", narrow: int = NARROW) -> Layers:
    words = text.split()
    layers: Layers = {}
    for name, what in zip(words[::2], words[1::2], strict=True):
        if what.startswith("up"):
            k = int(what[2:])
            layers[name + suffix] = ((classes, classes, k, k),)
        elif what.startswith("x"):
            layers[name + suffix] = ((int(what[1:]) // narrow,),)
        else:
            layers[name + suffix] = ((classes, int(what) // narrow, 1, 1), (classes,))
    return layers


def released(narrow: int = NARROW) -> dict[str, Layers]:
    """Folder of the release to its layers with blobs."""

    def vgg(stride: int, classes: int) -> Layers:
        return trunk(VGG, "", narrow) | head(HEADS[stride], classes, "", narrow)

    nets = {f"voc-fcn{s}s": vgg(s, 21) for s in HEADS}
    nets["voc-fcn8s-atonce"] = trunk(VGG, "", narrow) | head(AT_ONCE, 21, "", narrow)
    alex = head("score_fr 4096 upscore up63", 21, "", narrow)
    nets["voc-fcn-alexnet"] = trunk(ALEXNET, "", narrow) | alex
    nets |= {f"nyud-fcn32s-{what}": vgg(32, 40) for what in ("color", "hha")}
    early = VGG.replace("conv1_1 64x3x3", "conv1_1_bgrd 64x4x3")
    nets["nyud-fcn32s-color-d"] = trunk(early, "", narrow) | head(HEADS[32], 40, "", narrow)
    streams = [
        trunk(VGG, s, narrow) | head("score_fr 4096", 40, s, narrow) for s in ("color", "hha")
    ]
    nets["nyud-fcn32s-color-hha"] = streams[0] | streams[1] | head("upscore up64", 40)
    for s, text in HEADS.items():
        sem, geo = head(text, 33, "_sem", narrow), head(text, 3, "_geo", narrow)
        nets[f"siftflow-fcn{s}s"] = trunk(VGG, "", narrow) | sem | geo
        nets[f"pascalcontext-fcn{s}s"] = vgg(s, 60)
    return nets


# What the data layers of the release are told (python_param.param_str), where it tells nets apart.
TOPS = {
    "nyud-fcn32s-color": "['color', 'label']",
    "nyud-fcn32s-hha": "['hha', 'label']",
    "nyud-fcn32s-color-d": "['color', 'depth', 'label']",
    "nyud-fcn32s-color-hha": "['color', 'hha', 'label']",
}


def numbers(shape: tuple[int, ...], name: str) -> np.ndarray:
    """Random weights; of a deconvolution surgery.py's bilinear kernel, on the diagonal."""
    if name.startswith("up"):
        k = shape[-1]
        ramp = 1 - np.abs(np.arange(k) - (k - 1) / 2) / ((k + 1) // 2)
        weight = np.zeros(shape, "<f4")
        weight[range(shape[0]), range(shape[0])] = np.outer(ramp, ramp)
        return weight
    rng = np.random.default_rng(sum(map(ord, name)) + len(shape))
    return rng.normal(0, 0.1, shape).astype("<f4")


def caffemodel(layers: Layers, tops: str = "", *, v1: bool = False) -> bytes:
    """A training net's snapshot: a data layer, the layers with blobs, a ReLU and a loss between."""
    return b"".join(_records(layers, tops, v1=v1))


def _records(layers: Layers, tops: str, *, v1: bool) -> Iterator[bytes]:
    if v1:
        yield chunk(2, chunk(4, "data") + number(5, DATA) + chunk(3, "data"))
    else:
        told = f"{{'tops': {tops}, 'seed': 1337, 'split': 'trainval'}}"
        python = chunk(1, "layers") + chunk(2, "SegDataLayer") + chunk(3, told)
        inner = chunk(1, "data") + chunk(2, "Python") + chunk(4, "data") + chunk(4, "label")
        yield chunk(100, inner + chunk(130, python))
    for name, shapes in layers.items():
        arrays = [numbers(shape, name) for shape in shapes]
        if v1:
            kind = DECONVOLUTION if name.startswith("up") else CONVOLUTION
            # fact sheet 10.4: a bias is 1x1x1xOut in the old form
            blobs = [legacy(*(1,) * (4 - a.ndim), *a.shape) + _floats(a) for a in arrays]
            yield chunk(2, chunk(4, name) + number(5, kind) + b"".join(chunk(6, b) for b in blobs))
            continue
        kind = "Deconvolution" if name.startswith("up") else "Convolution"
        kind = "Scale" if name.startswith("scale") else kind
        blobs = [chunk(7, chunk(1, b"".join(map(varint, a.shape)))) + _floats(a) for a in arrays]
        rates = chunk(6, b"\x1d\x00\x00\x80\x3f")  # lr_mult: 1
        inner = chunk(1, name) + chunk(2, kind) + chunk(3, "below") + chunk(4, name) + rates
        yield chunk(100, inner + b"".join(chunk(7, b) for b in blobs))
        yield chunk(100, chunk(1, f"relu_{name}") + chunk(2, "ReLU") + chunk(3, name))


def _floats(array: np.ndarray) -> bytes:
    return chunk(5, array.tobytes())
