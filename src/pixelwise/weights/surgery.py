"""Net surgery: which tensor of a file goes where in a net, first as a list, then carried out.

The rule of the FCN release (surgery.py ``transplant``): match by layer name, copy flat memory where
the element counts agree, so a fully connected layer becomes a convolution without any permutation.
What the release does silently is a row with a reason here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import dropwhile
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pixelwise.engine.network import Network
from pixelwise.engine.upsampling import bilinear_kernel
from pixelwise.errors import ModelError
from pixelwise.nets.fusion import Inflation, first_layers
from pixelwise.nets.layers import Upsample
from pixelwise.nets.net import Net
from pixelwise.weights.names import layer_of, light_names

Action = Literal[
    "copied", "reshaped", "widened", "rarefied", "matched", "dropped", "missing", "mismatched"
]
"""Copied as it is; reshaped, fully connected to convolution; widened, from three bands to others or
to those of several inputs; rarefied, to the longer filters behind a lowered stride; matched, scores
of classes that both have; dropped, in the file only; missing, in the net only, which keeps its own;
mismatched, of one name and of shapes that cannot be one another.
"""
TAKEN: tuple[Action, ...] = ("copied", "reshaped", "widened", "rarefied", "matched")
"""Of what the file has and the net gets."""

_BATCHES_SEEN = "num_batches_tracked"  # torch's counter; no other framework stores one
_RANDOM = "keeps its initial value"


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
    bands: tuple[int, ...] = ()
    """Of each input, where a first layer is widened."""
    inflation: Inflation = "mean"
    classes: tuple[int, ...] = ()
    """Where scores are matched: for each class its number in the file, or -1."""


@dataclass(frozen=True)
class Transplant:
    """The plan; nothing has been touched yet."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

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
    classes: Mapping[str, tuple[int, ...]] = MappingProxyType({}),
    has_factors: bool = True,
    inflation: Inflation = "mean",
) -> Transplant:
    """Decide for every tensor of a file and every tensor of a net.

    The tensors are named ``<layer>.<parameter>``, or as ``names`` maps to such names (torchvision's
    do). ``target`` may be on any device (meta will do). ``classes`` has the layers whose
    classes are others in the file, even if there are as many: for each class its number there, or
    -1. ``has_factors``: an at-once net's fixed factors would be in the file; else whoever names the
    net says whether its weights were trained so. ``inflation``: of a first layer's further bands.

    Raises:
        ModelError: M040 at-once weights for a staged net or the other way round, or two tensors
            for one place.
    """
    light = {} if names else light_names(tensors, target.net)
    names = names or light
    placed = {name: names.get(name, name) for name in tensors}
    placed = _of_several_inputs(placed, target.net)
    stored = {layer_of(name) for name in placed.values()}
    _refuse_other_streams(stored, target.net, has_factors=has_factors)
    state = target.state_dict()
    rows, taken = list[Row](), dict[str, str]()
    for source, name in placed.items():
        if name in taken:
            raise ModelError("M040", f"`{taken[name]}` and `{source}` both belong to `{name}`")
        taken[name] = source
        row = _row(source, name, tensors[source], state.get(name), target.net, inflation)
        if row.action in ("copied", "mismatched") and layer_of(name) in classes:
            row = _by_class(row, classes[layer_of(name)], target.net)
        rows.append(row)
    for name, tensor in state.items():
        if name not in taken and not name.endswith(_BATCHES_SEEN):
            reason = _left_alone(layer_of(name), target.net)
            rows.append(Row("missing", name, "", tuple(tensor.shape), (), reason))
    # Said by name: a training that begins with random scores looks like one that forgot the file.
    anew = ", ".join(r.target for r in rows if other_classes(r, target.net))
    notes = ["names of the light 2014 nets were translated"] if light else []
    notes += [f"other classes: {anew} start anew, the rest is kept"] if anew else []
    notes += [f"{r.target} is {r.action} {r.reason}" for r in rows if r.action == "widened"]
    return Transplant(tuple(rows), tuple(notes))


