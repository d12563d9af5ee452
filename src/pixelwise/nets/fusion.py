"""Several inputs in one net: bands of one first layer (early), or a whole trunk for each (late).

The paper compares them on NYUDv2 (section 5, table 4): colour and depth early, colour and HHA late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal, TypeVar

from pixelwise.nets.joining import Concat
from pixelwise.nets.net import Net
from pixelwise.nets.trunks.trunk import Geometry

Written = TypeVar("Written")

Fusion = Literal["early", "sum", "average"]
"""Late fusion adds the streams' scores (the paper) or takes their mean (the release)."""

Inflation = Literal["mean", "repeat", "zero"]
"""What bands beyond the three get that published filters are for (``weights.surgery.inflated``)."""

STACK = "data"
"""The bands of all inputs in one map, as nyud-fcn32s-color-d calls it."""
# What the release calls them in the name of the layer that reads several: conv1_1_bgrd. Caffe's
# nets take colours as BGR; an input of another name stands with its name.
LETTERS = {"color": "bgr", "image": "bgr", "depth": "d"}


def streams(
    net: Net,
    trunk_of: Callable[[Net, float, Geometry], Written],
    inputs: Mapping[str, int],
    fusion: Fusion,
    width: float,
    geometry: Geometry,
) -> dict[str, Written]:
    """Write the inputs (name to bands) and their trunks; what is added to names to each trunk.

    Early: one trunk on all bands, nothing added, but that the layer which reads several inputs is
    named after them, since weights for one of them do not fit it. Late: a trunk for each, every
    layer named with the input's name behind (``conv1_1color``), as in nyud-fcn32s-color-hha.
    """
    for name, bands in inputs.items():
        net.data(bands, name)
    if fusion == "early":
        if len(inputs) > 1:
            net.add(Concat(STACK, tuple(inputs)))
        trunk = trunk_of(net, width, geometry)
        if len(inputs) > 1:
            for first in [n for n, layer in net.layers.items() if layer.inputs == (STACK,)]:
                net.rename(first, f"{first}_{_letters(inputs)}")
        return {"": trunk}
    trunks = {}
    for name in inputs:
        with net.scope(name):
            trunks[name] = trunk_of(net, width, geometry)
    return trunks


def coefficients(fusion: Fusion, count: int) -> tuple[float, ...]:
    """What the scores of ``count`` streams are multiplied by before they are added."""
    # A plain sum of two nets that were trained alone doubles the scores (fact sheet, trap 26).
    return (1 / count,) * count if fusion == "average" else ()


def _letters(inputs: Iterable[str]) -> str:
    return "".join(LETTERS.get(name, name) for name in inputs)


def first_layers(net: Net) -> dict[str, str]:
    """Each layer that reads several inputs to its name in a net of one: of early fusion."""
    if len(net.inputs) < 2:
        return {}
    firsts = [name for name, layer in net.layers.items() if layer.inputs == (STACK,)]
    return {name: name.removesuffix(f"_{_letters(net.inputs)}") for name in firsts}


def late_streams(net: Net) -> tuple[str, ...]:
    """The inputs that have a trunk each; none in a net of one trunk."""
    return tuple(net.inputs) if len(net.inputs) > 1 and STACK not in net.layers else ()
