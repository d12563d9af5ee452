"""What a plan takes of memory for a picture, before any of it is taken."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import torch

from pixelwise.engine.convolutions import LOWER, PIECE, bytes_packed, kernel_of, pieces
from pixelwise.engine.fusing import plan
from pixelwise.engine.layout import Layout, layout_for
from pixelwise.engine.lowering import in_bfloat16, in_eight_bits, low_maps
from pixelwise.engine.memory import FLOAT32
from pixelwise.engine.numbers import Numbers
from pixelwise.engine.winograd import BLOCK, OUTPUTS, SHARED, WEIGHTS_BY_PATCHES
from pixelwise.nets.layers import Conv
from pixelwise.nets.net import Net


class Needs(NamedTuple):
    """Bytes; work is the picture, its labels, and what the hungriest convolution takes beside."""

    weights: int
    maps: int
    work: int


def needs(net: Net, size: tuple[int, int], *, memory: str = "fast", precision: str = "fp32") -> int:
    """Bytes for a picture of ``size`` (H, W), weights and all; U002 if it is too small."""
    own = plan(net)
    if precision == "bf16":
        own = in_bfloat16(own)
    elif precision == "int8":
        own = in_eight_bits(own, dict.fromkeys(low_maps(own), Numbers("uint8")), ())
    return sum(of_layout(layout_for(own, 1, *size), memory))


def of_layout(layout: Layout, memory: str) -> Needs:
    """The same of a plan for one size."""
    net, kept, work = layout.plan.net, 0, 0
    for op in layout.plan.ops:
        if not isinstance(op.layer, Conv):
            continue
        channels, made = net.channels[op.inputs[0]], [cells.length for cells in layout.made(op)]
        kernel = LOWER.get(layout.plan.computes_in(op)) or kernel_of(op, channels, *made)
        packed, beside = bytes_packed(op, channels, kernel), 0
        parts = pieces(op, channels, kernel) if memory == "low" else []
        if kernel == "winograd":
            beside = _patches(op.layer, channels, made, packed)
        # A piece of weights, and half as much while it is packed.
        work = max(work, beside + (PIECE * 3 // 2 if parts else 0))
        kept += 0 if parts else packed
    pixels = layout.batch * layout.rows.sizes[net.input] * layout.columns.sizes[net.input]
    bands = sum(net.inputs.values())
    return Needs(kept, FLOAT32 * layout.length, work + pixels * (bands * (1 + FLOAT32) + 1))


def _patches(layer: Conv, channels: int, made: list[int], packed: int) -> int:
    """What Winograd's algorithm takes for patches and products of all threads, at the most."""
    m = OUTPUTS[layer.kernel]
    points, tiles = (m + layer.kernel - 1) ** 2, prod(-(length // -m) for length in made)
    shared = points * tiles * (channels // layer.groups)
    if shared <= SHARED:
        return FLOAT32 * shared
    tile = FLOAT32 * points * (channels + layer.width) // layer.groups
    block = max(BLOCK * tile, packed // WEIGHTS_BY_PATCHES)
    return min(tiles * tile, torch.get_num_threads() * block)
