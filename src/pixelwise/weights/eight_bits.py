"""A quantised net in a checkpoint: int8 weights and their steps in the place of float32 ones.

Of a convolution in eight bits ``<layer>.weight`` is int8 (K, C / groups, k, k), with a step for
each filter in ``<layer>.scale`` (K,) and what is added in ``<layer>.bias`` (K,), both float32; its
batch normalisation and factor are in them. All other arrays are the net's own. The header says
which these layers are, and what the eight bits of each map stand for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pixelwise.engine.fusing import Op, plan
from pixelwise.engine.lowering import convolutions, low_maps
from pixelwise.engine.network import Network, filled
from pixelwise.engine.numbers import Numbers
from pixelwise.engine.quantised import Filters, Quantised
from pixelwise.errors import ModelError, UsageError, first_few
from pixelwise.nets.net import Net
from pixelwise.weights.checkpoint import Calibration, Header, load_checkpoint

PARTS = ("weight", "scale", "bias")


def stored(network: Network, quantised: Quantised) -> dict[str, Tensor]:
    """The tensors of a checkpoint."""
    tensors = dict(network.state_dict())
    for op in convolutions(plan(network.net)):
        if filters := quantised.filters.get(op.name):
            tensors |= {f"{op.layer.name}.{part}": getattr(filters, part) for part in PARTS}
    return tensors


def calibration(quantised: Quantised, pictures: int, agreement: float) -> Calibration:
    """What the header says of it."""
    maps = {name: (n.scale, n.zero) for name, n in quantised.numbers.items()}
    return Calibration(maps, tuple(quantised.filters), pictures, agreement)


def check_precision(precision: str, quantised: Calibration | None, path: Path) -> None:
    """Refuse a precision that a model has not.

    Raises:
        UsageError: U002 int8 of one that is not quantised, another of one that is.
    """
    if precision == "int8" and not quantised:
        what = f"--precision int8 with {path}, whose weights are no int8"
        hint = "pixelwise quantize MODEL DATA -o OUT.safetensors, and give OUT"
        raise UsageError("U002", what, hint)
    if quantised and precision not in ("", "int8"):
        what = f"--precision {precision} with {path}, which is quantised to int8"
        raise UsageError("U002", what, "leave it out, or give the model that it was made from")


def load(path: Path, net: Net, header: Header) -> tuple[Network, Quantised]:
    """A quantised net; its weights stay in the file until they are packed.

    Where the module has weights in float32, this one has arrays without memory.

    Raises:
        ModelError: what ``load_checkpoint`` raises; M040 made for another plan than this version's.
    """
    told = header.quantised
    assert told is not None
    ops = {op.name: op for op in convolutions(plan(net))}
    numbers = {n: Numbers("uint8", scale, zero) for n, (scale, zero) in told.maps.items()}
    unknown = [name for name in told.layers if name not in ops]
    lacking = low_maps(plan(net), [n for n in ops if n not in told.layers]) - {*numbers}
    if unknown or lacking:
        what = f"{path} was quantised for another way of computing {header.net} "
        what += f"({first_few(sorted([*unknown, *lacking]))})"
        raise ModelError("M040", what, "pixelwise quantize MODEL DATA -o OUT, with this version")
    low = [ops[name] for name in told.layers]
    with torch.device("meta"):
        own = Network(net).state_dict()
        wanted = own | {name: t for op in low for name, t in _parts(op, own).items()}
    _, tensors = load_checkpoint(path, net=wanted, mapped=True, quantised=True)
    filters = {
        op.name: Filters(*(tensors[f"{op.layer.name}.{part}"] for part in PARTS)) for op in low
    }
    absent = {name for op in low for name in _parts(op, own)}
    network = filled(net, {n: own[n] if n in absent else tensors[n] for n in own})
    return network, Quantised(numbers, filters)


def _parts(op: Op, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Shapes and types of a convolution in eight bits."""
    name, weight = op.layer.name, own[f"{op.layer.name}.weight"]
    shapes = (weight.to(torch.int8), *(weight.new_empty(len(weight)) for _ in range(2)))
    return {f"{name}.{part}": t for part, t in zip(PARTS, shapes, strict=True)}
