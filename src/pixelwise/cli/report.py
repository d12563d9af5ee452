"""``pixelwise report``: one self-contained page about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pixelwise.cli.console import emit_json, say


def report(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Write RUN/report.html: curves, classes, confusions, best and worst images.

    The page needs no network and runs no script. Parts the run does not hold are named in it.
    """
    from pixelwise.report.build import build

    path = build(run)
    if json:
        emit_json({"report": str(path)})
    else:
        typer.echo(path)
        say("open it in any browser")
