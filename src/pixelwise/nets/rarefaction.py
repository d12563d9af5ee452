"""Denser output from a trained net: its filters rarefied, or its strides lowered (section 3.2).

A layer of stride s skips all but one of s cells. With a stride of 1 it gives them all, and every
later filter must then step over the new ones: f'[i, j] = f[i/s, j/s] where s divides both, else 0.
That is dilation by s, and dilations multiply. Weights stay as they are, so do the receptive field
and what a cell of the old map holds; between these cells stand those that shift-and-stitch finds by
shifting the picture.

Lowering the stride alone leaves later filters with a smaller field; filters as long as the rarefied
ones bring it back, with weights that can be learned where dilation has zeros: fc6 of 14x14 behind
pool5 at stride 1. The paper found such filters hard to learn and uses skips instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil

from pixelwise.errors import UsageError, unknown_name
from pixelwise.geometry import CoordMap, relative_offset, sides
from pixelwise.nets.joining import Crop
from pixelwise.nets.layers import Conv, Deconv, Upsample
from pixelwise.nets.net import Net
from pixelwise.nets.pooling import AvgPool, GlobalAvgPool, MaxPool, Unpool
from pixelwise.nets.record import Layer

Window = Conv | MaxPool | AvgPool


def rarefy(net: Net, *layers: str) -> Net:
    """The net with stride 1 at ``layers`` and all that follows them dilated.

    Upsampling is by what is left of the stride, crops follow. Every ``s``-th cell of a new map is
    the old map's, rims included, unless the first padding had to grow: scores on a finer grid
    reach less far, and more cells are put around the picture where they would not cover it.
    Layers that stand side by side (a residual block's two ways) are named together.

    Raises:
        UsageError: U001 no such layer; U002 it has no stride, or what follows cannot be made finer
            with the same weights: learned upsampling, unpooling, a mean over everything.
    """
    return _finer(net, layers, grown=False)


def lower_stride(net: Net, *layers: str) -> Net:
    """The net with stride 1 at ``layers`` and later convolutions s times as long, not dilated.

    A kernel k > 1 becomes s * k, fc6's 7x7 behind pool5 14x14; ``weights.surgery`` gives it
    the rarefied weights, with which each map holds what ``rarefy``'s holds. A cell's place follows
    from the longer kernel, whose last s - 1 rows and columns are zero at first: until they are
    learned, what a cell says is centred (s - 1) / 2 cells before that place. Pools are dilated.

    Raises:
        UsageError: as ``rarefy``.
    """
    return _finer(net, layers, grown=True)


def _finer(net: Net, lowered: Sequence[str], *, grown: bool) -> Net:
    if not lowered:
        return net
    for name in lowered:
        if name not in net.layers:
            raise unknown_name("layer", name, tuple(net.layers))
        layer = net.layers[name]
        if not isinstance(layer, Window) or layer.stride == 1:
            problem = f"{name} is no convolution or pooling with a stride to lower"
            strided = [n for n, r in net.layers.items() if isinstance(r, Window) and r.stride > 1]
            raise UsageError("U002", problem, f"those with one: {', '.join(strided)}")
    factors = _factors(net, set(lowered))
    coarsest = max(ceil(seen.map.scale / factors[name]) for name, seen in net.sights.items())
    widened, missing = 0, 1
    while missing:  # by whole cells of the coarsest map, so that every grid stays where it is
        made, missing = _rewritten(net, set(lowered), factors, widened, grown=grown)
        widened += ceil(missing / coarsest) * coarsest
    return made


def _factors(net: Net, lowered: set[str]) -> dict[str, int]:
    """How many times finer the grid of each map becomes."""
    made_by = {name: layer for layer in net.layers.values() for name in layer.outputs}
    factors: dict[str, int] = {}

    def factor(name: str) -> int:
        if name not in factors:
            layer = made_by[name]
            if isinstance(layer, Upsample):  # as fine as what it meets, the picture or a skip
                met = _met(net, layer.name)
                found = factor(met) if met else 1
            else:
                found = factor(layer.inputs[0]) if layer.inputs else 1
                if layer.name in lowered and isinstance(layer, Window):
                    found *= layer.stride
            factors[name] = found
        return factors[name]

    for name in net.channels:
        factor(name)
    return factors


def _met(net: Net, upsampled: str) -> str:
    """The map with which an upsampled one is cropped or joined; empty for none."""
    readers = (layer.inputs for layer in net.layers.values() if upsampled in layer.inputs)
    return next((o for inputs in readers for o in inputs if o != upsampled), "")


def _rewritten(
    net: Net, lowered: set[str], factors: Mapping[str, int], widened: int, *, grown: bool
) -> tuple[Net, int]:
    """The finer net, its first padding grown by ``widened``, and the pixels it lacks at the rim."""
    new, missing = Net(top=net.top, heads=dict(net.heads)), 0
    for layer in net.layers.values():
        finer = factors[layer.inputs[0]] if layer.inputs else 1
        match layer:
            case Conv() | MaxPool() | AvgPool():
                first = net.sights[layer.inputs[0]].field == 1 and layer.kernel > 1
                stride = 1 if layer.name in lowered else layer.stride
                new.add(_window(layer, finer, stride, widened if first else 0, grown=grown))
            case Upsample():
                met = _met(net, layer.name)
                place = _place(net, new, met, factors, widened) if met else None
                new.add(_upsampling(layer, new, Fraction(factors[layer.name], finer), place))
            case Crop():
                larger, like = (new.sights[name].map for name in layer.inputs)
                offset = relative_offset(larger, like)
                if offset >= 0:
                    new.crop(layer.name, layer.inputs[0], like=layer.inputs[1])
                elif net.sights[layer.inputs[1]].field == 1:  # the picture
                    missing = max(missing, ceil(-offset))
                    new.add(replace(layer, offset=0))  # of a net that is not handed out
                else:
                    problem = f"{layer.name}: finer, {layer.inputs[0]} no longer covers all it did"
                    raise UsageError("U002", problem, "a net without skips: fcn32s-...")
            case Deconv() | Unpool() | GlobalAvgPool() if finer > 1:
                problem = f"{layer.name} ({layer.kind}) cannot be carried out on a finer grid"
                raise UsageError("U002", problem, "a layer that does not lead there")
            case _:
                new.add(layer)
    return new, missing


def _window(layer: Window, finer: int, stride: int, widened: int, *, grown: bool) -> Layer:
    """A sliding window on a grid that is ``finer``, of ``stride``; its first padding grows."""
    if isinstance(layer, AvgPool):
        return replace(layer, stride=stride, dilation=layer.dilation * finer)
    before, after = (finer * side + widened for side in sides(layer.pad))
    if isinstance(layer, Conv):
        kernel, dilation = layer.kernel, layer.dilation
        if kernel > 1 and not grown:
            dilation *= finer
        elif kernel > 1 and finer > 1:
            kernel, after = finer * kernel, after + finer - 1
        pad = before if before == after else (before, after)
        return replace(layer, kernel=kernel, stride=stride, pad=pad, dilation=dilation)
    as_before = finer == 1 and stride == layer.stride
    if layer.ceil and layer.stride > 1 and not as_before:
        if layer.kernel < layer.stride + sides(layer.pad)[0]:
            problem = f"{layer.name}: windows of the finer map would lie in its padding alone"
            raise UsageError(
                "U002", problem, "a pooling whose kernel is no shorter than its stride"
            )
        # Caffe's windows that reach beyond the map, as cells of minus infinity behind it.
        after += finer * (layer.stride - 1)
    pad = before if before == after else (before, after)
    up, dilation = layer.ceil and as_before, layer.dilation * finer
    return replace(layer, stride=stride, pad=pad, ceil=up, dilation=dilation)


def _place(net: Net, new: Net, name: str, factors: Mapping[str, int], widened: int) -> CoordMap:
    """Where the cells of a map lie in the finer net, in which it may not be written yet."""
    if name in new.sights:
        return new.sights[name].map
    seen = net.sights[name].map
    return CoordMap(seen.scale / factors[name], seen.shift - widened)


def _upsampling(layer: Upsample, new: Net, finer: Fraction, place: CoordMap | None) -> Upsample:
    """Upsampling by what is left, ``finer`` times as much, aligned with the map at ``place``."""
    by, seen = layer.stride * finer, new.sights[layer.inputs[0]]
    kernels = (2 * int(by), 2 * int(by) - 1) if by.denominator == 1 else ()
    for kernel in kernels:
        made = seen.through_deconv(kernel, int(by), 0).map
        if place is None or relative_offset(made, place).denominator == 1:
            finer_one = replace(layer, kernel=kernel, stride=int(by))
            if layer.learned and finer_one != layer:
                break
            return finer_one
    how = "learned" if layer.learned else "fixed"
    problem = f"{layer.name}: its {how} {layer.kernel}x{layer.kernel} does not fit the finer grid"
    raise UsageError("U002", problem, "a net with fixed upsampling, or other layers")
