"""The paper's three ways to train, by name: what each fixes, and what it fills in.

light (CVPR 2015, section 4.3): twenty pictures a step and the mean loss. accumulated (PAMI 2017,
section 4.2): the gradients of twenty pictures, one after the other, summed. heavy (PAMI, and all
released nets but FCN-AlexNet): one picture a step, the summed loss, and a momentum of 0.99 that
stands for the batch. Numbers are those of the released solvers (fact sheet 2.1, 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pixelwise.nets import catalog
from pixelwise.nets.fusion import late_streams
from pixelwise.nets.net import Net
from pixelwise.settings import Contradiction

Regime = Literal["none", "light", "accumulated", "heavy"]

FIXED: Mapping[str, Mapping[str, Any]] = {
    "light": {"optim.name": "sgd", "loss.reduction": "mean"},
    "accumulated": {"optim.name": "sgd", "loss.reduction": "sum", "batch": 1},
    "heavy": {
        "optim.name": "sgd",
        "loss.reduction": "sum",
        "batch": 1,
        "accumulate": 1,
        "optim.momentum": 0.99,
    },
}
"""What makes a regime that regime; another value of it is a contradiction."""

# No released net was trained on changed pictures, and all rates were fixed (fact sheet 2.1, 3.1).
_ALL = {"optim.weight_decay": 5e-4, "schedule.name": "fixed", "augment.mirror": False}
# The data layers of the releases draw so, from this seed (fact sheet 3.1). How the light nets of
# 2014 drew is not known.
_RELEASED = {**_ALL, "sampling": "replacement_python2", "seed": 1337}
FILLED: Mapping[str, Mapping[str, Any]] = {
    "light": {"batch": 20, "accumulate": 1, "optim.momentum": 0.9, **_ALL},
    "accumulated": {"accumulate": 20, "optim.momentum": 0.9, **_RELEASED},
    "heavy": _RELEASED,
}
"""What a regime gives beside, and the learning rate, where nothing else is said."""

LIGHT_RATES = {"alexnet": 1e-3, "vgg16": 1e-4, "googlenet": 5e-5}
"""By trunk, found by line search; the paper prints the last as 5^-5 (fact sheet, trap 25)."""
HEAVY_RATE = 1e-10
FINER = 100
"""Each finer stage learns at a hundredth of the rate before (arXiv v2, section 4.2)."""


def additions(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the regime of a recipe gives for settings that the recipe leaves open.

    Args:
        values: of a recipe as plain nested data, or with its parts as settings.

    Raises:
        Contradiction: the light regime has no rate for this trunk.
    """
    regime = str(values.get("regime", "none"))
    if regime not in FIXED:
        return {}
    filled = {**FILLED[regime], **FIXED[regime]}
    more = {key: value for key, value in filled.items() if not _given(values, key)}
    if not _given(values, "optim.lr"):
        lr = _rate(regime, {"net": "fcn8s-tiny", **values, **more})
        more |= {} if lr is None else {"optim.lr": lr}
    return more


def contradictions(regime: str, values: Mapping[str, Any]) -> list[str]:
    """What of a whole recipe, as plain nested data, is not of its regime."""
    clauses = []
    for key, fixed in FIXED.get(regime, {}).items():
        value = value_of(values, key)
        if value != fixed:
            clauses.append(f"{key} is {value}, expected {fixed} in the {regime} regime")
    if regime == "accumulated" and values["accumulate"] == 1:
        clauses.append("accumulate is 1, expected several in the accumulated regime")
    return clauses


def _rate(regime: str, values: Mapping[str, Any]) -> float | None:
    """The learning rate of a net; None where what it follows from is wrong, and refused as such."""
    name = str(values["net"])
    try:
        net, trunk = catalog.spec(name), catalog.entry(name).trunk
        passes = float(str(values["accumulate"]))
    except ValueError:  # of which an unknown net is one
        return None
    before = stages_before(net)
    if values.get("fusion") in ("sum", "average") and not late_streams(net):
        before += 1
    rate = HEAVY_RATE
    if regime == "light":
        if trunk not in LIGHT_RATES:
            known = "the light regime has rates for AlexNet, VGG16 and GoogLeNet"
            raise Contradiction(f"{known}, expected optim.lr for {name}")
        rate = LIGHT_RATES[trunk]
    if regime == "accumulated" and passes > 0:
        rate /= passes  # Caffe divides what it accumulated by the number; our sum does not
    return float(f"{rate / FINER**before:.6g}")


def stages_before(net: Net) -> int:
    """How many stages a net is trained after: 16s after 32s, 8s after both.

    A net trained at once comes after none. Late fusion, whose streams were trained alone, comes
    after one more (nyud-fcn32s-color-hha learns at 1e-12).
    """
    if any(record.fixed_factor for record in net.layers.values()):
        return 0
    scores = {net.sights[name].map.scale for name, r in net.layers.items() if r.zero_start}
    return len(scores) - 1 + bool(late_streams(net))


def _given(values: Mapping[str, Any], key: str) -> bool:
    """Whether an entry is there; a part that is no plain data has all of its entries."""
    group, _, name = key.rpartition(".")
    within = values.get(group, {}) if group else values
    return not isinstance(within, Mapping) or name in within


def value_of(values: Mapping[str, Any], key: str) -> Any:
    """An entry of plain nested data by its full name."""
    group, _, name = key.rpartition(".")
    return (values[group] if group else values)[name]


def put(values: dict[str, Any], key: str, value: object) -> None:
    """Set an entry of plain nested data by its full name."""
    group, _, name = key.rpartition(".")
    if group:
        values[group] = {**values.get(group, {}), name: value}
    else:
        values[key] = value
