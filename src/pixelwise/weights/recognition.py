"""For which net of the catalogue a file was made, by the layers that it has numbers for.

A net fits when the file has all of its layers and no others, but for upsampling, which is computed
here. The released nets tell themselves apart by what stands behind the names of layers (heads,
streams), by how many classes they score and how many bands their first layers take; colour and HHA
of NYUDv2 by the data layer alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pixelwise.errors import UsageError
from pixelwise.nets.catalog import NETS, WIDEST, spec
from pixelwise.nets.net import Net
from pixelwise.weights.load import Foreign
from pixelwise.weights.names import layer_of, light_names
from pixelwise.weights.surgery import score_layers

# BVLC's GoogLeNet file has the two classifiers that helped to train it, torchvision's DeepLab one.
_TRAINING_ALONE = re.compile(r"loss[12]/|aux_classifier\.")
_HEAD = re.compile(r"score_fr_([A-Za-z][A-Za-z0-9_-]*)")
_TOPS = re.compile(r"'tops': \[([^\]]*)\]")  # of nyud_layers.NYUDSegDataLayer

Shapes = dict[str, tuple[int, ...]]
"""Layer to the shape of its weights in a file."""


def recognise_net(foreign: Foreign, path: Path) -> str:
    """The name of the net that a file was made for; empty if none fits.

    Where several do, the one that the file names itself counts, then released ones.

    Raises:
        UsageError: U002 several are left.
    """
    fits = [name for name in NETS if not name.endswith("-tight") and _fits(name, foreign)]
    if foreign.name in fits:
        return foreign.name
    fits = [name for name in fits if NETS[name].options] or fits
    if len(fits) > 1:
        fits = [name for name in fits if name.endswith(_inputs_told(foreign))] or fits
    if len(fits) > 1:
        message = f"{path}: its layers are those of {' and of '.join(fits)}"
        raise UsageError("U002", message, f"--net {fits[0]}")
    return "".join(fits)


def layer_shapes(foreign: Foreign, net: Net) -> Shapes:
    """The weights of a file by the names that their layers have, or would have, in ``net``.

    Those without a number or an axis are no layer's.
    """
    names = foreign.names or light_names(foreign.tensors, net)
    ours = {names.get(name, name): tuple(t.shape) for name, t in foreign.tensors.items()}
    weights = ((name, shape) for name, shape in ours.items() if name.endswith(".weight"))
    return {layer_of(name): shape for name, shape in weights if math.prod(shape) and shape}


def heads_of(shapes: Shapes) -> dict[str, int]:
    """The heads that layers are named after, and their classes; none where there is one."""
    found = {name: _HEAD.fullmatch(name) for name in shapes}
    return {match[1]: shapes[name][0] for name, match in found.items() if match}


def _fits(name: str, foreign: Foreign) -> bool:
    own, net = NETS[name].options, _net(name)
    shapes = layer_shapes(foreign, net)
    heads = heads_of(shapes)
    if heads and not own and NETS[name].task == "segmentation":
        net = spec(name, heads=heads)
    computed = {n for n, r in net.layers.items() if r.upsamples}
    if not foreign.has_factors:
        computed |= {n for n, r in net.layers.items() if r.fixed_factor}
    wanted = {layer_of(n) for n in net.parameter_shapes(stored=True)}
    if {n for n in shapes if not _TRAINING_ALONE.match(n)} - computed != wanted - computed:
        return False
    bands = (n for n in wanted if net.layers[n].inputs[0] in {*net.inputs, "data"})
    scores = (n for n, r in net.layers.items() if own and r.zero_start)
    return all(shapes[n][1:2] == net.given_channels(net.layers[n]) for n in bands) and all(
        shapes[n][0] == net.channels[n] for n in scores
    )


@cache
def _net(name: str) -> Net:
    return spec(name)


def _inputs_told(foreign: Foreign) -> str:
    """How the released net's name ends whose data layer gives what this file's does."""
    told = "".join(layer.param_str for layer in foreign.caffe.layers) if foreign.caffe else ""
    tops = re.findall(r"\w+", "".join(_TOPS.findall(told)))
    return "-" + "-".join(top for top in tops if top != "label")


def net_options(
    foreign: Foreign, net: str, classes: int | None, class_names: Sequence[str]
) -> dict[str, Any]:
    """The options of ``catalog.spec``: as many classes as given, named, or found in the file.

    Raises:
        UsageError: U002 other numbers of classes and names, or one number for several heads.
    """
    own = foreign.header
    options = dict(own.options) if own and own.net == net else {}
    shape = spec(net, **options)
    stored = layer_shapes(foreign, shape)
    if heads := heads_of(stored):
        # In the net's order, whatever the file's: a header describes the first head.
        options["heads"] = {h: heads[h] for h in (*shape.heads, *heads) if h in heads}
    if not heads and not shape.heads:
        scores = (shape.top, *sorted(score_layers(shape)))
        rows = next((stored[n][0] for n in scores if n in stored), None)
        options["classes"] = classes or rows or len(class_names) or _classes(shape)
    elif classes:
        options["classes"] = classes  # of one of several: the catalogue refuses it
    shape = spec(net, **options)
    if class_names and len(class_names) != (count := _classes(shape)):
        message = f"{len(class_names)} class names for {count} classes"
        hint = f"--classes {len(class_names)}, if the score layer is to start anew"
        raise UsageError("U002", message, hint)
    return options | _narrow(net, options, stored)


def _classes(net: Net) -> int:
    """How many classes the first head has."""
    return net.channels[next(iter(net.outputs.values()))]


def _narrow(net: str, options: dict[str, Any], stored: Shapes) -> dict[str, Any]:
    """The width of a narrow copy, where that alone makes the trunk's layers fit."""
    shape = spec(net, **options)
    first = next(n for n, r in shape.layers.items() if r.convolves)
    if first not in stored or stored[first][0] == shape.channels[first] or "width" in options:
        return {}
    width = stored[first][0] / shape.channels[first]
    if not 0 < width <= WIDEST:
        return {}
    narrow = spec(net, **options, width=width)
    fit = (stored.get(n) in (None, s) for n, s in _weights(narrow).items())
    return {"width": width} if all(fit) else {}


def _weights(net: Net) -> Shapes:
    """Convolutions to the shapes of their weights, but for those that go by classes."""
    shapes = net.parameter_shapes().items()
    named = {layer_of(name): shape for name, shape in shapes if name.endswith(".weight")}
    return {n: s for n, s in named.items() if n not in score_layers(net)}