def fitted(transplant: Transplant, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the plan takes from the file, by its name in the net and in its shape there."""
    taken = {}
    for row in transplant.of(*(action for action in TAKEN if action != "matched")):
        tensor = tensors[row.source]
        if row.action == "widened":
            taken[row.target] = widened(tensor, row.bands, row.inflation)
        elif row.action == "rarefied":
            taken[row.target] = spread(tensor, row.target_shape)
        else:
            taken[row.target] = tensor.reshape(row.target_shape)
    return taken


def widened(filters: Tensor, bands: Sequence[int], inflation: Inflation = "mean") -> Tensor:
    """Filters (O, 3, k, k) of colours for a first layer that reads other bands, or several inputs.

    Three bands get the filters as they are. One band among several inputs gets their mean over the
    three: depth in nyud-fcn32s-color-d (solve.py). All else is ``inflated``.
    """
    if len(bands) > 1:
        mean = filters.mean(1, keepdim=True)
        parts = (mean if n == 1 else inflated(filters, n, inflation) for n in bands)
        return torch.cat([*parts], dim=1)
    return inflated(filters, bands[0], inflation)


def inflated(filters: Tensor, count: int, inflation: Inflation) -> Tensor:
    """Filters (O, 3, k, k) for ``count`` bands.

    ``zero`` leaves the first three as they are and gives the others nothing: the net begins as it
    was. ``mean`` gives the others the mean of the three, ``repeat`` the three in turn, and both
    times 3 / count, so that bands that are all alike are answered as grey was.
    """
    mean = filters.mean(1, keepdim=True)
    if inflation == "repeat":
        wide = filters[:, torch.arange(count) % 3]
    else:
        wide = mean.repeat(1, count, 1, 1)
        if count >= 3:
            wide[:, :3] = filters
            wide[:, 3:] *= inflation != "zero"
    return wide if inflation == "zero" and count >= 3 else wide * (3 / count)


def spreads(have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    """Whether filters k x k, k > 1, or fully connected ones, are wanted several times as long.

    So are those behind a stride that ``nets.lower_stride`` lowered.
    """
    if len(want) != 4 or math.prod(have) % math.prod(want[:2]):
        return False
    area = math.prod(have) // math.prod(want[:2])
    kernel = math.isqrt(area)
    flat = len(have) == 2 or have[:2] == (1, 1)
    alike = have == (*want[:2], kernel, kernel) or (flat and have[-2] == want[0])
    return alike and area == kernel**2 and want[-1] > kernel > 1 and want[-1] % kernel == 0


def spread(filters: Tensor, shape: tuple[int, ...]) -> Tensor:
    """f'[i, j] = f[i/s, j/s] where s divides both, else 0 (paper, section 3.2)."""
    short = math.isqrt(filters.numel() // math.prod(shape[:2]))
    longer, step = filters.new_zeros(shape), shape[-1] // short
    longer[..., ::step, ::step] = filters.reshape(*shape[:2], short, short)
    return longer


def carry_out(transplant: Transplant, tensors: Mapping[str, Tensor], target: Network) -> None:
    """Copy what the plan says into ``target``; dtype and device stay the net's own."""
    state = target.state_dict()
    with torch.no_grad():
        for name, tensor in fitted(transplant, tensors).items():
            state[name].copy_(tensor)
        for row in transplant.of("matched"):  # other classes keep the net's own start
            shared = [(k, place) for k, place in enumerate(row.classes) if place >= 0]
            here, there = (list(places) for places in zip(*shared, strict=True))
            state[row.target][here] = tensors[row.source][there].to(state[row.target])


def score_layers(net: Net) -> frozenset[str]:
    """The layers that give scores: those that start at zero, and a classifier's last."""
    scores = {n for n, r in net.layers.items() if r.zero_start}
    return frozenset(scores or {net.top})  # the top may be a sum of streams, which has no weights


def other_classes(row: Row, net: Net) -> bool:
    """Whether a tensor does not fit because the file's classes are others, as many or not."""
    have, want = row.source_shape, row.target_shape
    others = have[:1] != want[:1] or have == want
    return row.action == "mismatched" and others and layer_of(row.target) in per_class(net)


def without_values(transplant: Transplant, net: Net) -> tuple[str, ...]:
    """What the file should hold and does not: all that is missing but for scores and upsampling."""
    missing = (row.target for row in transplant.of("missing"))
    return tuple(n for n in missing if _left_alone(layer_of(n), net) == _RANDOM)


def per_class(net: Net) -> frozenset[str]:
    """The layers that hold something for each class: scores, and upsampling that is learned."""
    return score_layers(net) | {n for n, r in net.layers.items() if r.per_class}


def _of_several_inputs(placed: Mapping[str, str], net: Net) -> dict[str, str]:
    """Where tensors go, the first layer of a net of one input to the one that reads several."""
    stored = set(map(layer_of, placed.values()))
    longer = {alone: name for name, alone in first_layers(net).items() if name not in stored}
    return {
        source: longer.get(layer_of(name), layer_of(name)) + name[len(layer_of(name)) :]
        for source, name in placed.items()
    }


def _row(
    source: str, name: str, tensor: Tensor, there: Tensor | None, net: Net, inflation: Inflation
) -> Row:
    layer, _, parameter = name.rpartition(".")
    have, want = tuple(tensor.shape), () if there is None else tuple(there.shape)
    if there is None:
        record = net.layers.get(layer)
        if isinstance(record, Upsample) and parameter == "weight":
            reason = _compare_kernel(tensor, record)
        else:
            reason = f"{layer} has no {parameter}" if record else "no layer of this name"
        return Row("dropped", "", source, (), have, reason)
    if have == want:
        return Row("copied", name, source, want, have)
    # Early fusion's layer reads all inputs; no layer behind another reads any.
    read = net.inputs if layer in first_layers(net) else net.layers[layer].inputs
    bands = {input_name: net.inputs[input_name] for input_name in read if input_name in net.inputs}
    if bands and have == (*want[:1], 3, *want[2:]):
        counts = tuple(bands.values())
        reason = f"for {', '.join(f'{n} ({count})' for n, count in bands.items())}: "
        if len(counts) > 1 and {1, 3}.issuperset(counts):
            reason += "three bands as they are, one band their mean"
        else:
            reason += f"by {inflation} (docs/weights.md)"
        return Row("widened", name, source, want, have, reason, counts, inflation=inflation)
    if _same_memory(have, want):
        return Row("reshaped", name, source, want, have, "fully connected to convolution")
    if spreads(have, want):
        reason = "a lowered stride: zeros between the weights of the longer filter"
        return Row("rarefied", name, source, want, have, reason)
    reason = f"{math.prod(have):,} numbers, expected {math.prod(want):,}"
    if layer in per_class(net) and have[:1] != want[:1]:
        reason = f"{have[0] if have else 1} classes in the file, {want[0]} here; starts anew"
    return Row("mismatched", name, source, want, have, reason)


def _by_class(row: Row, classes: tuple[int, ...], net: Net) -> Row:
    """Scores of other classes, of which those that the file has too keep theirs."""
    shared = sum(place >= 0 for place in classes)
    scores = net.layers[layer_of(row.target)].zero_start
    if scores and shared and row.source_shape[1:] == row.target_shape[1:]:
        reason = f"{shared} of {len(classes)} classes by name, the others start anew"
        return replace(row, action="matched", reason=reason, classes=classes)
    if row.action == "copied":
        return replace(row, action="mismatched", reason="other classes in the file; starts anew")
    return row


def _same_memory(have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    """Whether flat memory means the same: (O, I) as (O, C, k, k), or leading axes of length 1."""
    flat, wanted = (tuple(dropwhile(lambda axis: axis == 1, shape)) for shape in (have, want))
    outputs = have[-2:-1] or (1,)
    as_convolution = len(flat) <= 2 and outputs == want[:1]
    return math.prod(have) == math.prod(want) and (flat == wanted or as_convolution)


def _compare_kernel(tensor: Tensor, record: Upsample) -> str:
    """Say whether a stored deconvolution is the fixed bilinear one that the net computes."""
    k = record.kernel
    if tensor.ndim != 4 or tensor.shape[-2:] != (k, k):
        return f"fixed bilinear here, with another kernel ({k}x{k})"
    classes, groups_of = tensor.shape[:2]
    if groups_of not in (1, classes):  # one group per class stores the diagonal alone
        return f"fixed bilinear here, stored with {classes} to {groups_of} channels"
    ideal = bilinear_kernel(k, groups_of)  # one plane fits all classes of a grouped kernel
    off = (tensor.double() - ideal).abs().max().item() if tensor.numel() else 0.0
    if off <= 1e-6:  # float32 keeps seven digits of weights of at most 1
        return "checked: it is the fixed bilinear kernel that the net computes"
    return f"NOT the fixed bilinear kernel of this net (off by {off:.3g}); build it with `learned`"


def _left_alone(layer: str, net: Net) -> str:
    """What becomes of a layer that the file does not have."""
    if computed := net.layers[layer].computed_start:
        return computed
    return "score layer, starts anew" if layer in score_layers(net) else _RANDOM


def _refuse_other_streams(stored: set[str], net: Net, *, has_factors: bool) -> None:
    """At-once weights need their fixed factors, staged ones must not have them (paper, at-once)."""
    factors = {n for n, r in net.layers.items() if r.fixed_factor}
    scales, skips = ({n for n in stored if n.startswith(p)} for p in ("scale_pool", "score_pool"))
    listed = ", ".join(sorted(scales or factors))
    if scales and not factors:
        message = f"these are at-once weights ({listed}), and the net has no such factors"
        raise ModelError("M040", message, "--net fcn8s-vgg16-atonce")
    if factors and skips and not scales and has_factors:
        message = f"these are a staged net's weights (no {listed}), and the net was trained at once"
        raise ModelError("M040", message, "--net fcn8s-vgg16")
