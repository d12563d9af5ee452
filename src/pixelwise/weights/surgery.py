"""Net surgery: which tensor of a file goes where in a net, first as a list, then carried out.

The rule of the FCN release (surgery.py ``transplant``): match by layer name, copy flat memory where
the element counts agree, so a fully connected layer becomes a convolution without any permutation.
What the release does silently is a row with a reason here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pixelwise.engine.network import Network
from pixelwise.engine.upsampling import bilinear_kernel
from pixelwise.errors import ModelError
from pixelwise.nets.layers import Upsample
from pixelwise.nets.net import Net
from pixelwise.weights.names import layer_of, light_names

Action = Literal["copied", "reshaped", "dropped", "missing", "mismatched"]
"""Copied as it is; reshaped, fully connected to convolution; dropped, in the file only; missing, in
the net only, which keeps its own; mismatched, of one name and of shapes that cannot be one another.
"""

_BATCHES_SEEN = "num_batches_tracked"  # torch's counter; no other framework stores one


@dataclass(frozen=True)
class Row:
    """What becomes of one tensor."""

    action: Action
    target: str
    """Name in the net; empty for a tensor that is dropped."""
    source: str
    """Name in the file; empty for a tensor that is missing."""
    target_shape: tuple[int, ...] = ()
    source_shape: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Transplant:
    """The plan; nothing has been touched yet."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    def of(self, *actions: Action) -> tuple[Row, ...]:
        """The rows with these actions."""
        return tuple(row for row in self.rows if row.action in actions)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "counts": {action: len(self.of(action)) for action in get_args(Action)},
            "rows": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
        }


def plan(
    tensors: Mapping[str, Tensor],
    target: Network,
    *,
    names: Mapping[str, str] | None = None,
    same_classes: bool = True,
) -> Transplant:
    """Decide for every tensor of a file and every tensor of a net.

    Args:
        tensors: by ``<layer>.<parameter>``.
        target: the net, on any device (meta will do).
        names: the file's names to ours, for files that have other ones (torchvision).
        same_classes: False where the file's classes are others, though they may be as many.

    Raises:
        ModelError: M040 at-once weights for a staged net or the other way round, or two tensors
            for one place.
    """
    light = {} if names else light_names(tensors, target.net)
    names = names or light
    placed = {name: names.get(name, name) for name in tensors}
    _check_streams(set(placed.values()), target)
    state = target.state_dict()
    rows, taken = list[Row](), dict[str, str]()
    for source, name in placed.items():
        if name in taken:
            raise ModelError("M040", f"`{taken[name]}` and `{source}` both belong to `{name}`")
        taken[name] = source
        row = _row(source, name, tensors[source], state.get(name), target)
        if not same_classes and row.action == "copied" and layer_of(name) in class_layers(target):
            row = replace(row, action="mismatched", reason="other classes in the file; starts anew")
        rows.append(row)
    for name, tensor in state.items():
        if name not in taken and not name.endswith(_BATCHES_SEEN):
            reason = _left_alone(name, target)
            rows.append(Row("missing", name, "", tuple(tensor.shape), (), reason))
    anew = ", ".join(r.target for r in rows if other_classes(r, target))
    notes = ["names of the light 2014 nets were translated"] if light else []
    notes += [f"other classes: {anew} start anew, the rest is kept"] if anew else []
    return Transplant(tuple(rows), tuple(notes))


def carry_out(transplant: Transplant, tensors: Mapping[str, Tensor], target: Network) -> None:
    """Copy what the plan says into ``target``; dtype and device stay the net's own."""
    state = target.state_dict()
    with torch.no_grad():
        for row in transplant.of("copied", "reshaped"):
            state[row.target].copy_(tensors[row.source].reshape(row.target_shape))


def score_layers(net: Net) -> frozenset[str]:
    """The layers that give scores: those that start at zero, and a classifier's last."""
    zero = {n for n, r in net.layers.items() if r.zero_start}
    return frozenset(zero | {net.top})


def class_layers(target: Network) -> frozenset[str]:
    """The layers that hold something for each class: scores, and upsampling that is learned."""
    per_class = {n for n, r in target.net.layers.items() if r.per_class}
    return score_layers(target.net) | per_class


