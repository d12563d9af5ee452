"""``pixelwise bounds``: what mean IU a stride allows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, in_percent, say, table
from pixelwise.cli.options import Json
from pixelwise.machine.progress import progress


def bounds(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="label maps, or a data folder")],
    stems: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="names to take, one a line")
    ] = None,
    factors: Annotated[
        str, typer.Option(metavar="N,N,...", help="sides of a cell, in pixels")
    ] = "128,64,32,16,8,4",
    convention: Annotated[str, typer.Option(help="how maps are resampled")] = "",
    json: Json = False,
) -> None:
    """The upper bound on mean IU of a stride (the paper's appendix A).

    The truth is made coarse by each factor, made fine again, and scored against itself.
    """
    from pixelwise.cli.arguments import parse_factors
    from pixelwise.evaluation import bounds as evaluation
    from pixelwise.evaluation.foreign import read_names
    from pixelwise.metrics.bounds import CONVENTIONS, DEFAULT

    way = convention or DEFAULT
    names = read_names(stems) if stems else None
    sides = parse_factors(factors)
    with progress("resampling", len(evaluation.label_maps(data, names)), quiet=json) as advance:
        found = evaluation.bounds(data, stems=names, factors=sides, way=way, advance=advance)
    if json:
        emit_json(found.as_dict())
        return
    edges = found.boundary
    rows = [(f, in_percent(value), in_percent(edges[f])) for f, value in found.bounds.items()]
    table("", ("factor", "mean IU, %", "boundary IU, %"), rows)
    say(f"upper bounds on {found.images} label maps, {way}: {CONVENTIONS[way].about}")
