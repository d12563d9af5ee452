"""A checkpoint of ours as Caffe's two files: checked, written, both or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pixelwise import __version__
from pixelwise.engine.network import Network
from pixelwise.errors import ModelError, UsageError, first_few, hxw
from pixelwise.machine.files import write_together
from pixelwise.nets import catalog
from pixelwise.nets.net import Net
from pixelwise.weights.caffe import MAX_FILE, CaffeLayer
from pixelwise.weights.caffe_files import caffemodel, prototxt
from pixelwise.weights.caffe_layers import blob_names, caffe_layers, misfits
from pixelwise.weights.checkpoint import Header, load_checkpoint, net_of, read_header
from pixelwise.weights.sniff import weight_file

# The released deploy.prototxt (voc-fcn8s) declares 500x500; 224 is a size at which each of the
# paper's three classifiers gives one value.
SIZES = {"segmentation": (500, 500), "classification": (224, 224)}


@dataclass(frozen=True)
class Exported:
    """What was written."""

    caffemodel: Path
    prototxt: Path
    net: str
    inputs: dict[str, tuple[int, ...]]
    """Blob to the shape it is declared with; Caffe and OpenCV take other heights and widths."""
    outputs: dict[str, str]
    """Head to its blob."""
    layers: int
    parameters: int
    """Numbers in all blobs, those of fixed upsampling among them."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {
            **self.__dict__,
            "caffemodel": str(self.caffemodel),
            "prototxt": str(self.prototxt),
            "inputs": {name: list(shape) for name, shape in self.inputs.items()},
        }


def export_weights(
    path: Path | str,
    out: Path | str,
    *,
    size: tuple[int, int] | None = None,
    force: bool = False,
) -> Exported:
    """Write the model at ``path`` as ``out`` and, beside it, the prototxt of the same stem.

    ``size`` is the height and width that the prototxt declares. ``force`` replaces what is there,
    but never the file that is read.

    Raises:
        ModelError: what ``load_checkpoint`` raises; M040 a net of which Caffe cannot do a layer, or
            a file of loose blobs.
        UsageError: U002 ``out`` is no ``.caffemodel``, or too small a size; U003 it exists.
        ResourceError: R001, R002; neither file was written.
    """
    path, out = weight_file(Path(path)), Path(out)
    described = out.with_suffix(".prototxt")
    if out.suffix != ".caffemodel":
        raise UsageError("U002", f"{out}: expected a name that ends in .caffemodel")
    for place in (out, described):
        if place.exists() and (not force or (path.exists() and place.samefile(path))):
            hint = "choose another -o" if force else "choose another -o, or --force"
            raise UsageError("U003", f"{place} exists already", hint)
    header = read_header(path)
    net = net_of(header, path)
    _refuse_misfits(net, header, path)
    height, width = size or SIZES[catalog.entry(header.net).task]
    for length in (height, width):
        net.sizes(length)  # a layer that would have no output is named
    with torch.device("meta"):
        shapes = Network(net)
    header, tensors = load_checkpoint(path, net=shapes)
    layers = list(caffe_layers(net, tensors, height, width))
    _refuse_too_large(layers, path)
    write_together(
        {
            described: prototxt(header.net, layers, _comments(header, net, height, width)),
            out: lambda f: f.writelines(caffemodel(header.net, layers)),
        }
    )
    blobs = blob_names(net)
    return Exported(
        caffemodel=out,
        prototxt=described,
        net=header.net,
        inputs={name: (1, bands, height, width) for name, bands in net.inputs.items()},
        outputs={head: blobs[layer] for head, layer in net.outputs.items()},
        layers=len(layers),
        parameters=sum(blob.size for layer in layers for blob in layer.blobs),
    )


def _refuse_misfits(net: Net, header: Header, path: Path) -> None:
    if problems := list(misfits(net)):
        plain = header.net.removesuffix("-tight")
        hint = "nets of Caffe's geometry are those on alexnet, vgg16 and googlenet without -tight"
        if plain != header.net:
            hint = f"pixelwise weights import {path} --net {plain} -o OUT.safetensors"
        message = f"{path}: {header.net} is no net for Caffe: {first_few(problems, separator='; ')}"
        raise ModelError("M040", message, hint)


def _refuse_too_large(layers: list[CaffeLayer], path: Path) -> None:
    size = sum(blob.size * 4 for layer in layers for blob in layer.blobs)
    if size > MAX_FILE:
        message = f"{path}: {size:,} bytes of weights; a .caffemodel has at most {MAX_FILE:,}"
        raise ModelError("M040", message, "a narrower net, or fewer classes")


def _comments(header: Header, net: Net, height: int, width: int) -> Iterator[str]:
    """What a prototxt has no field for, and a user of the files must know."""
    yield f"{header.net}, written by pixelwise {__version__}"
    pixels = json.dumps(dict(header.preprocess))
    yield f"pictures: (x * scale - mean) / std, bands under log as logarithms: {pixels}"
    yield f"any height and width will do in place of {hxw((height, width))}"
    heads = {head: own.classes for head, own in header.heads.items()}
    for head, classes in (heads or {next(iter(net.outputs)): header.classes}).items():
        yield f"classes of {head}: {', '.join(classes)}"
