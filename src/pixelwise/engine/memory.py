"""What one picture takes of memory in a net, estimated before anything is allocated; no torch.

The scratch space of single operations is left out.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection
from fractions import Fraction

from pixelwise.engine.plan import before_upsampling, steps
from pixelwise.nets.net import Net

FLOAT32 = 4
"""Bytes of a number: memory is estimated for float32."""
SCRATCH = 1.25
"""Times the maps held: what convolutions of torch use beside their input and output."""
INDEX = 2
"""Numbers that an index takes: it has 8 bytes."""


def bytes_of_weights(net: Net) -> int:
    """What its trained and stored arrays take in float32."""
    return FLOAT32 * sum(math.prod(s) for s in net.parameter_shapes(stored=True).values())


def by_modules(net: Net, height: int, width: int, *, scores: bool = False) -> int:
    """Bytes for one picture, carried out by torch's modules; with all its ``scores``, or labels."""
    peak, _ = peak_of_maps(net, height, width, () if scores else before_upsampling(net))
    return int(FLOAT32 * SCRATCH * peak)


def peak_of_maps(
    net: Net, height: int, width: int, wanted: Collection[str] = ()
) -> tuple[int, str]:
    """The most numbers that are held at once, and the layer at whose computation they are.

    Without gradients, where a map is dropped after its last use.
    A crop of a map that is there is a window into it, and dropout passes its input on: neither
    takes memory of its own, both keep their source alive. The picture is the caller's and stays,
    as do the layers ``wanted``, by default those of the heads.
    """
    rows, columns = net.sizes(height), net.sizes(width)
    wanted = wanted or net.outputs.values()
    layers = [step.layer for step in steps(net, wanted)]
    owner: dict[str, str] = {}
    last_use: dict[str, str] = {}
    for layer in layers:
        for name in layer.outputs:
            owner[name] = owner[layer.inputs[0]] if layer.shares_memory else name
        uses = (owner[name] for name in (*layer.outputs, *layer.reads))
        last_use.update(dict.fromkeys(uses, layer.name))
    kept = {*net.inputs, *(owner[name] for name in wanted)}

    alive: dict[str, int] = {}
    peak, at = 0, net.input
    for layer in layers:
        for name in layer.outputs:
            if owner[name] == name:
                numbers = net.channels[name] * layer.rows_held(rows[name]) * columns[name]
                alive[name] = numbers if name == layer.name else INDEX * numbers
        if sum(alive.values()) > peak:
            peak, at = sum(alive.values()), layer.name
        alive = {n: size for n, size in alive.items() if n in kept or last_use[n] != layer.name}
    return peak, at


def kept_for_gradients(
    net: Net, trained: Collection[str], height: int, width: int, *, checkpointed: bool = False
) -> int:
    """Numbers that a training step keeps of one picture's maps until its backward pass; a minimum.

    Each record says what it keeps; here is only what lies on the way back to something trained. Of
    a net that is ``checkpointed`` (``Network``) it is the maps of one scale, and what others read.
    """
    reached: dict[str, bool] = {}
    kept = set(net.outputs.values())
    for layer in net.layers.values():
        below, own = any(reached[source] for source in layer.inputs), layer.name in trained
        reached |= dict.fromkeys(layer.outputs, below or own)
        kept.update(layer.kept(trained=own, reached=below))
    rows, columns = net.sizes(height), net.sizes(width)
    numbers = {name: net.channels[name] * rows[name] * columns[name] for name in kept}
    if not checkpointed:
        return sum(numbers.values())
    scale = {name: sight.map.scale for name, sight in net.sights.items()}
    read = {s for n, layer in net.layers.items() for s in layer.inputs if scale[s] != scale[n]}
    within = Counter[Fraction]()
    for name in kept - read:
        within[scale[name]] += numbers[name]
    return sum(numbers[name] for name in kept & read) + max(within.values(), default=0)
