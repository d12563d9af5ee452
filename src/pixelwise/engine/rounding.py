"""From float32 to the numbers of a map and back."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pixelwise.engine.fusing import Op, Plan
from pixelwise.engine.layout import Maps
from pixelwise.engine.numbers import FLOAT32, LEVELS, Numbers
from pixelwise.nets.pooling import MaxPool


def unsupported(precision: str) -> str:
    """Why a processor does not compute in a precision; empty: it does."""
    if precision == "fp32":
        return ""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "this torch was built without oneDNN"
    if precision == "bf16":
        there = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return "" if there else "this processor computes no bfloat16"
    known = torch.cpu.get_capabilities()
    # Without it oneDNN adds pairs of products in 16 bits, which overflow.
    there = any(known.get(name) for name in ("avx512_vnni", "avx_vnni", "amx_int8"))
    return "" if there else "this processor does not multiply eight bits (VNNI)"


def floats(cells: Tensor, numbers: Numbers) -> Tensor:
    """What the numbers of a map stand for, in float32; a copy, unless they are float32."""
    if numbers.kind != "uint8":
        return cells.float()
    return cells.float().sub_(numbers.zero).mul_(numbers.scale)


def write(values: Tensor, target: Tensor, numbers: Numbers) -> None:
    """Float values into a map, in its numbers: the nearest, beyond the ends the last."""
    if numbers.kind == "uint8":
        values = (values / numbers.scale).add_(numbers.zero).round_().clamp_(0, LEVELS)
    target.copy_(values)


def mixed(op: Op, plan: Plan) -> bool:
    """Whether a computation has to compute in other numbers than its maps hold.

    Pooling picks some and makes none.
    """
    kinds = {plan.held(name) for name in (op.name, *op.numbers_read)}
    return kinds != {FLOAT32} and not (isinstance(op.layer, MaxPool) and len(kinds) == 1)


def in_float32(
    op: Op, maps: Maps, made: Callable[[Op, Maps], Callable[[], object]]
) -> Callable[[], object]:
    """A computation in float32 whose maps are held in other numbers: on copies of these."""
    plan = maps.layout.plan
    names = {plan.place(name).source for name in (op.name, *op.numbers_read)}

    def work() -> None:
        floating = {n: floats(maps.kept[n], plan.held(n)) for n in names}
        copies = Maps(maps.layout, {**maps.kept, **floating})
        made(op, copies)()
        if plan.held(op.name) != FLOAT32:
            write(copies.computed(op), maps.computed(op), plan.held(op.name))

    return work
