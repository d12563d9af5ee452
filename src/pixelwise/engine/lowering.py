"""A plan in numbers of two bytes, or of one: which maps hold them, and what stays in float32.

A convolution reads maps of few bytes, and so does all that stands between two convolutions. Scores
are float32, and so is what is made of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from pixelwise.engine.fusing import Op, Plan
from pixelwise.engine.numbers import BFLOAT16, Numbers
from pixelwise.engine.spans import POINTWISE
from pixelwise.nets.layers import Conv
from pixelwise.nets.pooling import MaxPool


def in_bfloat16(plan: Plan) -> Plan:
    """The plan with maps of bfloat16, and convolutions that give scores in float32.

    oneDNN adds up in float32 and rounds to what it reads: scores would lose what tells classes
    apart.
    """
    low = low_maps(plan)
    exact = {op.name for op in convolutions(plan) if plan.place(op.name).source not in low}
    return replace(plan, numbers=dict.fromkeys(low, BFLOAT16), exact=frozenset(exact))


def in_eight_bits(plan: Plan, numbers: Mapping[str, Numbers], exact: Collection[str]) -> Plan:
    """The plan with maps of eight bits, each as in ``numbers``, but for the ``exact`` layers."""
    kept = {name: numbers[name] for name in low_maps(plan, exact)}
    return replace(plan, numbers=kept, exact=frozenset(exact))


def convolutions(plan: Plan) -> list[Op]:
    """Those of a plan, in order."""
    return [op for op in plan.ops if isinstance(op.layer, Conv)]


def low_maps(plan: Plan, exact: Collection[str] = ()) -> set[str]:
    """The maps with memory that a convolution reads, or what leads to one, but for the ``exact``.

    A map that is asked for is float32.
    """
    low: set[str] = set()
    for op in reversed(plan.ops):  # who reads a map comes before who makes it
        made = plan.place(op.name).source in low
        read = {plan.place(name).source for name in op.numbers_read[: len(op.layer.reads)]}
        if isinstance(op.layer, Conv):
            low |= set() if op.name in exact else read
            low |= {plan.place(op.added).source} if op.added and made else set()
        elif made and isinstance(op.layer, (MaxPool, *POINTWISE)):
            low |= read
    return low - {plan.place(name).source for name in plan.wanted}


def alike(plan: Plan) -> dict[str, str]:
    """By map with memory, one for all those between which pooling lies: maxima are no new numbers.

    They hold numbers of eight bits in the same way.
    """
    first: dict[str, str] = {}
    for op in plan.ops:
        made = plan.place(op.name).source
        if isinstance(op.layer, MaxPool):
            read = plan.place(op.inputs[0]).source
            old, new = first.get(made, made), first[read]
            first |= {name: new for name, one in first.items() if one == old} | {made: new}
        else:
            first.setdefault(made, made)
    return first
