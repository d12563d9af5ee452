"""``pixelwise report``: one self-contained page about a run, or about several."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, say
from pixelwise.cli.options import Json, Log
from pixelwise.errors import UsageError


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="run folders")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="page about several [RUN/report.html]")
    ] = None,
    log: Log = "",
    json: Json = False,
) -> None:
    """Write RUN/report.html, or compare several runs.

    Curves, classes, confusions, best and worst images; of several runs curves, scores, classes and
    what their recipes differ in. The page needs no network and runs no script. --log passes a run
    on to a tool that draws curves.
    """
    from pixelwise.machine.files import atomic_write
    from pixelwise.pages import build
    from pixelwise.pages.runs import page

    if len(runs) > 1 and out is None:
        what = "several runs were given, expected a file for their page"
        raise UsageError("U002", what, "-o comparison.html")
    path = atomic_write(out, page(runs)) if out else build(runs[0])
    for name in filter(None, log.split(",")):
        from pixelwise.adapters.loggers import log_run, logger

        for run in runs:
            log_run(run, logger(name, run))
    if json:
        emit_json({"report": str(path)})
    else:
        typer.echo(path)
        say("open it in any browser")