def other_classes(row: Row, target: Network) -> bool:
    """Whether a tensor does not fit because the file's classes are others, as many or not."""
    have, want = row.source_shape, row.target_shape
    others = have[:1] != want[:1] or have == want
    return row.action == "mismatched" and others and layer_of(row.target) in class_layers(target)


def without_values(transplant: Transplant, target: Network) -> tuple[Row, ...]:
    """What the file should hold and does not: all that is missing but for scores and upsampling."""
    anew = score_layers(target.net)
    computed = {n for n, r in target.net.layers.items() if r.computed_start}
    return tuple(r for r in transplant.of("missing") if layer_of(r.target) not in anew | computed)


def _row(source: str, name: str, tensor: Tensor, there: Tensor | None, target: Network) -> Row:
    layer, _, parameter = name.rpartition(".")
    shape = tuple(tensor.shape)
    if there is None:
        record = target.net.layers.get(layer)
        if isinstance(record, Upsample) and parameter == "weight":
            return Row("dropped", "", source, (), shape, _compare_kernel(tensor, record))
        reason = f"{layer} has no {parameter}" if record else "no layer of this name"
        return Row("dropped", "", source, (), shape, reason)
    want = tuple(there.shape)
    if shape == want:
        return Row("copied", name, source, want, shape)
    if _same_memory(shape, want):
        return Row("reshaped", name, source, want, shape, "fully connected to convolution")
    return Row("mismatched", name, source, want, shape, _why(layer, shape, want, target))


def _same_memory(have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    """Whether flat memory means the same: (O, I) as (O, C, k, k), or leading axes of length 1."""
    if math.prod(have) != math.prod(want):
        return False
    flat = _without_leading_ones(have)
    outputs = have[-2:-1] or (1,)
    return flat == _without_leading_ones(want) or (len(flat) <= 2 and outputs == want[:1])


def _without_leading_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    while shape[:1] == (1,):
        shape = shape[1:]
    return shape


def _why(layer: str, have: tuple[int, ...], want: tuple[int, ...], target: Network) -> str:
    if layer in class_layers(target) and have[:1] != want[:1]:
        return f"{have[0] if have else 1} classes in the file, {want[0]} here; starts anew"
    return f"{math.prod(have):,} numbers, expected {math.prod(want):,}"


def _compare_kernel(tensor: Tensor, record: Upsample) -> str:
    """Say whether a stored deconvolution is the fixed bilinear one that the net computes."""
    k = record.kernel
    if tensor.ndim != 4 or tensor.shape[-2:] != (k, k):
        return f"fixed bilinear here, with another kernel ({k}x{k})"
    classes = tensor.shape[0]
    if tensor.shape[1] == 1:  # one group per class stores the diagonal alone
        ideal = bilinear_kernel(k, 1).expand(classes, 1, k, k)
    elif tensor.shape[1] == classes:
        ideal = bilinear_kernel(k, classes)
    else:
        return f"fixed bilinear here, stored with {classes} to {tensor.shape[1]} channels"
    off = (tensor.double() - ideal).abs().max().item() if tensor.numel() else 0.0
    if off <= 1e-6:
        return "checked: it is the fixed bilinear kernel that the net computes"
    return f"NOT the fixed bilinear kernel of this net (off by {off:.3g}); build it with `learned`"


def _left_alone(name: str, target: Network) -> str:
    layer = layer_of(name)
    record = target.net.layers.get(layer)
    if record and record.computed_start:
        return record.computed_start
    if layer in score_layers(target.net):
        return "score layer, starts anew"
    return "keeps its initial value"


def _check_streams(given: set[str], target: Network) -> None:
    """At-once weights need their fixed factors, staged ones must not have them (paper, at-once)."""
    layers = {layer_of(name) for name in given}
    scales = {n for n, r in target.net.layers.items() if r.fixed_factor}
    stored = {n for n in layers if n.startswith("scale_pool")}
    skips = {n for n in layers if n.startswith("score_pool")}
    if stored and not scales:
        raise ModelError(
            "M040",
            f"these are at-once weights ({', '.join(sorted(stored))}), "
            "and the net has no such factors",
            "--net fcn8s-vgg16-atonce",
        )
    if scales and skips and not stored:
        raise ModelError(
            "M040",
            f"these are weights of a staged net (no {', '.join(sorted(scales))}), "
            "and the net was trained at once",
            "--net fcn8s-vgg16",
        )
