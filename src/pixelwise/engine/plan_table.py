"""A plan for one size of picture as rows that can be printed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pixelwise.engine.convolutions import MEMORY, by_channels, chosen
from pixelwise.engine.fusing import Op
from pixelwise.engine.layout import Layout
from pixelwise.engine.needs import of_layout
from pixelwise.engine.spans import Span, by_rows
from pixelwise.nets.layers import Conv


@dataclass(frozen=True)
class PlanRow:
    """One computation."""

    map: str
    """What it gives."""
    layer: str
    """The layer that is computed first."""
    kind: str
    """Of that layer, with its kernel."""
    folded: str
    """The layers that it takes with it."""
    reads: tuple[str, ...]
    """Maps, or the part of one (``pool4`` for a crop of it)."""
    rows: Span
    """Of the map, those that depend on the picture and are computed."""
    columns: Span
    size: tuple[int, int]
    """(H, W) of the whole map."""
    kernel: str
    """Of our own, or oneDNN's: what carries it out on this machine, if not torch ..."""
    reason: str
    """... and why: what keeps Winograd's algorithm out, or how many multiplications it saves."""
    macs: int
    begins: int
    """The byte of the maps' memory at which its map is."""


def plan_rows(layout: Layout) -> list[PlanRow]:
    """A row for each computation, in order."""
    plan, rows = layout.plan, []
    for op in plan.ops:
        cells = [made.length for made in layout.made(op)]
        side = getattr(op.layer, "kernel", 0)
        kernel, reason = _kernel(layout, op, cells)
        place = plan.place(op.name)
        rows.append(
            PlanRow(
                map=op.name,
                layer=op.layer.name,
                kind=op.layer.kind + (f" {side}x{side}" if side else ""),
                folded=op.folded,
                reads=tuple(plan.place(name).source for name in op.numbers_read),
                rows=layout.rows.computed[op.name],
                columns=layout.columns.computed[op.name],
                size=(layout.rows.sizes[op.name], layout.columns.sizes[op.name]),
                kernel=kernel,
                reason=reason,
                macs=op.layer.macs(plan.net.given_channels(op.layer), cells[0] * cells[1]),
                begins=4 * layout.starts[place.source],
            )
        )
    return rows


def _kernel(layout: Layout, op: Op, cells: list[int]) -> tuple[str, str]:
    if not isinstance(op.layer, Conv):
        own, rows = by_channels(op.layer), by_rows(op.layer)
        return "channelwise" if own else "", "" if rows else "the whole map, by torch"
    return chosen(op, layout.plan.net.channels[op.inputs[0]], *cells)


def as_dict(layout: Layout) -> dict[str, Any]:
    """The plan as plain data."""
    return {
        "bytes_of_maps": 4 * layout.length,
        "bytes_needed": {mode: of_layout(layout, mode)._asdict() for mode in MEMORY},
        "computations": [asdict(row) for row in plan_rows(layout)],
    }
